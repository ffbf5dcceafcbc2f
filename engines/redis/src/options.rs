//! What a URL says.

use std::path::PathBuf;
use std::time::Duration;

use micro::settings::duration;
use micro::{Error, Result};
use redis::{Client, TlsCertificates};

const KNOWN: [&str; 4] = ["prefix", "max_age", "max_len", "ca"];
const DEFAULT: &str = "127.0.0.1:6379";

/// Where the server is, and how messages are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    scheme: &'static str,
    /// `user:password@host:port/db`, all that is not an option.
    secret_place: Place,
    ca: Option<PathBuf>,
    /// Before every key.
    pub(crate) prefix: String,
    /// How long what all queues have handled is kept.
    pub(crate) max_age: Duration,
    /// How many messages of a topic are kept that all queues have handled.
    pub(crate) max_len: Option<u64>,
}

/// Not to be shown.
#[derive(Clone, PartialEq, Eq)]
struct Place(String);

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.rsplit_once('@').map_or(self.0.as_str(), |(_, place)| place))
    }
}

impl Options {
    /// Reads what follows `scheme://`.
    pub(crate) fn read(scheme: &'static str, rest: &str) -> Result<Self> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let place = match place.trim_end_matches('/') {
            "" => DEFAULT,
            place => place,
        };
        let mut options = Self {
            scheme,
            secret_place: Place(place.to_owned()),
            ca: None,
            prefix: String::new(),
            max_age: Duration::from_secs(7 * 24 * 60 * 60),
            max_len: None,
        };
        let shown = options.place();
        let wrong = |what: String| Error::invalid_argument(format!("{shown}: {what}"));
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "prefix" if value.len() <= 200 => options.prefix = value.into_owned(),
                "prefix" => return Err(wrong("prefix: use at most 200 bytes".into())),
                "max_age" => {
                    options.max_age = duration(&value)
                        .map_err(|error| wrong(format!("max_age={value}: {}", error.detail())))?;
                }
                "max_len" => {
                    let number = value.parse().ok().filter(|number| *number > 0);
                    options.max_len = Some(number.ok_or_else(|| {
                        wrong(format!("max_len={value}: use a number of messages"))
                    })?);
                }
                "ca" if scheme == "rediss" => options.ca = Some(value.into_owned().into()),
                "ca" => return Err(wrong("ca: only rediss:// uses TLS".into())),
                unknown => {
                    let known = KNOWN.join(", ");
                    return Err(wrong(format!("unknown option `{unknown}` (known: {known})")));
                }
            }
        }
        // Reads the place.
        options.without_authority()?;
        Ok(options)
    }

    /// For messages to their reader: without secrets.
    pub(crate) fn place(&self) -> String {
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
            self.place(),
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
            Error::invalid_argument(format!("{}: ca={}: {error}", self.place(), ca.display()))
        })?;
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(read) };
        let url = format!("{}://{}", self.scheme, self.secret_place.0);
        Client::build_with_tls(url, certificates).map_err(|error| {
            Error::invalid_argument(format!("{}: ca={}: {error}", self.place(), ca.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let read = |rest| Options::read("redis", rest).unwrap();
        assert_eq!(read("").place(), "redis://127.0.0.1:6379");
        let options = read("me:hunter2@h:1/3?prefix=shop%3A&max_age=2h&max_len=1000");
        assert_eq!(options.place(), "redis://h:1/3");
        assert_eq!((options.prefix.as_str(), options.max_len), ("shop:", Some(1000)));
        assert_eq!(options.max_age, Duration::from_secs(7200));
        assert!(!format!("{options:?}").contains("hunter2"));
        for (rest, hint) in [
            ("h:port", "write redis://"),
            ("h/x", "write redis://"),
            ("h?max_age=soon", "max_age=soon"),
            ("h?max_len=0", "a number of messages"),
            ("h?ca=/x", "only rediss://"),
            ("h?size=1", "known: prefix"),
        ] {
            let error = Options::read("redis", &format!("me:hunter2@{rest}")).unwrap_err();
            assert!(error.detail().contains(hint), "{rest}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
