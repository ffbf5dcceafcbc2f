//! The address a node is known by, when it listens on all of them (wire reference 3).

use std::net::{IpAddr, SocketAddr};

/// The address to register: `advertise` if given, else where the server listens. An unspecified
/// host becomes an address of this machine; a missing port becomes the bound one.
pub(super) fn advertised(advertise: Option<&str>, bound: SocketAddr) -> String {
    let Some(advertise) = advertise else {
        let ip = if bound.ip().is_unspecified() { local(bound.ip()) } else { bound.ip() };
        return SocketAddr::new(ip, bound.port()).to_string();
    };
    let (host, port) = split(advertise);
    let port = port.filter(|port| *port != 0).unwrap_or(bound.port());
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => SocketAddr::new(local(ip), port).to_string(),
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) if host.is_empty() => SocketAddr::new(local(bound.ip()), port).to_string(),
        Err(_) => format!("{host}:{port}"),
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

/// An address of this machine that stands for `unspecified`: one that is listened on, private before
/// public, loopback last.
fn local(unspecified: IpAddr) -> IpAddr {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    best(interfaces.into_iter().map(|interface| interface.ip()), unspecified.is_ipv6())
}

fn best(addresses: impl Iterator<Item = IpAddr>, any_family: bool) -> IpAddr {
    let rank = |ip: &IpAddr| {
        let kind = if ip.is_loopback() {
            3
        } else if is_link_local(ip) {
            2
        } else {
            u8::from(!is_private(ip))
        };
        // `::` listens on IPv4 too, and more peers reach that.
        (kind, ip.is_ipv6())
    };
    addresses
        // Nobody listens on IPv6 behind `0.0.0.0`.
        .filter(|ip| ip.is_ipv4() || (any_family && !is_link_local(ip)))
        .min_by_key(rank)
        .unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

fn is_private(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.octets()[0] == 0xfd,
    }
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(addresses: &[&str]) -> String {
        best(addresses.iter().map(|a| a.parse().expect("an address")), false).to_string()
    }

    #[test]
    fn private_comes_before_public_before_loopback() {
        assert_eq!(pick(&["127.0.0.1", "8.8.8.8", "10.1.2.3"]), "10.1.2.3");
        assert_eq!(pick(&["127.0.0.1", "8.8.8.8", "169.254.1.1"]), "8.8.8.8");
        assert_eq!(pick(&["::1", "127.0.0.1"]), "127.0.0.1");
        assert_eq!(pick(&["fe80::1", "127.0.0.1"]), "127.0.0.1");
        assert_eq!(pick(&["fd00::1", "100.64.0.9"]), "100.64.0.9");
        assert_eq!(pick(&[]), "127.0.0.1");
    }

    #[test]
    fn an_address_is_of_a_family_that_is_listened_on() {
        let addresses = ["::1", "127.0.0.1", "192.0.2.2", "fd00::2"];
        assert_eq!(pick(&addresses), "192.0.2.2");
        assert_eq!(pick(&["fd00::2", "127.0.0.1"]), "127.0.0.1");
        let parsed = addresses.map(|address| address.parse().expect("an address"));
        assert_eq!(best(parsed.into_iter(), true).to_string(), "fd00::2");
    }

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
            assert_eq!(advertised(advertise, bound), expected);
        }
    }
}
