//! What a URL says.

use std::time::Duration;

use micro::Result;
use micro::settings::duration;

use crate::address::{Address, prefix};

const KNOWN: [&str; 3] = ["prefix", "max_age", "max_len"];

/// Where the server is, and how messages are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) address: Address,
    /// Before every key.
    pub(crate) prefix: String,
    /// How long what all queues have handled is kept.
    pub(crate) max_age: Duration,
    /// How many messages of a topic are kept that all queues have handled.
    pub(crate) max_len: Option<u64>,
}

impl Options {
    /// Reads what follows `scheme://`.
    pub(crate) fn read(scheme: &'static str, rest: &str) -> Result<Self> {
        let mut before = String::new();
        let (mut max_age, mut max_len) = (Duration::from_secs(7 * 24 * 60 * 60), None);
        let address = Address::read(scheme, rest, &KNOWN, |name, value| {
            match name {
                "prefix" => before = prefix(value)?,
                "max_age" => {
                    max_age = duration(value)
                        .map_err(|error| format!("max_age={value}: {}", error.detail()))?;
                }
                _ => {
                    let number = value.parse().ok().filter(|number| *number > 0);
                    max_len = Some(
                        number
                            .ok_or_else(|| format!("max_len={value}: use a number of messages"))?,
                    );
                }
            }
            Ok(())
        })?;
        Ok(Self { address, prefix: before, max_age, max_len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let read = |rest| Options::read("redis", rest).unwrap();
        assert_eq!(read("").address.shown(), "redis://127.0.0.1:6379");
        let options = read("me:hunter2@h:1/3?prefix=shop%3A&max_age=2h&max_len=1000");
        assert_eq!(options.address.shown(), "redis://h:1/3");
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
