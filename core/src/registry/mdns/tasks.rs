//! The tasks of one [`Mdns`](super::Mdns): a reader for each socket, and the caretaker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::heard::{Heard, Socket};
use super::limiter::Cost;
use super::link::Link;
use super::packet::{PACKET_LIMIT, Packet, Question, Record};
use super::shared::Shared;
use super::socket::{From, News};
use super::table::{Asks, Reading, Wanted};
use super::txt::INFLATED_LIMIT;
use crate::fork::Uninherited;

/// How often the interfaces are looked at.
const RESCAN_EVERY: Duration = Duration::from_secs(1);
/// Shortest time between two rounds of the caretaker, so that no flood of news keeps it running.
pub(super) const CARE_PAUSE: Duration = Duration::from_millis(5);
/// A round of the caretaker is followed by so many times the time it took, however many nodes
/// there are.
const CARE_PART: u32 = 10;
/// Longest time between two rounds that something is due in.
const CARE_PAUSE_LIMIT: Duration = Duration::from_millis(500);
/// Answers sent before others get a turn.
const ANSWERS_AT_ONCE: usize = 32;
/// Pause of a reader after an error of its socket.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// The task that reads from a link, as long as this lives.
#[derive(Debug)]
pub(super) struct Reader {
    link: Arc<Link>,
    _task: AbortOnDropHandle<()>,
}

/// Where a packet came in.
#[derive(Debug)]
pub(super) enum Arrival {
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
    fn socket(&self, sender: SocketAddr) -> Option<Socket> {
        let scope = match sender {
            SocketAddr::V6(v6) => v6.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        match self {
            Self::Link(link) => {
                let socket = Socket::Link(link.interface.index, link.v6);
                link.is_arrival(sender).then_some(socket)
            }
            Self::Answers(_) if scope != 0 => Some(Socket::AnswersIn(scope)),
            Self::Answers(v6) => Some(Socket::Answers(*v6)),
        }
    }
}

impl Shared {
    /// Reads from a link until it is dropped.
    pub(super) fn listen(self: &Arc<Self>, link: Arc<Link>) -> std::io::Result<Reader> {
        let reader = Uninherited::new(UdpSocket::from_std(link.reader()?)?);
        let task = tokio::spawn(self.clone().read(reader, Arrival::Link(link.clone())));
        Ok(Reader { link, _task: AbortOnDropHandle::new(task) })
    }

    pub(super) async fn read(self: Arc<Self>, reader: Uninherited<UdpSocket>, arrival: Arrival) {
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
        let deaf = |socket| matches!(socket, Some(Socket::Link(index, v6)) if !is_open(index, v6));
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
    pub(super) async fn take_care(self: Arc<Self>, mut readers: Vec<Reader>) {
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
