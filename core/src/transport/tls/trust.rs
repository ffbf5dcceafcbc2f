//! Who is believed: authorities, and certificates that were given themselves.
//!
//! The self-signed certificate of every tutorial is marked as an authority's and shown by a server, and webpki takes no
//! authority's certificate from a server. Where exactly that certificate was given as trusted, nothing is left to prove but
//! its name and its dates.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, RootCertStore,
    SignatureScheme,
};

use super::pem::Pem;
use super::provider::provider;
use super::words::wrong;
use crate::error::Result;

/// The certificates of `authority`, and the same as authorities.
pub(super) fn roots(authority: &Pem) -> Result<(Vec<CertificateDer<'static>>, RootCertStore)> {
    let given = authority.certificates()?;
    let mut store = RootCertStore::empty();
    for certificate in &given {
        store.add(certificate.clone()).map_err(|e| wrong("cannot trust the authority", e))?;
    }
    Ok((given, store))
}

/// True for what webpki finds wrong about a certificate only after its dates, and only because it is an authority's own, or
/// because no trusted authority has signed it.
fn is_about_its_signer(error: &TlsError) -> bool {
    match error {
        TlsError::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => true,
        TlsError::InvalidCertificate(CertificateError::Other(other)) => {
            other.to_string().contains("CaUsedAsEndEntity")
        }
        _ => false,
    }
}

/// A name that a certificate is for, unless it is for `host`.
pub(super) fn name_instead(certificate: &CertificateDer<'_>, host: &str) -> Option<String> {
    let certificate = ParsedCertificate::try_from(certificate).ok()?;
    let host = ServerName::try_from(host.to_owned()).ok()?;
    let Err(TlsError::InvalidCertificate(CertificateError::NotValidForNameContext {
        presented,
        ..
    })) = verify_server_name(&certificate, &host)
    else {
        return None;
    };
    let names = presented.iter().map(|name| super::words::shown(name));
    // A name that a wildcard is for does as well.
    let names = names.map(|name| match name.strip_prefix("*.") {
        Some(rest) => format!("node.{rest}"),
        None => name,
    });
    let verified = |name: &String| {
        ServerName::try_from(name.clone())
            .is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
    };
    names.into_iter().find(verified)
}

/// Verifies servers.
#[derive(Debug)]
pub(super) struct KnownServers {
    given: Vec<CertificateDer<'static>>,
    webpki: Arc<WebPkiServerVerifier>,
}

impl KnownServers {
    pub(super) fn new(given: Vec<CertificateDer<'static>>, roots: RootCertStore) -> Result<Self> {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|e| wrong("cannot verify servers", e))?;
        Ok(Self { given, webpki })
    }
}

impl ServerCertVerifier for KnownServers {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        match self.webpki.verify_server_cert(shown, intermediates, name, ocsp, now) {
            Err(error) if is_about_its_signer(&error) && self.given.contains(shown) => {
                verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Verifies clients.
pub(super) struct KnownClients {
    given: Vec<CertificateDer<'static>>,
    webpki: Arc<dyn ClientCertVerifier>,
}

impl KnownClients {
    pub(super) fn new(
        given: Vec<CertificateDer<'static>>,
        webpki: Arc<dyn ClientCertVerifier>,
    ) -> Self {
        Self { given, webpki }
    }
}

impl fmt::Debug for KnownClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownClients").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for KnownClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        match self.webpki.verify_client_cert(shown, intermediates, now) {
            Err(error) if is_about_its_signer(&error) && self.given.contains(shown) => {
                Ok(ClientCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
