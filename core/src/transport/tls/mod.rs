//! TLS on either side: verified or absent, never unverified.
//!
//! Certificates that come from files are looked at again for every handshake, so that a renewed one is shown, or trusted, by
//! the next connection; those that are open go on.

mod live;
mod pem;
mod provider;
mod trust;
mod words;

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use self::live::Live;
pub use self::pem::Pem;
use self::provider::provider;
use self::trust::{KnownClients, KnownServers};
use self::words::wrong;
pub(super) use self::words::{REFUSALS, Side, alert, refused};
use crate::error::{Error, Result};

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Certificate a server shows, and whom it lets in.
#[derive(Clone)]
pub struct ServerTls {
    live: Arc<Live<ServerConfig>>,
    /// What it was made of, unless that is a configuration.
    certificate: Option<Pem>,
}

/// Whom a client trusts, and the certificate it shows.
#[derive(Clone)]
pub struct ClientTls {
    live: Arc<Live<ClientConfig>>,
    name: Option<ServerName<'static>>,
    /// True where it trusts an authority that it was given. One that signs for the whole world also signs for strangers, who
    /// can then tell a registry their own name.
    takes_told_names: bool,
    policy: TlsPolicy,
}

/// Which nodes a client with TLS speaks TLS to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsPolicy {
    /// All of them.
    #[default]
    Required,
    /// Those whose entry in the registry says that they speak TLS, and addresses that begin with `https://`, have port 443 or
    /// none; the others are called in plain text. For the time in which a fleet moves to TLS: a program that can write
    /// into the registry can then have calls made in plain text.
    Prefer,
}

impl ServerTls {
    /// Shows the certificate chain `certificate` with the key `private_key`, both PEM: text, or [`Pem::file`].
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when either cannot be read or they do not belong together.
    pub fn new(certificate: impl Into<Pem>, private_key: impl Into<Pem>) -> Result<Self> {
        Self::showing(certificate.into(), private_key.into(), None)
    }

    /// As [`ServerTls::new`], and lets in only clients with a certificate from `authority` (PEM), or that show one which is
    /// in there itself.
    ///
    /// # Errors
    /// As [`ServerTls::new`].
    pub fn mutual(
        certificate: impl Into<Pem>,
        private_key: impl Into<Pem>,
        authority: impl Into<Pem>,
    ) -> Result<Self> {
        Self::showing(certificate.into(), private_key.into(), Some(authority.into()))
    }

    fn showing(certificate: Pem, private_key: Pem, authority: Option<Pem>) -> Result<Self> {
        let files = [Some(&certificate), Some(&private_key), authority.as_ref()];
        let files: Vec<_> = files.into_iter().flatten().filter_map(Pem::path).collect();
        let shown = Some(certificate.clone());
        let live = Live::of_files(files, move || {
            let builder = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .map_err(|e| wrong("cannot set up TLS", e))?;
            let builder = match &authority {
                None => builder.with_no_client_auth(),
                Some(authority) => {
                    let (given, roots) = trust::roots(authority)?;
                    let verifier =
                        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                            .build()
                            .map_err(|e| wrong("cannot verify clients", e))?;
                    builder.with_client_cert_verifier(Arc::new(KnownClients::new(given, verifier)))
                }
            };
            let config = builder
                .with_single_cert(certificate.certificates()?, private_key.key()?)
                .map_err(|e| wrong("cannot use the certificate", words::of(&e, Side::Server)))?;
            Ok(offering(config))
        })?;
        Ok(Self { live: Arc::new(live), certificate: shown })
    }

    /// Any rustls configuration; ALPN `h2` and `http/1.1` are added when it offers none.
    pub fn from_config(config: ServerConfig) -> Self {
        Self { live: Arc::new(Live::fixed(offering(config))), certificate: None }
    }

    /// What the next handshake goes by.
    pub(super) async fn current(&self) -> Arc<ServerConfig> {
        self.live.current().await
    }

    /// The name a client has to verify at `address` (`host:port`): nothing where the certificate is for its host. The registry
    /// tells it, and clients believe that where their authority is the fleet's own, see `server_name` there.
    pub(crate) fn name_beside(&self, address: &str) -> Option<String> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let certificates = self.certificate.as_ref()?.certificates().ok()?;
        trust::name_instead(certificates.first()?, host)
    }
}

fn offering(mut config: ServerConfig) -> ServerConfig {
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols.extend([H2.to_vec(), HTTP_1_1.to_vec()]);
    }
    config
}

