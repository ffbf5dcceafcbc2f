//! Certificates and keys, in the document or in files beside it.

use std::fmt;
use std::io::Read as _;
use std::path::PathBuf;

use super::value::{Fields, Place, Value};
use crate::error::{Error, Result};
use crate::transport::{ClientTls, ServerTls};

/// Largest file, in bytes: bundles of authorities have some hundred thousand.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Certificates or a key. What a file holds is read when a builder is made.
#[derive(Clone)]
struct Pem {
    place: Place,
    source: Source,
}

#[derive(Clone)]
enum Source {
    Text(String),
    File(PathBuf),
}

impl Pem {
    fn read(value: Value) -> Result<Self> {
        let place = value.place.clone();
        let source = if value.is_object() {
            let mut fields = value.fields()?;
            let file = fields.require("file", Value::text)?;
            fields.finish()?;
            Source::File(file.into())
        } else {
            match value.as_text() {
                Some(text) if text.contains("-----BEGIN") => Source::Text(text.to_owned()),
                _ => {
                    return Err(value.expected("PEM: write the text, or {\"file\": \"/its/path\"}"));
                }
            }
        };
        Ok(Self { place, source })
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let path = match &self.source {
            Source::Text(text) => return Ok(text.clone().into_bytes()),
            Source::File(path) => path,
        };
        let unreadable = |why: &dyn fmt::Display| {
            self.place.wrong(format!("cannot read {}: {why}", path.display()))
        };
        let file = std::fs::File::open(path).map_err(|error| unreadable(&error))?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
        match read.map_err(|error| unreadable(&error))? as u64 {
            length if length <= MAX_FILE => Ok(bytes),
            _ => Err(unreadable(&format!("it has more than {MAX_FILE} bytes"))),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Text(_) => f.write_str("Pem(..)"),
            Source::File(path) => write!(f, "Pem({})", path.display()),
        }
    }
}

/// What a server shows, and whom it lets in.
#[derive(Debug, Clone)]
pub(super) struct ServerTlsSettings {
    place: Place,
    certificate: Pem,
    private_key: Pem,
    authority: Option<Pem>,
}

impl ServerTlsSettings {
    pub(super) fn read(value: Value) -> Result<Self> {
        let place = value.place.clone();
        let mut fields = value.fields()?;
        let settings = Self {
            place,
            certificate: fields.require("certificate", Pem::read)?,
            private_key: fields.require("private_key", Pem::read)?,
            authority: fields.read("authority", Pem::read)?,
        };
        fields.finish()?;
        Ok(settings)
    }

    pub(super) fn tls(&self) -> Result<ServerTls> {
        let (certificate, key) = (self.certificate.bytes()?, self.private_key.bytes()?);
        let tls = match &self.authority {
            Some(authority) => ServerTls::mutual(&certificate, &key, &authority.bytes()?),
            None => ServerTls::new(&certificate, &key),
        };
        tls.map_err(|error| self.place.found(&error))
    }
}

/// Whom a client trusts, and what it shows.
#[derive(Debug, Clone)]
pub(super) struct ClientTlsSettings {
    place: Place,
    trust: Trust,
}

#[derive(Debug, Clone)]
enum Trust {
    System,
    Authority(Pem),
    /// The authority, then the client's own certificate and key.
    Mutual(Box<[Pem; 3]>),
}

impl ClientTlsSettings {
    pub(super) fn read(value: Value) -> Result<Self> {
        let place = value.place.clone();
        let trust = match value.as_text() {
            Some("system") => Trust::System,
            _ if value.is_object() => Self::trust(value.fields()?)?,
            _ => return Err(value.expected("\"system\", or an object with an `authority`")),
        };
        Ok(Self { place, trust })
    }

    fn trust(mut fields: Fields) -> Result<Trust> {
        let authority = fields.require("authority", Pem::read)?;
        let certificate = fields.read("certificate", Pem::read)?;
        let private_key = fields.read("private_key", Pem::read)?;
        let place = fields.place.clone();
        fields.finish()?;
        match (certificate, private_key) {
            (Some(certificate), Some(private_key)) => {
                Ok(Trust::Mutual(Box::new([authority, certificate, private_key])))
            }
            (None, None) => Ok(Trust::Authority(authority)),
            _ => {
                Err(place
                    .wrong("`certificate` and `private_key` go together: give both or neither"))
            }
        }
    }

    pub(super) fn tls(&self) -> Result<ClientTls> {
        let tls = match &self.trust {
            Trust::System => return ClientTls::system(),
            Trust::Authority(authority) => ClientTls::trusting(&authority.bytes()?),
            Trust::Mutual(parts) => {
                let [authority, certificate, private_key] = &**parts;
                let (certificate, key) = (certificate.bytes()?, private_key.bytes()?);
                ClientTls::mutual(&authority.bytes()?, &certificate, &key)
            }
        };
        tls.map_err(|error: Error| self.place.found(&error))
    }
}
