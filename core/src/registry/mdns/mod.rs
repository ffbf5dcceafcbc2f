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
//! | `shared`, `tasks` | what is shared by the tasks, and these |
//! | `chosen`, `link`, `socket`, `limiter` | interfaces and their sockets; floods |
//!
//! Two kinds of tasks live as long as the [`Mdns`] object: one reader for each socket, and one
//! caretaker that announces, asks and expires when something is due, and follows the interfaces.

mod chosen;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod gather;
mod heard;
mod known;
mod limiter;
mod link;
mod names;
mod options;
mod packet;
mod shared;
#[cfg(test)]
mod simulation;
mod socket;
mod table;
mod tasks;
#[cfg(test)]
mod tests;
mod txt;
#[cfg(test)]
mod vectors;
mod writer;
mod zone;

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::names::Names;
pub use self::options::Options;
use self::packet::{Question, kind};
use self::shared::{Shared, State};
use self::socket::{From, Links};
use self::table::{Subject, Table, WATCH_LIMIT};
use self::tasks::Arrival;
use self::zone::{Prepared, Zone};
use super::{Node, Registry, Service, Watcher, Witness, Witnesses};
use crate::error::{Error, Result};
use crate::fork::Uninherited;

/// How long a probe waits for its own packet.
const PROBE_TIMEOUT: Duration = Duration::from_millis(50);

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

    /// The same with more patience, for a caller that must not be wrong on a busy machine.
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
        let _gathering = self.shared.gather(Subject::Service(name.to_owned()), question).await?;
        let found = self.shared.with(|state| state.table.found(name));
        if found.is_empty() { Err(Service::not_found(name)) } else { Ok(found) }
    }

    async fn list(&self) -> Result<Vec<Service>> {
        let question = Question::new(self.shared.names.list.clone(), kind::PTR);
        let _gathering = self.shared.gather(Subject::List, question).await?;
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
