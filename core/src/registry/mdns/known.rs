//! One node of others: what its packets said, and how long to believe that.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::heard::Socket;
use super::names::Names;
use super::packet::{Data, Record};
use super::txt::Payload;
use crate::registry::{Node, Service};

/// Parts of the time to live after which watched nodes are asked whether they still live. Go nodes
/// announce themselves only once.
const ASK_AFTER: [f64; 3] = [0.8, 0.9, 0.95];
/// Longest time to live believed. Nodes say 120 s; a node that says more is asked again before then.
const TTL_LIMIT: Duration = Duration::from_secs(600);
/// What a witness says is asked again after this.
const VOUCHED_FOR: Duration = Duration::from_secs(1);
/// A node heard of for so long is kept before others.
const ESTABLISHED_AFTER: Duration = Duration::from_secs(20);
/// A suspected node is asked at once and again after this.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// A suspected node that did not answer by now is dead.
const DEAD_AFTER: Duration = Duration::from_millis(300);
/// One node is not suspected again sooner than this.
const SUSPECT_EVERY: Duration = Duration::from_secs(1);
/// A node that tells another address on each interface is heard with all of them. What is said by
/// every interface at one time arrives within less than this.
const ROUND: Duration = Duration::from_millis(900);
/// Rounds without the address that was chosen, after which another one takes over. The first proves
/// nothing: within a round the order is chance.
const MISSED: u8 = 2;

/// The records of one instance in one packet.
#[derive(Debug)]
pub(super) struct Sighting<'a> {
    pub(super) instance: &'a str,
    port: u16,
    address: Option<IpAddr>,
    /// An IPv6 address beside one of IPv4.
    second: Option<IpAddr>,
    text: Option<&'a [u8]>,
    /// 0 for a goodbye.
    ttl: u32,
    /// Where the packet arrived.
    socket: Option<Socket>,
}

/// A node in the table.
#[derive(Debug)]
pub(super) struct Known {
    /// The version with this one node; `None` as long as no lookup or watch could want it, and
    /// the text of its TXT record is not read.
    pub(super) service: Option<Arc<Service>>,
    /// Roughly the memory it takes.
    pub(super) weight: usize,
    /// Announced by this very object: always alive, and packets have nothing to add.
    pub(super) own: bool,
    /// True when its service was asked for or is watched by name.
    pub(super) wanted: bool,
    /// The sender that told of it last.
    pub(super) from: IpAddr,
    pub(super) heard: Instant,
    /// When it was first heard of.
    since: Instant,
    /// Text of its TXT record, to tell repetition from news without inflating it.
    pub(super) text: Arc<[u8]>,
    pub(super) address: SocketAddr,
    /// Where its address was told last.
    pub(super) socket: Option<Socket>,
    /// Other addresses that were told since.
    rival: Option<Rival>,
    ttl: Duration,
    /// Until then a witness spoke for it.
    vouched: Option<Instant>,
    /// Questions sent since it was heard because its time runs out.
    asked: usize,
    suspicion: Option<Suspicion>,
}

/// An address told since the chosen one was.
#[derive(Debug, Clone, Copy)]
struct Rival {
    /// When the last round began in which it was heard.
    heard: Instant,
    /// Rounds after the first.
    missed: u8,
}

#[derive(Debug, Clone, Copy)]
struct Suspicion {
    since: Instant,
    /// Asked twice already.
    repeated: bool,
    /// False once the node answered.
    open: bool,
}

impl<'a> Sighting<'a> {
    /// Joins the records of the instance that `server` names. An IPv4 address comes before IPv6.
    pub(super) fn gather(
        instance: &'a str,
        (port, target): (u16, &str),
        ttl: u32,
        records: &'a [Record],
    ) -> Self {
        let (address, second, text, socket) = Default::default();
        let mut seen = Self { instance, port, address, second, text, ttl, socket };
        for record in records {
            match &record.data {
                Data::Address(address) if record.name == target => {
                    let first = seen.address.filter(|known| known.is_ipv4() || address.is_ipv6());
                    seen.address = first.or(Some(*address));
                    seen.second = seen.second.or(Some(*address).filter(IpAddr::is_ipv6));
                }
                Data::Text(text) if record.name == instance => {
                    seen.text = Some(text);
                    seen.ttl = seen.ttl.min(record.ttl);
                }
                _ => {}
            }
        }
        seen
    }

