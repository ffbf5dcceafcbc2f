//! What a URL says: servers, who one is, and what holds of the stream.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use micro::settings::duration;
use micro::{Error, Result};
use percent_encoding::percent_decode_str;

/// Where the server is unless it is said.
const DEFAULT: &str = "127.0.0.1:4222";
/// How long anything may take before the servers count as unreachable.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How often a connection is asked whether it still is one.
const PING: Duration = Duration::from_secs(5);
/// The longest pause between attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Messages that are received and not taken yet, of one subscription.
const RECEIVED: usize = 65_536;

/// What a URL says, but for the scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// `host:port`, at least one.
    pub(crate) servers: Vec<String>,
    user: Option<Secret>,
    password: Option<Secret>,
    tls: Tls,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    /// What remains for the broker.
    pub(crate) others: Vec<(String, String)>,
}

/// Not to be shown.
#[derive(Clone, PartialEq, Eq)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    /// If the server wants it.
    Maybe,
    Required,
    /// Before the server says a word.
    First,
}

impl Options {
    /// Reads what follows `scheme://`.
    pub(crate) fn read(scheme: &str, rest: &str) -> Result<Self> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (secrets, hosts) =
            place.rsplit_once('@').map_or((None, place), |(who, hosts)| (Some(who), hosts));
        let hosts = hosts.trim_end_matches('/');
        // Never what stands before `@`: that is secret.
        let wrong = |what: String| Error::invalid_argument(format!("{scheme}://{hosts}: {what}"));
        let hosts = if hosts.is_empty() { DEFAULT } else { hosts };
        let mut servers = Vec::new();
        for host in hosts.split(',') {
            let server = if has_port(host) { host.to_owned() } else { format!("{host}:4222") };
            if host.is_empty()
                || format!("nats://{server}").parse::<ServerAddr>().is_err()
                || host.contains('/')
            {
                return Err(wrong(format!(
                    "write {scheme}://host:port, or several of them with commas between"
                )));
            }
            servers.push(server);
        }
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(|text| Secret(text.into_owned())).map_err(|_| {
                wrong("what stands before @ is no text once it is percent-decoded".into())
            })
        };
        let (user, password) =
            match secrets.map(|secrets| secrets.split_once(':').unwrap_or((secrets, ""))) {
                None => (None, None),
                Some((token, "")) => (Some(decoded(token)?), None),
                Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
            };
        let mut options = Self {
            servers,
            user,
            password,
            tls: Tls::Maybe,
            ca: None,
            cert: None,
            key: None,
            others: Vec::new(),
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "tls" => {
                    options.tls = match &*value {
                        "true" => Tls::Required,
                        "first" => Tls::First,
                        "false" => Tls::Maybe,
                        other => {
                            return Err(wrong(format!(
                                "tls={other}: it is `true`, `first` or `false`"
                            )));
                        }
                    }
                }
                "ca" => options.ca = Some(value.into_owned().into()),
                "cert" => options.cert = Some(value.into_owned().into()),
                "key" => options.key = Some(value.into_owned().into()),
                _ => options.others.push((name.into_owned(), value.into_owned())),
            }
        }
        if options.cert.is_some() != options.key.is_some() {
            return Err(wrong(
                "`cert` and `key` belong together: the files of a certificate and of its key"
                    .into(),
            ));
        }
        if options.ca.is_some() && options.tls == Tls::Maybe {
            options.tls = Tls::Required;
        }
        Ok(options)
    }

    /// For messages to their reader: without secrets.
    pub(crate) fn place(&self) -> String {
        self.servers.join(",")
    }

    /// Refuses options that nothing is known of.
    pub(crate) fn unknown(scheme: &str, name: &str, known: &[&str]) -> Error {
        let known: Vec<&str> = known.iter().copied().chain(["tls", "ca", "cert", "key"]).collect();
        Error::invalid_argument(format!(
            "{scheme}://: unknown option `{name}` (known: {})",
            known.join(", ")
        ))
    }

    pub(crate) fn connecting(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .name("micro")
            .ping_interval(PING)
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .subscription_capacity(RECEIVED)
            .max_reconnects(None)
            .reconnect_delay_callback(|attempt| {
                let pause =
                    Duration::from_millis(20) * 2_u32.saturating_pow(attempt.min(10) as u32);
                pause.min(LONGEST_PAUSE)
            })
            .require_tls(self.tls != Tls::Maybe);
        match (&self.user, &self.password) {
            (Some(user), Some(password)) => {
                options = options.user_and_password(user.0.clone(), password.0.clone());
            }
            (Some(token), None) => options = options.token(token.0.clone()),
            _ => {}
        }
        if self.tls == Tls::First {
            options = options.tls_first();
        }
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        options
    }
}

/// What holds of the stream, for one that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keeping {
    pub(crate) stream: String,
    /// Before every subject.
    pub(crate) prefix: String,
    /// Copies in a cluster.
    pub(crate) replicas: u32,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_age: Duration,
}

