//! TLS on either side: verified or absent, never unverified.

use std::fmt;
use std::io::BufReader;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::error::{Error, Result};

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Certificate a server shows, and whom it lets in.
#[derive(Clone)]
pub struct ServerTls(pub(super) Arc<ServerConfig>);

/// Whom a client trusts, and the certificate it shows.
#[derive(Clone)]
pub struct ClientTls(pub(super) Arc<ClientConfig>);

fn wrong(what: &str, error: impl fmt::Display) -> Error {
    Error::invalid_argument(format!("{what}: {error}"))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_reader_iter(BufReader::new(pem))
        .collect::<Result<_, _>>()
        .map_err(|e| wrong("cannot read the certificates", e))?;
    if found.is_empty() {
        return Err(Error::invalid_argument("no certificate in the PEM text"));
    }
    Ok(found)
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| wrong("cannot read the private key", e))
}

fn roots(pem: &[u8]) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(|e| wrong("cannot trust the authority", e))?;
    }
    Ok(store)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl ServerTls {
    /// Shows the certificate chain `certificate` with the key `key`, both PEM.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when either cannot be read or they do not belong together.
    pub fn new(certificate: &[u8], private_key: &[u8]) -> Result<Self> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong("cannot set up TLS", e))?;
        let config = builder
            .with_no_client_auth()
            .with_single_cert(certificates(certificate)?, key(private_key)?)
            .map_err(|e| wrong("cannot use the certificate", e))?;
        Ok(Self::from_config(config))
    }

    /// As [`ServerTls::new`], and lets in only clients with a certificate from `authority` (PEM).
    ///
    /// # Errors
    /// As [`ServerTls::new`].
    pub fn mutual(certificate: &[u8], private_key: &[u8], authority: &[u8]) -> Result<Self> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority)?), provider())
                .build()
                .map_err(|e| wrong("cannot verify clients", e))?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong("cannot set up TLS", e))?;
        let config = builder
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(certificate)?, key(private_key)?)
            .map_err(|e| wrong("cannot use the certificate", e))?;
        Ok(Self::from_config(config))
    }

    /// Any rustls configuration; ALPN `h2` and `http/1.1` are added when it offers none.
    pub fn from_config(mut config: ServerConfig) -> Self {
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols.extend([H2.to_vec(), HTTP_1_1.to_vec()]);
        }
        Self(Arc::new(config))
    }
}

impl ClientTls {
    /// Trusts the authorities of the operating system.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` when the system has none.
    pub fn system() -> Result<Self> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(Error::failed_precondition(
                "this system has no certificate authorities: install ca-certificates or use ClientTls::trusting",
            ));
        }
        Self::with_roots(store)
    }

    /// Trusts only the authorities in `authority` (PEM).
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when they cannot be read.
    pub fn trusting(authority: &[u8]) -> Result<Self> {
        Self::with_roots(roots(authority)?)
    }

    /// As [`ClientTls::trusting`], and shows a certificate of its own (PEM).
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when any of the three cannot be read.
    pub fn mutual(authority: &[u8], certificate: &[u8], private_key: &[u8]) -> Result<Self> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong("cannot set up TLS", e))?
            .with_root_certificates(roots(authority)?)
            .with_client_auth_cert(certificates(certificate)?, key(private_key)?)
            .map_err(|e| wrong("cannot use the certificate", e))?;
        Ok(Self::from_config(config))
    }

    fn with_roots(store: RootCertStore) -> Result<Self> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong("cannot set up TLS", e))?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self::from_config(config))
    }

    /// Any rustls configuration; ALPN `h2` is added when it offers none.
    pub fn from_config(mut config: ClientConfig) -> Self {
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols.push(H2.to_vec());
        }
        Self(Arc::new(config))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(..)")
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls(..)")
    }
}
