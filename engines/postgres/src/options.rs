//! What a URL says.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use micro::{Error, Result};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::sql::Dialect;

const KNOWN: &str =
    "tables, connections, history, layout, pooler, sslmode, ca, cert, key, application_name";
/// How long anything may take before the server counts as unreachable.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of the beginning of names: PostgreSQL cuts names off at 63.
const NAME_BYTES: usize = 40;

/// Where the server is, and how records are kept.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) scheme: &'static str,
    pub(crate) dialect: Dialect,
    /// With the password.
    pub(crate) secret: Config,
    /// `host:port/database`, for texts.
    shown: String,
    /// The beginning of the names of the tables, for example `micro` or `shop.micro`.
    pub(crate) tables: String,
    /// Connections at once.
    pub(crate) connections: usize,
    /// Changes after which a deletion need not be known any more.
    pub(crate) history: u64,
    /// The tables are go-micro's, and only read.
    pub(crate) is_go_micro: bool,
    /// Nothing is used that lasts longer than a transaction.
    pub(crate) is_pooled: bool,
    pub(crate) tls: Option<Tls>,
}

/// Files of a verified connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) own: Option<(PathBuf, PathBuf)>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("place", &self.place())
            .field("tables", &self.tables)
            .field("connections", &self.connections)
            .field("pooler", &self.is_pooled)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Reads what follows `scheme://`.
    pub(crate) fn read(scheme: &'static str, rest: &str) -> Result<Self> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let shown = place.rsplit_once('@').map_or(place, |(_, shown)| shown);
        let dialect = match scheme {
            "cockroach" => Dialect::Cockroach,
            _ => Dialect::Postgres,
        };
        let (port, user) = match dialect {
            Dialect::Postgres => (5432, "postgres"),
            Dialect::Cockroach => (26257, "root"),
        };
        let wrong = |what: String| Error::invalid_argument(format!("{scheme}://{shown}: {what}"));
        let mut secret = Config::from_str(&format!("postgresql://{place}")).map_err(|_| {
            wrong(format!(
                "write {scheme}://user:password@host:port/database, all of it left out as you like, and special letters of user and \
                 password as %XX"
            ))
        })?;
        if secret.get_hosts().is_empty() {
            secret.host("localhost");
        }
        if secret.get_ports().is_empty() {
            secret.port(port);
        }
        if secret.get_user().is_none() {
            secret.user(user);
        }
        secret
            .application_name("micro")
            .connect_timeout(PATIENCE)
            .keepalives_idle(PATIENCE)
            .tcp_user_timeout(PATIENCE);
        let mut options = Self {
            scheme,
            dialect,
            secret,
            shown: shown.to_owned(),
            tables: "micro".into(),
            connections: 8,
            history: 65_536,
            is_go_micro: false,
            is_pooled: false,
            tls: None,
        };
        let (mut mode, mut files, mut certificate, mut key) = (None, Tls::default(), None, None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let wrong = |what: &str| wrong(format!("{name}={value}: {what}"));
            match &*name {
                "tables" if is_name(&value) => options.tables = value.into_owned(),
                "tables" => {
                    return Err(wrong(&format!(
                        "use 1 to {NAME_BYTES} of a-z, 0-9 and `_`, with a schema and a dot before them where it needs one"
                    )));
                }
                "connections" => {
                    let number = value.parse().ok().filter(|number| (2..=1000).contains(number));
                    options.connections = number.ok_or_else(|| wrong("it is 2 to 1000"))?;
                }
                "history" => {
                    let number = value.parse().ok().filter(|number| *number < 1 << 40);
                    options.history = number.ok_or_else(|| wrong("it is a number of changes"))?;
                }
                "layout" => {
                    options.is_go_micro = match &*value {
                        "micro" => false,
                        "go-micro" => true,
                        _ => return Err(wrong("it is `micro`, or `go-micro` to read its tables")),
                    };
                }
                "pooler" => {
                    options.is_pooled =
                        value.parse().map_err(|_| wrong("it is `true` or `false`"))?;
                }
                "sslmode" => {
                    mode = Some(match &*value {
                        "disable" => false,
                        "verify-full" => true,
                        _ => {
                            return Err(wrong(
                                "it is `verify-full`, or `disable` for a connection without TLS: those between would not notice a false server",
                            ));
                        }
                    });
                }
                "ca" | "sslrootcert" => files.ca = Some(value.into_owned().into()),
                "cert" | "sslcert" => certificate = Some(value.into_owned().into()),
                "key" | "sslkey" => key = Some(value.into_owned().into()),
                "application_name" => {
                    options.secret.application_name(value.into_owned());
                }
                unknown => {
                    return Err(Error::invalid_argument(format!(
                        "{scheme}://{shown}: unknown option `{unknown}` (known: {KNOWN})"
                    )));
                }
            }
        }
        files.own = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(wrong(
                    "`cert` and `key` belong together: the files of a certificate and of its key"
                        .into(),
                ));
            }
        };
        let has_files = files != Tls::default();
        if has_files && mode == Some(false) {
            return Err(wrong("sslmode=disable uses no `ca`, `cert` or `key`".into()));
        }
        let is_verified = mode.unwrap_or(has_files || !options.is_local());
        options.secret.ssl_mode(match is_verified {
            true => SslMode::Require,
            false => SslMode::Disable,
        });
        options.tls = is_verified.then_some(files);
        Ok(options)
    }

    /// Whether no packet leaves this machine.
    fn is_local(&self) -> bool {
        self.secret.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => {
                name == "localhost"
                    || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
            }
            #[cfg(unix)]
            Host::Unix(_) => true,
        })
    }

    /// For messages to their reader: without secrets.
    pub(crate) fn place(&self) -> String {
        format!("{}://{}", self.scheme, self.shown)
    }
}

