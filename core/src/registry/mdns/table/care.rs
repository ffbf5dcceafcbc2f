//! What has to be done in time: nodes under suspicion are asked and dropped, those that fade are asked
//! again, and what is over is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use tokio::time::Instant;

use super::super::heard::Socket;
use super::super::known::Known;
use super::super::packet::{Question, kind};
use super::{STRAGGLERS, Table};

/// Nodes under suspicion at a time, so that an outage does not become a storm of questions.
const SUSPECT_LIMIT: usize = 64;

/// A node that is about to be dropped.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Dying {
    pub(in super::super) instance: String,
    pub(in super::super) address: SocketAddr,
    /// Where its address was told.
    pub(in super::super) socket: Option<Socket>,
}

/// A question that is due, and whether it was asked before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Asks {
    pub(in super::super) question: Question,
    pub(in super::super) again: bool,
}

impl Table {
    /// The question to send at once about a node that refused a connection, if it is worth one.
    pub(in super::super) fn suspect(
        &mut self,
        service: &str,
        id: &str,
        now: Instant,
    ) -> Option<Question> {
        let instance = self.names.instance(service, id).ok()?;
        if self.nodes.values().filter(|known| known.is_suspected()).count() >= SUSPECT_LIMIT {
            return None;
        }
        let known = self.nodes.get_mut(&instance).filter(|known| !known.own)?;
        let doubted = known.suspect(now);
        self.hurry |= doubted;
        doubted.then(|| Question::new(instance, kind::ANY))
    }

    /// Nodes that would be dropped now, for want of news of them. A node that lost its address to
    /// another is not among them: no witness can vouch for it.
    pub(in super::super) fn dying(&self, now: Instant) -> Vec<Dying> {
        let dying = |known: &&Known| !known.own && known.service.is_some() && known.dies() <= now;
        if !self.nodes.values().any(|known| dying(&known)) {
            return Vec::new();
        }
        let mut latest: HashMap<SocketAddr, Instant> = HashMap::new();
        for known in self.nodes.values().filter(|known| !known.own) {
            let heard = latest.entry(known.address).or_insert(known.heard);
            *heard = known.heard.max(*heard);
        }
        let dying = self.nodes.iter().filter(|(_, known)| dying(known));
        dying
            .filter(|(_, known)| latest.get(&known.address) == Some(&known.heard))
            .map(|(instance, known)| Dying {
                instance: instance.clone(),
                address: known.address,
                socket: known.socket,
            })
            .collect()
    }

    /// A witness says that these nodes live.
    pub(in super::super) fn vouch(&mut self, instances: &[String], now: Instant) {
        for instance in instances {
            if let Some(known) = self.nodes.get_mut(instance) {
                known.vouch(now);
            }
        }
    }

    /// Drops what is over; gives the questions to ask and when to look again.
    pub(in super::super) fn due(&mut self, now: Instant) -> (Vec<Asks>, Option<Instant>) {
        let (mut questions, mut over, mut next) = (Vec::new(), Vec::new(), None::<Instant>);
        let mut ask: BTreeMap<String, bool> = BTreeMap::new();
        self.interest.tidy();
        let (interest, mut watched) = (&self.interest, HashMap::<String, bool>::new());
        for (instance, known) in self.nodes.iter_mut().filter(|(_, known)| !known.own) {
            if known.dies() <= now {
                over.push(instance.clone());
                continue;
            }
            if known.repeats(now) {
                let question = Question::new(instance.clone(), kind::ANY);
                questions.push(Asks { question, again: true });
            }
            let service = known.service.clone();
            let watched = service.as_ref().is_some_and(|service| {
                *watched
                    .entry(service.name.clone())
                    .or_insert_with(|| interest.watched(&service.name))
            });
            if let Some(service) = service
                && watched
                && known.fades(now)
            {
                *ask.entry(service.name.clone()).or_default() |= known.was_asked();
            }
            next = next.into_iter().chain([known.wakes(watched)]).min();
        }
        over.iter().for_each(|instance| self.drop_node(instance));
        self.goodbyes.retain(|_, goodbye| now.saturating_duration_since(goodbye.at) < STRAGGLERS);
        self.listed.expire(now);
        let asked = ask.into_iter().map(|(name, again)| Asks {
            question: Question::new(self.names.service(&name), kind::PTR),
            again,
        });
        questions.extend(asked);
        self.wakes = next;
        (questions, self.wakes)
    }
}
