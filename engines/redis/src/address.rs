//! Where the server is, as a URL says it.

use std::path::PathBuf;

use micro::{Error, Result};
use redis::{Client, TlsCertificates};

const DEFAULT: &str = "127.0.0.1:6379";

/// Where the server is, who this is to it, and whom it is trusted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    scheme: &'static str,
    /// `user:password@host:port/db`, all that is not an option.
    secret_place: Place,
    ca: Option<PathBuf>,
}

/// Not to be shown.
#[derive(Clone, PartialEq, Eq)]
struct Place(String);

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.rsplit_once('@').map_or(self.0.as_str(), |(_, place)| place))
    }
}

impl Address {
    /// Reads what follows `scheme://`. Options beside `ca` are for `option` to take, by name and value; what it says is the error's
    /// text. `known` are their names.
    pub(crate) fn read(
        scheme: &'static str,
        rest: &str,
        known: &[&str],
        mut option: impl FnMut(&str, &str) -> Result<(), String>,
    ) -> Result<Self> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let place = match place.trim_end_matches('/') {
            "" => DEFAULT,
            place => place,
        };
        let mut address = Self { scheme, secret_place: Place(place.to_owned()), ca: None };
        let shown = address.shown();
        let wrong = |what: String| Error::invalid_argument(format!("{shown}: {what}"));
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "ca" if scheme == "rediss" => address.ca = Some(value.into_owned().into()),
                "ca" => return Err(wrong("ca: only rediss:// uses TLS".into())),
                name if known.contains(&name) => option(name, &value).map_err(wrong)?,
                unknown => {
                    let known = known.join(", ");
                    return Err(wrong(format!("unknown option `{unknown}` (known: {known}, ca)")));
                }
            }
        }
        // Reads the place.
        address.without_authority()?;
        Ok(address)
    }

    /// For messages to their reader: without secrets.
    pub(crate) fn shown(&self) -> String {
        format!("{}://{:?}", self.scheme, self.secret_place)
    }

    fn without_authority(&self) -> Result<Client> {
        let url = format!("{}://{}", self.scheme, self.secret_place.0);
        Client::open(url).map_err(|_| self.unreadable())
    }

    fn unreadable(&self) -> Error {
        Error::invalid_argument(format!(
            "{}: write {}://user:password@host:port/number, all but the host left out as you like, and special letters of user \
             and password as %XX",
            self.shown(),
            self.scheme
        ))
    }

    /// What makes connections.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a file of an authority that cannot be read.
    pub(crate) fn client(&self) -> Result<Client> {
        let Some(ca) = &self.ca else { return self.without_authority() };
        let read = std::fs::read(ca).map_err(|error| {
            Error::invalid_argument(format!("{}: ca={}: {error}", self.shown(), ca.display()))
        })?;
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(read) };
        let url = format!("{}://{}", self.scheme, self.secret_place.0);
        Client::build_with_tls(url, certificates).map_err(|error| {
            Error::invalid_argument(format!("{}: ca={}: {error}", self.shown(), ca.display()))
        })
    }
}

/// What is before every key.
pub(crate) fn prefix(value: &str) -> Result<String, String> {
    match value.len() <= 200 {
        true => Ok(value.to_owned()),
        false => Err("prefix: use at most 200 bytes".into()),
    }
}
