//! What a URL says.

use std::fmt;

use micro::{ClientTls, Error, Pem, Result};
use percent_encoding::percent_decode_str;

const KNOWN: [&str; 5] = ["prefix", "ca", "certificate", "private_key", "server_name"];
const PORT: u16 = 2379;
const PREFIX: &str = "/micro/store";

/// Where the servers are, and who this is to them.
#[derive(Clone)]
pub(crate) struct Options {
    scheme: &'static str,
    /// `host:port`, one for each server.
    pub(crate) addresses: Vec<String>,
    pub(crate) user: Option<User>,
    /// Before every key, without a `/` at its end.
    pub(crate) prefix: String,
    pub(crate) tls: Option<ClientTls>,
}

/// Not to be shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl Options {
    /// Reads what follows `scheme://`.
    pub(crate) fn read(scheme: &'static str, rest: &str) -> Result<Self> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, hosts) = match place.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, place),
        };
        let hosts = hosts.trim_end_matches('/');
        let shown = format!("{scheme}://{hosts}");
        let wrong = |what: &str| Error::invalid_argument(format!("{shown}: {what}"));
        let addresses = hosts.split(',').map(address).collect::<Option<Vec<_>>>();
        let addresses = addresses.ok_or_else(|| {
            wrong(&format!("write {scheme}://user:password@host:port,host:port with special letters of user and password as %XX, all but the hosts left out as you like"))
        })?;
        let user = user.map(User::read).transpose().map_err(wrong)?;
        let (mut prefix, mut authority, mut name) = (PREFIX.to_owned(), None, None);
        let (mut certificate, mut key) = (None, None);
        for (option, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let is_tls = scheme == "etcds";
            match &*option {
                "prefix" if value.len() <= 200 => {
                    value.trim_end_matches('/').clone_into(&mut prefix);
                }
                "prefix" => return Err(wrong("prefix: use at most 200 bytes")),
                "ca" if is_tls => authority = Some(Pem::file(&*value)),
                "certificate" if is_tls => certificate = Some(Pem::file(&*value)),
                "private_key" if is_tls => key = Some(Pem::file(&*value)),
                "server_name" if is_tls => name = Some(value.into_owned()),
                known if KNOWN.contains(&known) => {
                    return Err(wrong(&format!("{known}: only etcds:// uses TLS")));
                }
                unknown => {
                    let known = KNOWN.join(", ");
                    return Err(wrong(&format!("unknown option `{unknown}` (known: {known})")));
                }
            }
        }
        let tls = match (scheme, authority, certificate, key) {
            ("etcd", ..) => None,
            (_, None, None, None) => Some(ClientTls::system()),
            (_, Some(authority), None, None) => Some(ClientTls::trusting(authority)),
            (_, None, Some(certificate), Some(key)) => {
                Some(ClientTls::system_mutual(certificate, key))
            }
            (_, Some(authority), Some(certificate), Some(key)) => {
                Some(ClientTls::mutual(authority, certificate, key))
            }
            _ => return Err(wrong("`certificate` and `private_key` go together: give both")),
        };
        let tls = match (tls.transpose().map_err(|error| wrong(error.detail()))?, name) {
            (Some(tls), Some(name)) => {
                Some(tls.server_name(&name).map_err(|error| wrong(error.detail()))?)
            }
            (tls, _) => tls,
        };
        Ok(Self { scheme, addresses, user, prefix, tls })
    }

    /// For messages to their reader: without secrets.
    pub(crate) fn shown(&self) -> String {
        format!("{}://{}", self.scheme, self.addresses.join(","))
    }
}

impl User {
    fn read(text: &str) -> Result<Self, &'static str> {
        let decode = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.map(std::borrow::Cow::into_owned).map_err(|_| "user and password are no text")
        };
        let (name, password) = text.split_once(':').ok_or("write user:password before the @")?;
        Ok(Self { name: decode(name)?, password: decode(password)? })
    }
}

/// `host:port` of a host with or without one.
fn address(text: &str) -> Option<String> {
    let text = if text.is_empty() { "127.0.0.1" } else { text };
    let url = url::Url::parse(&format!("etcd://{text}")).ok()?;
    let is_plain = url.path().is_empty() && url.username().is_empty() && url.fragment().is_none();
    let host = url.host_str().filter(|host| is_plain && !host.is_empty())?;
    Some(format!("{host}:{}", url.port().unwrap_or(PORT)))
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("place", &self.shown())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_who() {
        let read = |rest| Options::read("etcd", rest).unwrap();
        assert_eq!(read("").addresses, ["127.0.0.1:2379"]);
        let options = read("me:p%40ss:w@a,b:1,[::1]:2/?prefix=%2Fshop%2F");
        assert_eq!(options.addresses, ["a:2379", "b:1", "[::1]:2"]);
        let user = options.user.clone().unwrap();
        assert_eq!((user.name.as_str(), user.password.as_str()), ("me", "p@ss:w"));
        assert_eq!(
            (options.prefix.as_str(), options.shown()),
            ("/shop", "etcd://a:2379,b:1,[::1]:2".into())
        );
        assert!(!format!("{options:?}").contains("p@ss"));
        for (scheme, rest, hint) in [
            ("etcd", "h:port", "host:port"),
            ("etcd", "h/x", "host:port"),
            ("etcd", "h?ca=/x", "only etcds://"),
            ("etcd", "h?size=1", "known: prefix"),
            ("etcds", "h?certificate=/x", "go together"),
            ("etcds", "h?ca=/not/there", "/not/there"),
        ] {
            let error = Options::read(scheme, &format!("me:hunter2@{rest}")).unwrap_err();
            assert!(error.detail().contains(hint), "{rest}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!(Options::read("etcd", "me@h").unwrap_err().detail().contains("user:password"));
    }
}
