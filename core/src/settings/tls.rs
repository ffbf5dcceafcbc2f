//! Certificates and keys, in the document or in files beside it.

use super::path::FieldPath;
use super::value::{Fields, Value};
use crate::error::{Error, Result};
use crate::transport::{ClientTls, Pem, ServerTls, TlsPolicy};

/// Certificates or a key, and where in the document. What a file holds is read when a builder is made, and again when it
/// changes.
#[derive(Debug, Clone)]
struct PemSetting {
    path: FieldPath,
    pem: Pem,
}

impl PemSetting {
    fn read(value: Value) -> Result<Self> {
        let path = value.path.clone();
        let pem = if value.is_object() {
            let mut fields = value.fields()?;
            let file = fields.require("file", Value::text)?;
            fields.finish()?;
            Pem::file(file)
        } else {
            match value.as_text() {
                Some(text) if text.contains("-----BEGIN") => text.into(),
                _ => {
                    return Err(value.expected("PEM: write the text, or {\"file\": \"/its/path\"}"));
                }
            }
        };
        Ok(Self { path, pem })
    }

    /// What it says, once it was seen that it can be read.
    fn pem(&self) -> Result<Pem> {
        self.pem.bytes().map_err(|error| self.path.found(&error))?;
        Ok(self.pem.clone())
    }
}

/// What a server shows, and whom it lets in.
#[derive(Debug, Clone)]
pub(super) struct ServerTlsSettings {
    path: FieldPath,
    certificate: PemSetting,
    private_key: PemSetting,
    authority: Option<PemSetting>,
}

impl ServerTlsSettings {
    pub(super) fn read(value: Value) -> Result<Self> {
        let path = value.path.clone();
        let mut fields = value.fields()?;
        let settings = Self {
            path,
            certificate: fields.require("certificate", PemSetting::read)?,
            private_key: fields.require("private_key", PemSetting::read)?,
            authority: fields.read("authority", PemSetting::read)?,
        };
        fields.finish()?;
        Ok(settings)
    }

    pub(super) fn tls(&self) -> Result<ServerTls> {
        let (certificate, key) = (self.certificate.pem()?, self.private_key.pem()?);
        let tls = match &self.authority {
            Some(authority) => ServerTls::mutual(certificate, key, authority.pem()?),
            None => ServerTls::new(certificate, key),
        };
        tls.map_err(|error| self.path.found(&error))
    }
}

/// Whom a client trusts, and what it shows.
#[derive(Debug, Clone)]
pub(super) struct ClientTlsSettings {
    path: FieldPath,
    /// The system's authorities unless set.
    authority: Option<PemSetting>,
    /// The client's own certificate and key.
    own: Option<Box<(PemSetting, PemSetting)>>,
    server_name: Option<String>,
    policy: Option<TlsPolicy>,
}

impl ClientTlsSettings {
    pub(super) fn read(value: Value) -> Result<Self> {
        let path = value.path.clone();
        match value.as_text() {
            Some("system") => {
                Ok(Self { path, authority: None, own: None, server_name: None, policy: None })
            }
            _ if value.is_object() => Self::of(path, value.fields()?),
            _ => Err(value.expected("\"system\", or an object with an `authority`")),
        }
    }

    fn of(path: FieldPath, mut fields: Fields) -> Result<Self> {
        let authority = |value: Value| match value.as_text() {
            Some("system") => Ok(None),
            _ => PemSetting::read(value).map(Some),
        };
        let authority = fields.require("authority", authority)?;
        let certificate = fields.read("certificate", PemSetting::read)?;
        let private_key = fields.read("private_key", PemSetting::read)?;
        let server_name = fields.read("server_name", Value::text)?;
        let policies = [("required", TlsPolicy::Required), ("prefer", TlsPolicy::Prefer)];
        let policy = fields.read("policy", |value| value.choice(&policies))?;
        fields.finish()?;
        let own = match (certificate, private_key) {
            (Some(certificate), Some(private_key)) => Some(Box::new((certificate, private_key))),
            (None, None) => None,
            _ => {
                return Err(
                    path.wrong("`certificate` and `private_key` go together: give both or neither")
                );
            }
        };
        Ok(Self { path, authority, own, server_name, policy })
    }

    pub(super) fn tls(&self) -> Result<ClientTls> {
        let both = |(certificate, key): &(PemSetting, PemSetting)| {
            Ok::<_, Error>((certificate.pem()?, key.pem()?))
        };
        let own = self.own.as_deref().map(both).transpose()?;
        let authority = self.authority.as_ref().map(PemSetting::pem).transpose()?;
        let tls = match (authority, own) {
            (None, None) => return ClientTls::system().and_then(|tls| self.terms(tls)),
            (None, Some((certificate, key))) => ClientTls::system_mutual(certificate, key),
            (Some(authority), None) => ClientTls::trusting(authority),
            (Some(authority), Some((certificate, key))) => {
                ClientTls::mutual(authority, certificate, key)
            }
        };
        let tls = tls.map_err(|error| self.path.found(&error))?;
        self.terms(tls)
    }

    fn terms(&self, mut tls: ClientTls) -> Result<ClientTls> {
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name).map_err(|error| self.path.found(&error))?;
        }
        Ok(tls.policy(self.policy.unwrap_or_default()))
    }
}