const KEEPING: [&str; 5] = ["stream", "prefix", "replicas", "max_bytes", "max_age"];

impl Keeping {
    pub(crate) fn read(options: &Options) -> Result<Self> {
        let mut keeping = Self {
            stream: "micro".into(),
            prefix: String::new(),
            replicas: 1,
            max_bytes: None,
            max_age: Duration::from_secs(7 * 24 * 60 * 60),
        };
        let mut prefix = None;
        let mut has_stream = false;
        for (name, value) in &options.others {
            let wrong = |what: &str| {
                Error::invalid_argument(format!("jetstream://: {name}={value}: {what}"))
            };
            match name.as_str() {
                "stream" => {
                    let is_one = !value.is_empty()
                        && value.len() <= 200
                        && value.chars().all(|letter| {
                            letter.is_alphanumeric() || letter == '-' || letter == '_'
                        });
                    if !is_one {
                        return Err(wrong("use letters, digits, `-` and `_`"));
                    }
                    keeping.stream.clone_from(value);
                    has_stream = true;
                }
                "prefix" => prefix = Some(value.clone()),
                "replicas" => {
                    keeping.replicas = value
                        .parse()
                        .ok()
                        .filter(|copies| (1..=5).contains(copies))
                        .ok_or_else(|| wrong("it is 1 to 5"))?;
                }
                "max_bytes" => {
                    let bytes = value.parse().map_err(|_| wrong("use a number of bytes"))?;
                    keeping.max_bytes = Some(bytes);
                }
                "max_age" => {
                    keeping.max_age = duration(value).map_err(|error| wrong(error.detail()))?;
                }
                unknown => return Err(Options::unknown("jetstream", unknown, &KEEPING)),
            }
        }
        // A stream of one's own has the subjects it has.
        keeping.prefix =
            prefix.unwrap_or_else(|| if has_stream { String::new() } else { "micro.".into() });
        let prefix = &keeping.prefix;
        let is_one = prefix.is_empty()
            || (prefix.ends_with('.')
                && crate::subject::published(&prefix[..prefix.len() - 1])
                    == prefix[..prefix.len() - 1]);
        match is_one {
            true => Ok(keeping),
            false => Err(Error::invalid_argument(format!(
                "jetstream://: prefix={prefix}: use the beginning of subjects, up to a dot, such as `shop.`"
            ))),
        }
    }
}

fn has_port(host: &str) -> bool {
    let end = host.rsplit_once(']').map_or(host, |(_, end)| end);
    end.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_servers_and_who_one_is() {
        let read = |rest| Options::read("nats", rest).unwrap();
        assert_eq!(read("").servers, [DEFAULT]);
        assert_eq!(
            read("a,b:1,[::1],[::2]:3/").servers,
            ["a:4222", "b:1", "[::1]:4222", "[::2]:3"]
        );
        let user = read("us%3Aer:p%40ss@h");
        assert_eq!(
            (user.user, user.password),
            (Some(Secret("us:er".into())), Some(Secret("p@ss".into())))
        );
        let token = read("t0ken@h?tls=first");
        assert_eq!(
            (token.user, token.password, token.tls),
            (Some(Secret("t0ken".into())), None, Tls::First)
        );
        assert_eq!(read("h?ca=/x.pem").tls, Tls::Required);
        for (rest, hint) in [
            ("h/path", "write nats://host:port"),
            ("h:port", "write nats://host:port"),
            ("a,,b", "write nats://host:port"),
            ("h?tls=no", "`true`, `first` or `false`"),
            ("h?cert=/x", "belong together"),
        ] {
            let error = Options::read("nats", &format!("me:hunter2@{rest}")).unwrap_err();
            assert!(error.detail().contains(hint), "{rest}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", read("me:hunter2@h")).contains("hunter2"));
    }

    #[test]
    fn a_stream_of_ones_own_has_the_subjects_it_has() {
        let read = |query: &str| {
            Keeping::read(&Options::read("jetstream", &format!("h?{query}")).unwrap())
        };
        let own = read("").unwrap();
        assert_eq!((own.stream.as_str(), own.prefix.as_str()), ("micro", "micro."));
        let other = read("stream=ORDERS&max_age=2h&max_bytes=1000&replicas=3").unwrap();
        assert_eq!((other.stream.as_str(), other.prefix.as_str()), ("ORDERS", ""));
        assert_eq!(
            (other.max_age, other.max_bytes, other.replicas),
            (Duration::from_secs(7200), Some(1000), 3)
        );
        assert_eq!(read("prefix=shop.").unwrap().prefix, "shop.");
        for (query, hint) in [
            ("stream=a.b", "use letters"),
            ("prefix=shop", "up to a dot"),
            ("prefix=*.", "up to a dot"),
            ("replicas=7", "1 to 5"),
            ("max_age=soon", "max_age=soon"),
            ("max_size=1", "known: stream"),
        ] {
            let error = read(query).unwrap_err();
            assert!(error.detail().contains(hint), "{query}: {error}");
        }
    }
}