/// Becomes part of statements.
fn is_name(name: &str) -> bool {
    let is_plain = |part: &str| {
        part.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '_')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let parts: Vec<&str> = name.split('.').collect();
    parts.len() <= 2 && name.len() <= NAME_BYTES && parts.into_iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let read = |rest| Options::read("postgres", rest).unwrap();
        let local = read("");
        assert_eq!((local.secret.get_ports(), local.tls), (&[5432][..], None));
        let options = read("me:hunter2@h:1/shop?tables=app.micro&connections=3&pooler=true");
        assert_eq!(options.place(), "postgres://h:1/shop");
        assert_eq!((options.tables.as_str(), options.connections), ("app.micro", 3));
        assert!(options.is_pooled);
        assert_eq!(options.secret.get_password(), Some(&b"hunter2"[..]));
        assert_eq!(options.secret.get_dbname(), Some("shop"));
        assert!(!format!("{options:?}").contains("hunter2"));
        let socket = read("me@%2Ftmp/shop");
        assert_eq!(socket.tls, None);
        let cockroach = Options::read("cockroach", "root@localhost:26257?sslmode=disable").unwrap();
        assert_eq!(cockroach.dialect, Dialect::Cockroach);
        for (rest, hint) in [
            ("h:port", "write postgres://"),
            ("h?tables=A", "a-z"),
            ("h?tables=a;drop", "a-z"),
            ("h?connections=1", "2 to 1000"),
            ("h?history=long", "a number of changes"),
            ("h?layout=old", "it is `micro`, or `go-micro`"),
            ("h?pooler=maybe", "`true` or `false`"),
            ("h?sslmode=require", "`verify-full`"),
            ("h?sslmode=disable&ca=/x", "no `ca`"),
            ("h?cert=/x", "belong together"),
            ("h?size=1", "known: tables"),
        ] {
            let error = Options::read("postgres", &format!("me:hunter2@{rest}")).unwrap_err();
            assert!(error.detail().contains(hint), "{rest}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_server_elsewhere_is_verified_unless_tls_is_refused() {
        let read = |rest| Options::read("postgres", rest).unwrap().tls;
        assert_eq!(read("db.example.com/shop"), Some(Tls::default()));
        assert_eq!(read("db.example.com/shop?sslmode=disable"), None);
        assert_eq!(read("127.0.0.1/shop"), None);
        assert_eq!(read("127.0.0.1?sslrootcert=/x").unwrap().ca, Some("/x".into()));
        let own = read("h?cert=/c&key=/k").unwrap().own;
        assert_eq!(own, Some(("/c".into(), "/k".into())));
    }
}
