//! mDNS: services of this network segment find each other with nothing installed.
//!
//! This is go-micro v2's default registry, and both sides see each other: records, domain and
//! packets are go-micro's (`registry/mdns_registry.go`, `util/mdns`). What go-micro leaves open is
//! closed here: crashed nodes are noticed, changed ones are told, lookups return when the answers
//! are in, late answers count, and a lookup and a watch never disagree.
//!
//! | room | what |
//! |---|---|
//! | [`Options`] | what can be chosen |
//! | `names`, `txt`, `packet`, `writer` | the wire: DNS names, the TXT payload, reading, writing |
//! | `zone` | what this process answers for |
//! | `known`, `table`, `gather` | what is known of others; watches, expiry; lookups |
//! | `socket`, `limiter` | sockets and interfaces; floods |
//!
//! Two kinds of tasks live as long as the [`Mdns`] object: one reader for each socket, and one
//! caretaker that announces, asks and expires when something is due, and follows the interfaces.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod gather;
mod known;
mod limiter;
mod names;
mod options;
mod packet;
#[cfg(test)]
mod simulation;
mod socket;
mod table;
#[cfg(test)]
mod tests;
mod txt;
#[cfg(test)]
mod vectors;
mod writer;
mod zone;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use self::limiter::{Cost, Limiter};
use self::names::Names;
pub use self::options::Options;
use self::packet::{PACKET_LIMIT, Packet, Question, Record, kind};
use self::socket::{From, Link, Links, News};
use self::table::{Asks, Heard, Reading, Subject, Table, WATCH_LIMIT, Wanted};
use self::txt::{INFLATED_LIMIT, Payload};
use self::zone::{Announcement, Prepared, Zone};
use super::{Node, Registry, Service, Watcher, Witness, Witnesses};
use crate::error::{Error, Result};
use crate::fork::Uninherited;

/// How often the interfaces are looked at.
const RESCAN_EVERY: Duration = Duration::from_secs(1);
/// How long a probe waits for its own packet.
const PROBE_TIMEOUT: Duration = Duration::from_millis(50);
/// Shortest time between two rounds of the caretaker, so that no flood of news keeps it running.
const CARE_PAUSE: Duration = Duration::from_millis(5);
/// A round of the caretaker is followed by so many times the time it took, however many nodes
/// there are.
const CARE_PART: u32 = 10;
/// Longest time between two rounds that something is due in.
const CARE_PAUSE_LIMIT: Duration = Duration::from_millis(500);
/// Answers sent before others get a turn.
const ANSWERS_AT_ONCE: usize = 32;
/// Pause of a reader after an error of its socket.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// The mDNS registry. Dropping it says goodbye for its nodes and ends its watches.
///
/// A node is remembered until it says goodbye, or its records expire (120 s for go-micro's nodes)
/// and no [`Witness`] vouches for it. Watched nodes are asked before their records expire.
/// [`Registry::suspect`] asks at once, and a node that stays silent then is dropped.
#[derive(Debug)]
pub struct Mdns {
    shared: Arc<Shared>,
    /// Readers and caretaker; aborted on drop.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    wait: Duration,
    names: Arc<Names>,
    host: String,
    links: Links,
    /// Never held across an await.
    state: Mutex<State>,
    /// Never held across an await, nor together with the state.
    limiter: Mutex<Limiter>,
    witnesses: Witnesses,
    /// Wakes the caretaker.
    care: Notify,
}

#[derive(Debug)]
struct State {
    zone: Zone,
    table: Table,
}

/// The task that reads from a link, as long as this lives.
#[derive(Debug)]
struct Reader {
    link: Arc<Link>,
    _task: AbortOnDropHandle<()>,
}

/// Where a packet came in.
#[derive(Debug)]
enum Arrival {
    /// On the port of the group.
    Link(Arc<Link>),
    /// On the port that questions leave from; `true` for IPv6.
    Answers(bool),
}

impl Arrival {
    fn link(&self) -> Option<&Link> {
        match self {
            Self::Link(link) => Some(link),
            Self::Answers(_) => None,
        }
    }

