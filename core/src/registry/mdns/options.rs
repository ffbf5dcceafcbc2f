//! What can be chosen about the mDNS registry, and how a URL says it.

use std::time::Duration;

use url::Url;

use crate::error::{Error, Result};
use crate::settings::duration;

/// Choices of an [`Mdns`](super::Mdns) registry. The defaults are go-micro's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Domain that separates fleets on one network; both sides must agree. Default `micro`.
    pub domain: String,
    /// Longest wait of a lookup for nodes that are known. The first lookup of what nothing was heard
    /// of waits ten times as long, at most 1 s, unless this is longer. Default 100 ms, from 1 ms to
    /// 60 s.
    pub timeout: Duration,
    /// Interfaces to use, by name (`eth0`) or by one of their addresses (`127.0.0.1`), which also
    /// chooses the address family. Default: all that are up, loopback included.
    pub interfaces: Vec<String>,
    /// UDP port. Default 5353, where every other mDNS speaker listens.
    pub port: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            domain: "micro".into(),
            timeout: Duration::from_millis(100),
            interfaces: Vec::new(),
            port: 5353,
        }
    }
}

impl Options {
    /// Reads `mdns://[interface,...][?domain=micro&timeout=100ms&port=5353]`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for another scheme, an unknown key or a value that does not parse.
    ///
    /// ```
    /// let url = "mdns://lo,eth0?domain=staging&timeout=250ms".parse().unwrap();
    /// let options = micro::registry::mdns::Options::from_url(&url).unwrap();
    /// assert_eq!(options.interfaces, ["lo", "eth0"]);
    /// assert_eq!(options.domain, "staging");
    /// ```
    pub fn from_url(url: &Url) -> Result<Self> {
        if url.scheme() != "mdns" {
            return Err(Error::invalid_argument(format!("{url}: expected mdns://")));
        }
        let mut options = Self::default();
        if let Some(host) = url.host_str() {
            let names = host.trim_matches(['[', ']']).split(',');
            options.interfaces = names.filter(|name| !name.is_empty()).map(Into::into).collect();
        }
        if let Some(port) = url.port() {
            options.port = port;
        }
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "domain" => options.domain = value.into_owned(),
                "timeout" => {
                    options.timeout = duration(&value).map_err(|error| {
                        Error::invalid_argument(format!("{url}: timeout: {}", error.detail()))
                    })?;
                }
                "port" => {
                    options.port = value.parse().map_err(|_| {
                        Error::invalid_argument(format!("{url}: port must be 1 to 65535"))
                    })?;
                }
                _ => {
                    return Err(Error::invalid_argument(format!(
                        "{url}: unknown key {key}; known are domain, timeout and port"
                    )));
                }
            }
        }
        options.checked()
    }

    /// These options, or what is wrong with them.
    pub(super) fn checked(self) -> Result<Self> {
        if self.port == 0 {
            return Err(Error::invalid_argument("mdns: port must be 1 to 65535"));
        }
        if self.timeout < Duration::from_millis(1) || self.timeout > Duration::from_secs(60) {
            return Err(Error::invalid_argument("mdns: timeout must be 1ms to 60s"));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn read(url: &str) -> Result<Options> {
        Options::from_url(&url.parse().expect("a URL"))
    }

    #[test]
    fn url_without_anything_means_the_defaults_of_go_micro() {
        assert_eq!(read("mdns://").expect("options"), Options::default());
    }

    #[test]
    fn url_carries_every_option() {
        let options = read("mdns://lo,10.0.0.1?domain=a.b&timeout=2s&port=15353").expect("options");
        assert_eq!(options.interfaces, ["lo", "10.0.0.1"]);
        assert_eq!((options.domain.as_str(), options.port), ("a.b", 15353));
        assert_eq!(options.timeout, Duration::from_secs(2));
        assert_eq!(read("mdns://[::1]:15353").expect("options").interfaces, ["::1"]);
        assert_eq!(read("mdns://lo:15353").expect("options").port, 15353);
    }

    #[test]
    fn url_with_a_mistake_is_refused() {
        let mistakes = ["dns://", "mdns://?timeot=1s", "mdns://?timeout=1", "mdns://?timeout=0ms"];
        for url in mistakes.into_iter().chain(["mdns://?port=0", "mdns://?port=x"]) {
            let error = read(url).expect_err("a mistake");
            assert_eq!(error.code(), Code::InvalidArgument, "{url}");
        }
    }
}
