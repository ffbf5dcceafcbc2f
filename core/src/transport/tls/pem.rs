//! Certificates and keys as PEM.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::words::wrong;
use crate::error::{Error, Result};

/// Largest file, in bytes: bundles of authorities have some hundred thousand.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Certificates or a key in PEM: a text, or a file, which is read again when it changes.
#[derive(Clone)]
pub struct Pem(Source);

#[derive(Clone)]
enum Source {
    Text(Arc<[u8]>),
    File(Arc<Path>),
}

impl Pem {
    /// What the file at `path` holds, now and after each change. A link is followed every time, so that a folder may be
    /// changed under it, as Kubernetes does with its secrets.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into().into()))
    }

    pub(super) fn path(&self) -> Option<Arc<Path>> {
        match &self.0 {
            Source::Text(_) => None,
            Source::File(path) => Some(path.clone()),
        }
    }

    /// The bytes, without a look at what they mean.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a file that cannot be read, or has more than 4 MiB.
    pub(crate) fn bytes(&self) -> Result<Arc<[u8]>> {
        let path = match &self.0 {
            Source::Text(text) => return Ok(text.clone()),
            Source::File(path) => path,
        };
        let unreadable = |why: &dyn fmt::Display| {
            Error::invalid_argument(format!("cannot read {}: {why}", path.display()))
        };
        let file = std::fs::File::open(path).map_err(|error| unreadable(&error))?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
        match read.map_err(|error| unreadable(&error))? as u64 {
            length if length <= MAX_FILE => Ok(bytes.into()),
            _ => Err(unreadable(&format!("it has more than {MAX_FILE} bytes"))),
        }
    }

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let bytes = self.bytes()?;
        let found: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|e| wrong("cannot read the certificates", e))?;
        if found.is_empty() {
            return Err(Error::invalid_argument("no certificate in the PEM text"));
        }
        Ok(found)
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(&self.bytes()?)
            .map_err(|e| wrong("cannot read the private key", e))
    }
}

impl From<&[u8]> for Pem {
    fn from(text: &[u8]) -> Self {
        Self(Source::Text(text.into()))
    }
}

impl From<&Vec<u8>> for Pem {
    fn from(text: &Vec<u8>) -> Self {
        text.as_slice().into()
    }
}

impl From<&str> for Pem {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<&String> for Pem {
    fn from(text: &String) -> Self {
        text.as_bytes().into()
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Text(_) => f.write_str("Pem(..)"),
            Source::File(path) => write!(f, "Pem({})", path.display()),
        }
    }
}