    /// How the table knows it; `None` for a packet that another link hears too.
    fn socket(&self, sender: SocketAddr) -> Option<table::Socket> {
        let scope = match sender {
            SocketAddr::V6(v6) => v6.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        match self {
            Self::Link(link) => {
                let socket = table::Socket::Link(link.interface.index, link.v6);
                link.is_arrival(sender).then_some(socket)
            }
            Self::Answers(_) if scope != 0 => Some(table::Socket::AnswersIn(scope)),
            Self::Answers(v6) => Some(table::Socket::Answers(*v6)),
        }
    }
}

impl Mdns {
    /// Binds the sockets and starts to listen.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` outside a tokio runtime, `INVALID_ARGUMENT` for options that cannot
    /// be, `UNAVAILABLE` when neither IPv4 nor IPv6 multicast can be set up.
    pub fn new(options: Options) -> Result<Self> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::failed_precondition(
                "mdns needs a tokio runtime: create it inside one",
            ));
        }
        let options = options.checked()?;
        let names = Arc::new(Names::new(&options.domain)?);
        let links = Links::open(&options, options.port)?;
        let host = names::host();
        let mut table = Table::new(names.clone());
        table.ipv6_alone = links.is_ipv6_alone();
        let state = State { zone: Zone::new(names.clone(), host.clone()), table };
        let shared = Arc::new(Shared {
            wait: options.timeout,
            names,
            host,
            links,
            state: Mutex::new(state),
            limiter: Mutex::default(),
            witnesses: Witnesses::default(),
            care: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        for (v6, reader) in shared.links.asking()? {
            let reader = Uninherited::new(UdpSocket::from_std(reader)?);
            tasks.spawn(shared.clone().read(reader, Arrival::Answers(v6)));
        }
        let links = shared.links.all().into_iter();
        let readers = links.map(|link| shared.listen(link)).collect::<std::io::Result<Vec<_>>>()?;
        tasks.spawn(shared.clone().take_care(readers));
        Ok(Self { shared, _tasks: tasks })
    }

    /// Opens what a URL such as `mdns://lo?domain=micro` describes; see [`Options::from_url`].
    ///
    /// # Errors
    /// Those of [`Options::from_url`] and [`Mdns::new`].
    pub fn from_url(url: &url::Url) -> Result<Self> {
        Self::new(Options::from_url(url)?)
    }

    /// Finds out, within about 50 ms, whether multicast works here: binds, joins, sends a packet
    /// to itself and receives it. Containers and clouds often say no.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for options that cannot be, `UNAVAILABLE` with the reason otherwise.
    pub async fn probe(options: &Options) -> Result<()> {
        Self::probe_within(options, PROBE_TIMEOUT).await
    }

    /// The same with more patience, for those who must not be wrong on a busy machine.
    pub(super) async fn probe_within(options: &Options, patience: Duration) -> Result<()> {
        let options = options.clone().checked()?;
        drop(Links::open(&options, options.port)?);
        // On a port of its own, so that no other program hears what is not a DNS packet.
        let links = Links::open(&options, 0)?;
        let token: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
        let mut heard = JoinSet::new();
        for link in links.all() {
            let reader = Uninherited::new(UdpSocket::from_std(link.reader()?)?);
            heard.spawn(async move {
                let mut buffer = [0; 32];
                while !matches!(reader.recv(&mut buffer).await, Ok(16) if buffer[..16] == token) {
                    tokio::task::yield_now().await;
                }
            });
        }
        if links.ask(From::Asking, &token) == 0 {
            return Err(Error::unavailable("multicast does not work here: no packet can be sent"));
        }
        match timeout(patience, heard.join_next()).await {
            Ok(Some(Ok(()))) => Ok(()),
            _ => Err(Error::unavailable(
                "multicast does not work here: packets are sent but do not come back; a firewall \
                 or the network of a container may drop them",
            )),
        }
    }
}

#[async_trait]
impl Registry for Mdns {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()> {
        service.validate()?;
        let shared = &self.shared;
        let ttl = ttl.filter(|ttl| !ttl.is_zero());
        let prepare = |node| Prepared::new(&shared.names, &shared.host, service, node, ttl);
        let prepared = service.nodes.iter().map(prepare).collect::<Result<Vec<_>>>()?;
        let now = Instant::now();
        let announcements = shared.with(|state| {
            state.zone.make_room(&prepared)?;
            let registered = prepared.into_iter().map(|node| {
                let registered = state.zone.register(node, ttl, now);
                state.table.add_own(&registered.instance, registered.service, now);
                registered.announcement
            });
            Ok::<_, Error>(registered.collect::<Vec<_>>())
        })?;
        announcements.iter().for_each(|announcement| shared.announce(announcement));
        shared.care.notify_one();
        Ok(())
    }