impl ClientTls {
    /// Trusts the authorities of the operating system.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` when the system has none.
    pub fn system() -> Result<Self> {
        Self::of(None, None)
    }

    /// As [`ClientTls::system`], and shows a certificate of its own (PEM).
    ///
    /// # Errors
    /// As [`ClientTls::system`] and [`ClientTls::mutual`].
    pub fn system_mutual(certificate: impl Into<Pem>, private_key: impl Into<Pem>) -> Result<Self> {
        Self::of(None, Some((certificate.into(), private_key.into())))
    }

    /// Trusts only the authorities in `authority` (PEM: text, or [`Pem::file`]), and servers whose own certificate is in there,
    /// whatever authority signed it: names and dates are verified in any case.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when they cannot be read.
    pub fn trusting(authority: impl Into<Pem>) -> Result<Self> {
        Self::of(Some(authority.into()), None)
    }

    /// As [`ClientTls::trusting`], and shows a certificate of its own (PEM).
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when any of the three cannot be read.
    pub fn mutual(
        authority: impl Into<Pem>,
        certificate: impl Into<Pem>,
        private_key: impl Into<Pem>,
    ) -> Result<Self> {
        Self::of(Some(authority.into()), Some((certificate.into(), private_key.into())))
    }

    fn of(authority: Option<Pem>, own: Option<(Pem, Pem)>) -> Result<Self> {
        let takes_told_names = authority.is_some();
        let own_files = own.iter().flat_map(|(certificate, key)| [certificate, key]);
        let files = authority.iter().chain(own_files).filter_map(Pem::path).collect();
        let live = Live::of_files(files, move || {
            let builder = ClientConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .map_err(|e| wrong("cannot set up TLS", e))?;
            let builder = match &authority {
                None => builder.with_root_certificates(system_roots()?),
                Some(authority) => {
                    let (given, roots) = trust::roots(authority)?;
                    let verifier = KnownServers::new(given, roots)?;
                    builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
                }
            };
            let mut config = match &own {
                None => builder.with_no_client_auth(),
                Some((certificate, key)) => {
                    builder.with_client_auth_cert(certificate.certificates()?, key.key()?).map_err(
                        |e| wrong("cannot use the certificate", words::of(&e, Side::Client)),
                    )?
                }
            };
            config.alpn_protocols.push(H2.to_vec());
            Ok(config)
        })?;
        let live = Arc::new(live);
        Ok(Self { live, name: None, takes_told_names, policy: TlsPolicy::default() })
    }

    /// Any rustls configuration; ALPN `h2` is added when it offers none.
    pub fn from_config(mut config: ClientConfig) -> Self {
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols.push(H2.to_vec());
        }
        let live = Arc::new(Live::fixed(config));
        Self { live, name: None, takes_told_names: false, policy: TlsPolicy::default() }
    }

    /// Verifies that servers have a certificate for `name`, a DNS name or an IP address, instead of for the host they are
    /// called at. Unless set, a client that trusts an authority of its own takes the name that a node told the registry; one
    /// that trusts the system's authorities, or has a configuration of rustls, does not.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what is neither.
    pub fn server_name(mut self, name: &str) -> Result<Self> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            Error::invalid_argument(format!(
                "server name {name:?}: write a DNS name or an IP address that is in the certificates of the servers"
            ))
        })?;
        self.name = Some(name);
        Ok(self)
    }

    /// Says which nodes TLS is spoken to, all of them unless set.
    #[must_use]
    pub fn policy(mut self, policy: TlsPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// True when a connection goes by this, to an address that asks for TLS or not.
    pub(super) fn is_for(&self, asked: bool) -> bool {
        asked || self.policy == TlsPolicy::Required
    }

    /// The name a server at `host` must have, where the registry may have `told` another.
    pub(crate) fn name_for(&self, host: &str, told: Option<&str>) -> Result<ServerName<'static>> {
        let told = told.filter(|_| self.takes_told_names);
        let told = || told.and_then(|name| ServerName::try_from(name.to_owned()).ok());
        match self.name.clone().or_else(told) {
            Some(name) => Ok(name),
            None => ServerName::try_from(host.to_owned())
                .map_err(|e| Error::invalid_argument(e.to_string())),
        }
    }

    /// What the next handshake goes by.
    pub(crate) async fn current(&self) -> Arc<ClientConfig> {
        self.live.current().await
    }
}

fn system_roots() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(Error::failed_precondition(
            "this system has no certificate authorities: install ca-certificates, or give an authority",
        ));
    }
    Ok(store)
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(..)")
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("server_name", &self.name)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
