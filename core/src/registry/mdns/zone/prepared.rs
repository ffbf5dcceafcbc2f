//! A registration on its way into the zone: checked, and encoded.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::super::names::Names;
use super::super::packet::PACKET_LIMIT;
use super::super::txt::{self, Payload};
use super::entry::{Entry, Told};
use crate::error::{Error, Result};
use crate::interface::{Reach, default_address};
use crate::registry::{Node, Service};

/// Seconds that records live, as in go-micro.
pub(in super::super) const TTL: u32 = 120;

/// A node checked and ready to be announced.
#[derive(Debug)]
pub(in super::super) struct Prepared {
    pub(super) entry: Entry,
    pub(super) service: Service,
}

impl Prepared {
    /// Checks that `node` of `service` can be announced at all, and encodes it.
    pub(in super::super) fn new(
        names: &Names,
        host: &str,
        service: &Service,
        node: &Node,
        ttl: Option<Duration>,
    ) -> Result<Self> {
        let instance = names.instance(&service.name, &node.id)?;
        let refused = |reason: &str| {
            Error::invalid_argument(format!(
                "node {}: address {:?} {reason}; mDNS needs an IP address and a port, for example \
                 10.0.0.1:8080: advertise one",
                node.id, node.address
            ))
        };
        let address: SocketAddr =
            node.address.parse().map_err(|_| refused("is not a literal IP address with a port"))?;
        if address.port() == 0 {
            return Err(refused("has port 0"));
        }
        if matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0) {
            return Err(refused("has a zone, which DNS cannot carry"));
        }
        let (told, ip) = match address.ip() {
            // An address of this machine is told by every interface, and one here.
            any if any.is_unspecified() => {
                let v6 = any.is_ipv6();
                (Told::Any { v6 }, default_address(v6))
            }
            ip => (Told::One(ip.to_canonical()), ip.to_canonical()),
        };
        let payload = Payload {
            service: service.name.clone(),
            version: service.version.clone(),
            endpoints: service.endpoints.clone(),
            metadata: node.metadata.clone(),
            id: names.shortened(&instance, &service.name, &node.id).then(|| node.id.clone()),
        };
        let entry = Entry {
            service: names.service(&service.name),
            instance,
            port: address.port(),
            address: told,
            ttl: seconds(ttl),
            text: txt::strings(&payload.encode()?),
        };
        let widest = Reach { v4: Some(Ipv4Addr::BROADCAST), v6: Some(Ipv6Addr::LOCALHOST) };
        let announcement = entry.announcement(host, entry.ttl, &entry.address.on(&widest));
        // An answer also has the question, and each record may name its owner in full.
        let longest = announcement.len() + entry.service.len() + 64;
        if longest > PACKET_LIMIT {
            return Err(Error::invalid_argument(format!(
                "service {} needs a packet of {longest} bytes, over the {PACKET_LIMIT} of mDNS: \
                 shorten metadata or endpoints",
                service.name
            )));
        }
        let service = Service {
            name: payload.service,
            version: payload.version,
            metadata: Default::default(),
            endpoints: payload.endpoints,
            nodes: vec![Node {
                id: node.id.clone(),
                address: SocketAddr::new(ip, address.port()).to_string(),
                metadata: payload.metadata,
            }],
        };
        Ok(Self { entry, service })
    }
}

/// Seconds that records of a node live: whole ones, at least 1 so as not to say goodbye.
pub(super) fn seconds(ttl: Option<Duration>) -> u32 {
    let whole = |ttl: Duration| u32::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(TTL);
    ttl.map_or(TTL, whole).clamp(1, TTL)
}