    async fn deregister(&self, service: &Service) -> Result<()> {
        let instance = |node: &Node| self.shared.names.instance(&service.name, &node.id).ok();
        self.shared.retire(service.nodes.iter().filter_map(instance));
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Vec<Service>> {
        if !names::askable(&self.shared.names, name) {
            return Err(Service::not_found(name));
        }
        let question = Question::new(self.shared.names.service(name), kind::PTR);
        let _gathering = self.gather(Subject::Service(name.to_owned()), question).await?;
        let found = self.shared.with(|state| state.table.found(name));
        if found.is_empty() { Err(Service::not_found(name)) } else { Ok(found) }
    }

    async fn list(&self) -> Result<Vec<Service>> {
        let question = Question::new(self.shared.names.list.clone(), kind::PTR);
        let _gathering = self.gather(Subject::List, question).await?;
        let now = Instant::now();
        Ok(self.shared.with(|state| state.table.list(state.zone.services(), now)))
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        let (sender, watcher) = Watcher::channel(service);
        if self.shared.with(|state| state.table.watch(sender)) {
            Ok(watcher)
        } else {
            Err(Error::resource_exhausted(format!("more than {WATCH_LIMIT} mDNS watches")))
        }
    }

    fn name(&self) -> &'static str {
        "mdns"
    }

    fn tells_each_interface(&self) -> bool {
        true
    }

    fn suspect(&self, service: &str, node: &Node) {
        let now = Instant::now();
        let question = self.shared.with(|state| state.table.suspect(service, &node.id, now));
        if let Some(question) = question {
            self.shared.ask(From::Asking, &question);
        }
    }

    fn witness(&self, witness: Weak<dyn Witness>) {
        self.shared.witnesses.add(witness);
    }
}

impl Drop for Mdns {
    fn drop(&mut self) {
        let goodbyes: Vec<_> = self.shared.with(|state| {
            state.table.close();
            state.zone.goodbyes().collect()
        });
        goodbyes.iter().for_each(|goodbye| self.shared.announce(goodbye));
    }
}