    /// The same, with where the packet came in.
    pub(super) fn at(self, socket: Socket) -> Self {
        Self { socket: Some(socket), ..self }
    }

    /// The same for a machine that has IPv6 alone.
    pub(super) fn without_ipv4(self) -> Self {
        Self { address: self.second.or(self.address), ..self }
    }

    /// Where the node is to be called.
    fn place(&self) -> Option<SocketAddr> {
        Some(match self.address? {
            // Without its zone it cannot be connected to; it is on the link that its sender is on.
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                let scope = self.socket.map_or(0, Socket::scope);
                SocketAddrV6::new(v6, self.port, 0, scope).into()
            }
            ip => SocketAddr::new(ip, self.port),
        })
    }

    pub(super) fn is_goodbye(&self) -> bool {
        self.ttl == 0
    }

    /// True when a node that can be called is described whole.
    pub(super) fn is_complete(&self) -> bool {
        let usable = |address: IpAddr| !address.is_unspecified() && !address.is_multicast();
        self.port != 0 && self.address.is_some_and(usable) && self.text.is_some()
    }

    /// Text of the TXT record.
    pub(super) fn text(&self) -> &'a [u8] {
        self.text.unwrap_or_default()
    }

    /// The node as it was told, not read yet.
    pub(super) fn unread(&self, from: IpAddr, now: Instant) -> Option<Known> {
        let address = self.place()?;
        let text: Arc<[u8]> = self.text.filter(|_| self.is_complete())?.into();
        Some(Known {
            weight: size_of::<Known>() + self.instance.len() * 2 + text.len(),
            own: false,
            from,
            text,
            address,
            socket: self.socket,
            ttl: self.time_to_live(),
            ..Known::own(None, now)
        })
    }

    /// The node with what its text says.
    pub(super) fn read(
        &self,
        names: &Names,
        payload: Payload,
        from: IpAddr,
        now: Instant,
    ) -> Option<Known> {
        let mut known = self.unread(from, now)?;
        known.describe(names, self.instance, payload).then_some(known)
    }

    fn time_to_live(&self) -> Duration {
        Duration::from_secs(self.ttl.into()).min(TTL_LIMIT)
    }
}

impl Known {
    /// A node of this very object.
    pub(super) fn own(service: Option<Service>, now: Instant) -> Self {
        Self {
            service: service.map(Arc::new),
            weight: 0,
            own: true,
            wanted: false,
            from: Ipv4Addr::UNSPECIFIED.into(),
            heard: now,
            since: now,
            text: Arc::default(),
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            socket: None,
            rival: None,
            ttl: TTL_LIMIT,
            vouched: None,
            asked: 0,
            suspicion: None,
        }
    }

    /// Adds what its text says. False when that is not about this instance.
    pub(super) fn describe(&mut self, names: &Names, instance: &str, payload: Payload) -> bool {
        let Some(id) = names.full_id(instance, &payload.service, payload.id) else {
            return false;
        };
        let node = Node { id, address: self.address.to_string(), metadata: payload.metadata };
        let service = Service {
            name: payload.service,
            version: payload.version,
            endpoints: payload.endpoints,
            nodes: vec![node],
            ..Service::default()
        };
        self.weight += service.weight();
        self.service = Some(Arc::new(service));
        true
    }

    /// True for a node that its own host tells of.
    pub(super) fn is_plausible(&self) -> bool {
        let (from, address) = (self.from.to_canonical(), self.address.ip().to_canonical());
        from == address || from.is_loopback() && address.is_loopback()
    }

    /// True once it was heard of over some time, as a burst of forged ones was not.
    pub(super) fn is_established(&self) -> bool {
        self.heard - self.since >= ESTABLISHED_AFTER
    }

