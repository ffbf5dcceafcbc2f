//! mDNS: services of this network segment find each other with nothing installed.
//!
//! This is go-micro v2's default registry, and both sides see each other: records, domain and
//! packets are go-micro's (`registry/mdns_registry.go`, `util/mdns`). What go-micro leaves open is
//! closed here: crashed nodes are noticed, changed ones are told, lookups return when the answers
//! are in, and a lookup and a watch never disagree.
//!
//! | room | what |
//! |---|---|
//! | [`Options`] | what can be chosen |
//! | `names`, `txt`, `packet`, `writer` | the wire: DNS names, the TXT payload, reading, writing |
//! | `zone` | what this process answers for |
//! | `known`, `table` | what is known of others; lookups, watches, expiry |
//! | `socket`, `limiter` | sockets and interfaces; floods |
//!
//! Three kinds of tasks live as long as the [`Mdns`] object: one reader for each socket, and one
//! caretaker that announces, asks and expires when something is due.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
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

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use self::limiter::Limiter;
use self::names::Names;
pub use self::options::Options;
use self::packet::{PACKET_LIMIT, Packet, Question, kind};
use self::socket::{From, Links};
use self::table::{LOOKUP_LIMIT, Lookup, Subject, Table, WATCH_LIMIT};
use self::zone::{Prepared, Zone};
use super::{Node, Registry, Service, Watcher};
use crate::error::{Error, Result};
use crate::fork::Uninherited;

/// A lookup with answers ends when no further one came for this long.
const QUIET: Duration = Duration::from_millis(30);
/// How often interfaces that came up are looked for.
const RESCAN_EVERY: Duration = Duration::from_secs(30);
/// How long a probe waits for its own packet.
const PROBE_TIMEOUT: Duration = Duration::from_millis(50);
/// Shortest time between two rounds of the caretaker, so that no flood of news keeps it running.
const CARE_PAUSE: Duration = Duration::from_millis(5);
/// Pause of a reader after an error of its socket.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// The mDNS registry. Dropping it says goodbye for its nodes and ends its watches.
///
/// A node is remembered until it says goodbye, its records expire (120 s for go-micro's nodes), or
/// it stays silent when asked. Watched nodes are asked before their records expire, and
/// [`Registry::suspect`] asks at once.
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
    /// Wakes the caretaker.
    care: Notify,
}

#[derive(Debug)]
struct State {
    zone: Zone,
    table: Table,
    limiter: Limiter,
}

/// A lookup under way; dropping it ends it.
#[derive(Debug)]
struct Gathering<'a> {
    shared: &'a Shared,
    lookup: Arc<Lookup>,
}