impl Shared {
    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        if state.table.take_hurry() {
            self.care.notify_one();
        }
        result
    }

    /// Sends an announcement or a goodbye to the group, by each interface with its own address.
    fn announce(&self, announcement: &Announcement) {
        self.links.announce(|reach| announcement.packet(reach));
    }

    /// Stops answering for nodes of ours, and says so.
    fn retire(&self, instances: impl Iterator<Item = String>) {
        let now = Instant::now();
        for instance in instances {
            let goodbye = self.with(|state| {
                let goodbye = state.zone.remove(&instance)?;
                state.table.remove_own(&instance, now);
                Some(goodbye)
            });
            if let Some(goodbye) = goodbye {
                self.announce(&goodbye);
            }
        }
    }

    /// Reads from a link until it is dropped.
    fn listen(self: &Arc<Self>, link: Arc<Link>) -> std::io::Result<Reader> {
        let reader = Uninherited::new(UdpSocket::from_std(link.reader()?)?);
        let task = tokio::spawn(self.clone().read(reader, Arrival::Link(link.clone())));
        Ok(Reader { link, _task: AbortOnDropHandle::new(task) })
    }

    async fn read(self: Arc<Self>, reader: Uninherited<UdpSocket>, arrival: Arrival) {
        let mut buffer = vec![0; PACKET_LIMIT + 1];
        loop {
            match reader.recv_from(&mut buffer).await {
                Ok((length, sender)) => self.take(&buffer[..length], sender, &arrival).await,
                Err(error) => {
                    tracing::debug!(%error, "mDNS socket");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    /// Answers or learns from one packet.
    async fn take(&self, bytes: &[u8], sender: SocketAddr, arrival: &Arrival) {
        let (now, from) = (Instant::now(), sender.ip());
        let Some(socket) = arrival.socket(sender) else { return };
        let admits = || self.limited(|limiter| limiter.admits(from, bytes.len(), now));
        if !self.links.is_near(sender, arrival.link()) || !admits() {
            return;
        }
        match (Packet::decode(bytes), arrival.link()) {
            (Some(Packet::Query { id, questions }), Some(link)) => {
                self.answer(id, &questions, sender, link).await;
            }
            (Some(Packet::Response(records)), _) => {
                self.learn(&records, &Heard { socket, from, at: now });
            }
            _ => {}
        }
    }

    async fn answer(&self, id: u16, questions: &[Question], sender: SocketAddr, link: &Link) {
        let (from, now) = (sender.ip(), Instant::now());
        if self.limited(|limiter| limiter.left(Cost::Answers, from, now)) == 0 {
            return self.limited(|limiter| limiter.leave_out(from, now));
        }
        let reach = link.interface.reach();
        let answers = self.with(|state| state.zone.answer(id, questions, &reach));
        let bytes = answers.iter().map(Vec::len).sum();
        self.limited(|limiter| limiter.spend(Cost::Answers, from, bytes, now));
        for (number, answer) in answers.iter().enumerate() {
            // A burst that is longer than the buffer of its reader would be cut.
            if number % ANSWERS_AT_ONCE == ANSWERS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            link.reply(answer, sender);
        }
    }

    /// Takes in a response. What has to be inflated holds up no other task meanwhile.
    fn learn(&self, records: &[Record], heard: &Heard) {
        for (seen, wanted) in self.with(|state| state.table.observe(records, heard)) {
            let cost = if wanted == Wanted::ByName { Cost::Asked } else { Cost::Unasked };
            let left = self.limited(|limiter| limiter.left(cost, heard.from, heard.at));
            let reading = match self.inflate(seen.text(), heard.from, cost) {
                Some(payload) => Reading::Done(payload),
                None if left < INFLATED_LIMIT => Reading::Later,
                None => Reading::Garbage,
            };
            self.with(|state| state.table.learn(&seen, reading, heard));
        }
    }

    /// Reads a text as far as its sender may cost.
    fn inflate(&self, text: &[u8], from: IpAddr, cost: Cost) -> Option<Payload> {
        let now = Instant::now();
        let left = self.limited(|limiter| limiter.left(cost, from, now)).min(INFLATED_LIMIT);
        let mut budget = left;
        let payload = Payload::decode(text, &mut budget);
        self.limited(|limiter| {
            limiter.spend(cost, from, left - budget, now);
            if payload.is_none() && left < INFLATED_LIMIT {
                limiter.leave_out(from, now);
            }
        });
        payload
    }

    fn limited<R>(&self, act: impl FnOnce(&mut Limiter) -> R) -> R {
        act(&mut self.limiter.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has witnesses speak for nodes that nothing was heard of, before these are dropped. Where the
    /// interface is gone by which a node was heard, silence says nothing of the node.
    fn vouch(&self, now: Instant) {
        let mut dying = self.with(|state| state.table.dying(now));
        if dying.is_empty() {
            return;
        }
        let links = self.links.all();
        let is_open =
            |index, v6| links.iter().any(|link| link.interface.index == index && link.v6 == v6);
        let deaf =
            |socket| matches!(socket, Some(table::Socket::Link(index, v6)) if !is_open(index, v6));
        dying.retain(|node| deaf(node.socket) || self.witnesses.vouch(&node.address.to_string()));
        let living: Vec<String> = dying.into_iter().map(|node| node.instance).collect();
        if !living.is_empty() {
            self.with(|state| state.table.vouch(&living, now));
        }
    }

    /// Tells the networks that are new, and those where this machine has another address; asks there
    /// for what lookups and watches want.
    fn follow(&self, news: &[News]) {
        let now = Instant::now();
        for News { link, before } in news {
            let reach = link.interface.reach();
            for packet in self.with(|state| state.zone.moved(*before, reach)) {
                self.links.announce_at(link, &packet);
            }
        }
        let ipv6_alone = self.links.is_ipv6_alone();
        let questions = self.with(|state| {
            state.table.ipv6_alone = ipv6_alone;
            state.zone.repeat(now);
            for (instance, address) in state.zone.anywhere() {
                state.table.move_own(&instance, &address, now);
            }
            state.table.questions()
        });
        for question in &questions {
            self.ask(From::Asking, question);
        }
    }

    /// Announces, asks and expires when that is due, and follows the interfaces.
    async fn take_care(self: Arc<Self>, mut readers: Vec<Reader>) {
        let mut rescan = Instant::now() + RESCAN_EVERY;
        loop {
            let now = Instant::now();
            if now >= rescan {
                rescan = now + RESCAN_EVERY;
                let news = self.links.rescan();
                let links = self.links.all();
                readers.retain(|reader| links.iter().any(|link| Arc::ptr_eq(link, &reader.link)));
                for News { link, .. } in &news {
                    match self.listen(link.clone()) {
                        Ok(reader) => readers.push(reader),
                        Err(error) => tracing::warn!(%error, "mDNS cannot hear an interface"),
                    }
                }
                if !news.is_empty() {
                    self.follow(&news);
                }
            }
            self.vouch(now);
            let (own, (questions, next)) =
                self.with(|state| (state.zone.due(now), state.table.due(now)));
            own.announcements.iter().for_each(|announcement| self.announce(announcement));
            self.retire(own.expired.into_iter());
            for Asks { question, again } in &questions {
                self.ask(From::Asking, question);
                if *again {
                    // A firewall may let answers in to the group's port only.
                    self.ask(From::Group, question);
                }
            }
            let pause = (now.elapsed() * CARE_PART).clamp(CARE_PAUSE, CARE_PAUSE_LIMIT);
            let wake = [own.next, next].into_iter().flatten().fold(rescan, Instant::min);
            tokio::select! {
                () = sleep_until(wake) => {}
                () = self.care.notified() => {}
            }
            sleep_until(now + pause).await;
        }
    }
}