    /// Takes a sighting that says nothing new: the node lives. False when it says something new.
    pub(super) fn confirm(&mut self, seen: &Sighting<'_>, now: Instant) -> bool {
        if seen.text != Some(&self.text[..]) || !self.agrees(seen, now) {
            return false;
        }
        (self.heard, self.ttl, self.asked) = (now, seen.time_to_live(), 0);
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.open = false;
        }
        true
    }

    /// True when the address of a sighting is the one known, or one that the node tells on another
    /// interface while this one holds.
    fn agrees(&mut self, seen: &Sighting<'_>, now: Instant) -> bool {
        if seen.place() != Some(self.address) {
            return self.holds(seen.socket, now);
        }
        self.rival = None;
        if !seen.socket.is_some_and(Socket::is_answers) {
            self.socket = seen.socket;
        }
        true
    }

    /// True while the address is kept although another one was told at `socket`.
    fn holds(&mut self, socket: Option<Socket>, now: Instant) -> bool {
        let same_link = socket == self.socket && !socket.is_some_and(Socket::is_answers);
        if self.own || same_link || self.is_suspected() {
            return false;
        }
        let rival = self.rival.get_or_insert(Rival { heard: now, missed: 0 });
        if now - rival.heard >= ROUND {
            *rival = Rival { heard: now, missed: rival.missed.saturating_add(1) };
        }
        rival.missed < MISSED
    }

    /// Keeps an address that still holds on its own interface, while the node is described anew.
    pub(super) fn keep_address_of(&mut self, old: &mut Self, now: Instant) {
        if self.address != old.address && old.holds(self.socket, now) {
            (self.address, self.socket, self.rival) = (old.address, old.socket, old.rival);
            if let Some(service) = &mut self.service {
                let address = self.address.to_string();
                let nodes = &mut Arc::make_mut(service).nodes;
                nodes.iter_mut().for_each(|node| address.clone_into(&mut node.address));
            }
        }
    }

    /// True for a goodbye that withdraws an address which the node has on another interface.
    pub(super) fn is_elsewhere(&self, seen: &Sighting<'_>) -> bool {
        !self.own && seen.place().is_some_and(|place| place != self.address)
    }

    /// Begins to doubt it. False when it was doubted a moment ago.
    pub(super) fn suspect(&mut self, now: Instant) -> bool {
        let recently =
            self.suspicion.is_some_and(|suspicion| now - suspicion.since < SUSPECT_EVERY);
        if !recently {
            self.suspicion = Some(Suspicion { since: now, repeated: false, open: true });
        }
        !recently
    }

    /// True while it has to prove that it lives.
    pub(super) fn is_suspected(&self) -> bool {
        self.suspicion.is_some_and(|suspicion| suspicion.open)
    }

    /// True once when a suspected node should be asked again.
    pub(super) fn repeats(&mut self, now: Instant) -> bool {
        let Some(suspicion) = &mut self.suspicion else { return false };
        let repeat = suspicion.open && !suspicion.repeated && now >= suspicion.since + ASK_AGAIN;
        suspicion.repeated |= repeat;
        repeat
    }

    /// True once for each time that a watched node should be asked because its time runs out.
    pub(super) fn fades(&mut self, now: Instant) -> bool {
        let mut fades = false;
        while self.asks().is_some_and(|at| at <= now) {
            self.asked += 1;
            fades = true;
        }
        fades
    }

    /// True when it was asked more than once because its time runs out.
    pub(super) fn was_asked(&self) -> bool {
        self.asked > 1
    }

    /// When it counts as dead.
    pub(super) fn dies(&self) -> Instant {
        let end = self.heard + self.ttl;
        let suspected = self.suspicion.filter(|suspicion| suspicion.open);
        let end = suspected.map_or(end, |suspicion| end.min(suspicion.since + DEAD_AFTER));
        self.vouched.map_or(end, |vouched| end.max(vouched))
    }

    /// A witness says that it lives.
    pub(super) fn vouch(&mut self, now: Instant) {
        self.vouched = Some(now + VOUCHED_FOR);
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.open = false;
        }
    }

    /// Keeps when it was first heard of, while it says something new.
    pub(super) fn succeed(&mut self, old: &Self) {
        self.since = old.since;
    }

    /// When it needs attention next.
    pub(super) fn wakes(&self, watched: bool) -> Instant {
        let doubted = self.suspicion.filter(|suspicion| suspicion.open && !suspicion.repeated);
        let again = doubted.map(|suspicion| suspicion.since + ASK_AGAIN);
        let asks = self.asks().filter(|_| watched);
        [again, asks].into_iter().flatten().fold(self.dies(), Instant::min)
    }

    fn asks(&self) -> Option<Instant> {
        ASK_AFTER.get(self.asked).map(|part| self.heard + self.ttl.mul_f64(*part))
    }
}
