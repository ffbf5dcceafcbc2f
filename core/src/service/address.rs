//! The address a node is known by, when it listens on all of them (wire reference 3).

use std::net::{IpAddr, SocketAddr};

use crate::interface;

/// What is registered: a fixed address, or any of this machine at a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Advertised {
    /// Told as it is.
    Fixed(String),
    /// `0.0.0.0` or `[::]` with the port: found out anew whenever it is told.
    Any(SocketAddr),
}

impl Advertised {
    /// The address to register: `advertise` if given, else where the server listens. A missing port
    /// becomes the bound one, a missing host the one listened on.
    pub(super) fn new(advertise: Option<&str>, bound: SocketAddr) -> Self {
        let of = |ip: IpAddr, port| {
            let address = SocketAddr::new(ip, port);
            if ip.is_unspecified() { Self::Any(address) } else { Self::Fixed(address.to_string()) }
        };
        let Some(advertise) = advertise else { return of(bound.ip(), bound.port()) };
        let (host, port) = split(advertise);
        let port = port.filter(|port| *port != 0).unwrap_or(bound.port());
        match host.parse::<IpAddr>() {
            Ok(ip) => of(ip, port),
            Err(_) if host.is_empty() => of(bound.ip(), port),
            Err(_) => Self::Fixed(format!("{host}:{port}")),
        }
    }

    /// For registries that tell each interface's own address: the unspecified one.
    pub(super) fn open(&self) -> String {
        match self {
            Self::Fixed(address) => address.clone(),
            Self::Any(address) => address.to_string(),
        }
    }

    /// For registries that hold one address, and for people: that of the default route, now.
    pub(super) fn resolved(&self) -> String {
        match self {
            Self::Fixed(address) => address.clone(),
            Self::Any(any) => {
                let ip = interface::default_address(any.is_ipv6());
                SocketAddr::new(ip, any.port()).to_string()
            }
        }
    }

    /// True when the address may be another one later.
    pub(super) fn may_move(&self) -> bool {
        matches!(self, Self::Any(_))
    }
}

fn split(address: &str) -> (&str, Option<u16>) {
    if let Some(rest) = address.strip_prefix('[')
        && let Some((host, tail)) = rest.split_once(']')
    {
        return (host, tail.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port.parse().ok()),
        _ => (address, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_address_is_kept_and_completed() {
        let bound = "127.0.0.1:4100".parse().expect("an address");
        for (advertise, expected) in [
            (None, "127.0.0.1:4100"),
            (Some("10.0.0.1:80"), "10.0.0.1:80"),
            (Some("10.0.0.1"), "10.0.0.1:4100"),
            (Some("greeter.example:80"), "greeter.example:80"),
            (Some("[fd00::1]:80"), "[fd00::1]:80"),
            (Some("fd00::1"), "[fd00::1]:4100"),
        ] {
            let advertised = Advertised::new(advertise, bound);
            assert_eq!(advertised, Advertised::Fixed(expected.to_owned()));
            assert_eq!(
                (advertised.open(), advertised.resolved()),
                (expected.into(), expected.into())
            );
        }
    }

    #[test]
    fn any_address_stays_open_until_it_is_told() {
        let both = "[::]:4100".parse().expect("an address");
        for (advertise, expected) in [
            (None, "[::]:4100"),
            (Some(":80"), "[::]:80"),
            (Some("0.0.0.0"), "0.0.0.0:4100"),
            (Some("[::]:0"), "[::]:4100"),
        ] {
            let advertised = Advertised::new(advertise, both);
            assert_eq!(advertised.open(), expected, "{advertise:?}");
            let resolved: SocketAddr = advertised.resolved().parse().expect("an address");
            assert!(!resolved.ip().is_unspecified() && resolved.port() != 0, "{resolved}");
        }
    }
}