impl Mdns {
    /// Binds the sockets and starts to listen.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` outside a tokio runtime, `INVALID_ARGUMENT` for options that cannot
    /// be, `UNAVAILABLE` when neither IPv4 nor IPv6 multicast can be set up.
    pub fn new(options: Options) -> Result<Self> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| {
            Error::failed_precondition("mdns needs a tokio runtime: create it inside one")
        })?;
        let options = options.checked()?;
        let names = Arc::new(Names::new(&options.domain)?);
        let links = Links::open(&options, options.port)?;
        let readers = links.readers()?;
        let host = names::host();
        let state = State {
            zone: Zone::new(names.clone(), host.clone()),
            table: Table::new(names.clone()),
            limiter: Limiter::default(),
        };
        let shared = Arc::new(Shared {
            wait: options.timeout,
            names,
            host,
            links,
            state: Mutex::new(state),
            care: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        for (socket, reader) in readers {
            let reader = Uninherited::new(UdpSocket::from_std(reader)?);
            tasks.spawn_on(shared.clone().read(socket, reader), &runtime);
        }
        tasks.spawn_on(shared.clone().take_care(), &runtime);
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
        let options = options.clone().checked()?;
        drop(Links::open(&options, options.port)?);
        // On a port of its own, so that nobody else hears what is no DNS packet.
        let links = Links::open(&options, 0)?;
        let token: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
        let mut heard = JoinSet::new();
        for (socket, reader) in links.readers()? {
            if let table::Socket::Group(_) = socket {
                let reader = UdpSocket::from_std(reader)?;
                heard.spawn(async move {
                    let mut buffer = [0; 32];
                    while !matches!(reader.recv(&mut buffer).await, Ok(16) if buffer[..16] == token)
                    {
                        tokio::task::yield_now().await;
                    }
                });
            }
        }
        if links.multicast(From::Asking, &token) == 0 {
            return Err(Error::unavailable("multicast does not work here: no packet can be sent"));
        }
        match timeout(PROBE_TIMEOUT, heard.join_next()).await {
            Ok(Some(Ok(()))) => Ok(()),
            _ => Err(Error::unavailable(
                "multicast does not work here: packets are sent but do not come back; a firewall \
                 or the network of a container may drop them",
            )),
        }
    }

    /// Asks the group and waits until the answers are in.
    async fn gather(&self, subject: Subject, question: Question) -> Result<Gathering<'_>> {
        let shared = &*self.shared;
        let service = match &subject {
            Subject::Service(name) => Some(name.clone()),
            Subject::List => None,
        };
        let started = Instant::now();
        let lookup = shared.with(|state| state.table.begin(subject, started)).ok_or_else(|| {
            Error::resource_exhausted(format!("more than {LOOKUP_LIMIT} mDNS lookups wait already"))
        })?;
        let gathering = Gathering { shared, lookup };
        if shared.ask(&question) == 0 {
            return Err(Error::unavailable("mdns: no interface can send a packet now"));
        }
        let end = started + shared.wait;
        let mut again = Some(started + shared.wait / 2);
        let mut answered: Option<Instant> = None;
        loop {
            let missing = service
                .as_deref()
                .is_some_and(|service| shared.with(|state| state.table.misses(service, started)));
            let quiet = answered.filter(|_| !missing).map(|last| last + QUIET);
            let wake = [again, quiet].into_iter().flatten().fold(end, Instant::min);
            tokio::select! {
                () = gathering.lookup.heard.notified() => answered = Some(Instant::now()),
                () = sleep_until(wake) => {}
            }
            let now = Instant::now();
            if now >= end || quiet.is_some_and(|quiet| now >= quiet) {
                return Ok(gathering);
            }
            if again.is_some_and(|again| now >= again) {
                again = None;
                if missing || answered.is_none() {
                    shared.ask(&question);
                }
            }
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
        for announcement in announcements {
            shared.links.multicast(From::Group, &announcement);
        }
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
        let gathering = self.gather(Subject::Service(name.to_owned()), question).await?;
        let started = gathering.lookup.started;
        let found = self.shared.with(|state| state.table.found(name, started));
        if found.is_empty() { Err(Service::not_found(name)) } else { Ok(found) }
    }

    async fn list(&self) -> Result<Vec<Service>> {
        let question = Question::new(self.shared.names.list.clone(), kind::PTR);
        let gathering = self.gather(Subject::List, question).await?;
        let started = gathering.lookup.started;
        Ok(self.shared.with(|state| state.table.list(state.zone.services(), started)))
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

    fn suspect(&self, service: &str, node: &Node) {
        let now = Instant::now();
        let question = self.shared.with(|state| state.table.suspect(service, &node.id, now));
        if let Some(question) = question {
            self.shared.ask(&question);
        }
    }
}

impl Drop for Mdns {
    fn drop(&mut self) {
        let goodbyes: Vec<_> = self.shared.with(|state| {
            state.table.close();
            state.zone.goodbyes().collect()
        });
        for goodbye in goodbyes {
            self.shared.links.multicast(From::Group, &goodbye);
        }
    }
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        self.shared.with(|state| state.table.end(&self.lookup));
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

    /// Sends a question to the group. The number of packets that left.
    fn ask(&self, question: &Question) -> usize {
        self.links.multicast(From::Asking, &writer::query(question))
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
                self.links.multicast(From::Group, &goodbye);
            }
        }
    }

    async fn read(self: Arc<Self>, socket: table::Socket, reader: Uninherited<UdpSocket>) {
        let mut buffer = vec![0; PACKET_LIMIT + 1];
        loop {
            match reader.recv_from(&mut buffer).await {
                Ok((length, sender)) => self.take(&buffer[..length], sender, socket),
                Err(error) => {
                    tracing::debug!(%error, "mDNS socket");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    /// Answers or learns from one packet.
    fn take(&self, bytes: &[u8], sender: SocketAddr, socket: table::Socket) {
        let now = Instant::now();
        if !self.links.is_near(sender.ip())
            || !self.with(|state| state.limiter.admits(sender.ip(), now))
        {
            return;
        }
        match (Packet::decode(bytes), socket) {
            (Some(Packet::Query { id, questions }), table::Socket::Group(_)) => {
                for answer in self.with(|state| state.zone.answer(id, &questions)) {
                    self.links.reply(&answer, sender);
                }
            }
            (Some(Packet::Response(records)), _) => {
                self.with(|state| state.table.observe(&records, socket, now));
            }
            _ => {}
        }
    }

    /// Announces, asks and expires when that is due.
    async fn take_care(self: Arc<Self>) {
        let mut rescan = Instant::now() + RESCAN_EVERY;
        loop {
            let now = Instant::now();
            if now >= rescan {
                self.links.rescan();
                rescan = now + RESCAN_EVERY;
            }
            let (own, (questions, next)) =
                self.with(|state| (state.zone.due(now), state.table.due(now)));
            for announcement in &own.announcements {
                self.links.multicast(From::Group, announcement);
            }
            self.retire(own.expired.into_iter());
            for question in &questions {
                self.ask(question);
            }
            let wake = [own.next, next].into_iter().flatten().fold(rescan, Instant::min);
            tokio::select! {
                () = sleep_until(wake) => {}
                () = self.care.notified() => {}
            }
            sleep_until(now + CARE_PAUSE).await;
        }
    }
}
