//! How much is kept of which sender. Every host on the link can tell of nodes that are not there, so
//! what was not asked for goes before what is called, and what one sender tells before what others do.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::super::known::Known;

/// Most that is kept of nodes.
pub(super) const ALL: Use = Use { nodes: 16_384, bytes: 32 << 20 };
/// Most of it for nodes of services that were not asked for.
const UNWANTED: Use = Use { nodes: 8192, bytes: 8 << 20 };
/// Most of it that one sender tells.
const SENDER: Use = Use { nodes: 8192, bytes: 16 << 20 };
/// Most nodes of one service that a host tells of at its own address, then at others.
const OF_SERVICE: [usize; 2] = [1024, 256];
/// One of these that was not heard of for so long makes room for another.
const STALE_AFTER: Duration = Duration::from_secs(10);
/// Room is made in pieces of this part of the limit, so that a flood does not sort all for each.
const PIECE: usize = 16;

/// Nodes, and what they weigh.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) nodes: usize,
    pub(super) bytes: usize,
}

/// What is used: by all, and by each sender.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) all: Use,
    unwanted: Use,
    senders: HashMap<IpAddr, Use>,
}

/// Which nodes have to go, and how much of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Excess {
    /// Only those of this sender.
    sender: Option<IpAddr>,
    /// Only those that were not asked for.
    unwanted: bool,
    over: Use,
}

impl Use {
    fn add(&mut self, bytes: usize) {
        self.nodes += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.nodes = self.nodes.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// What has to go so that `bytes` more fit under `limit`, and then some.
    fn over(self, limit: Self, bytes: usize) -> Option<Self> {
        let over = self.nodes >= limit.nodes || self.bytes + bytes > limit.bytes;
        let piece = |used: usize, limit: usize| (used + limit / PIECE).saturating_sub(limit);
        over.then(|| Self {
            nodes: piece(self.nodes + 1, limit.nodes),
            bytes: piece(self.bytes + bytes, limit.bytes),
        })
    }
}

impl Room {
    /// Counts a node; those of this very object are not.
    pub(super) fn add(&mut self, known: &Known) {
        if !known.own {
            self.all.add(known.weight);
            self.senders.entry(known.from).or_default().add(known.weight);
            if !known.wanted {
                self.unwanted.add(known.weight);
            }
        }
    }

    /// Counts a node no more.
    pub(super) fn remove(&mut self, known: &Known) {
        if known.own {
            return;
        }
        self.all.remove(known.weight);
        if let Some(sender) = self.senders.get_mut(&known.from) {
            sender.remove(known.weight);
            if sender.nodes == 0 {
                self.senders.remove(&known.from);
            }
        }
        if !known.wanted {
            self.unwanted.remove(known.weight);
        }
    }

    /// What has to go before `known` fits.
    pub(super) fn excess(&self, known: &Known) -> Option<Excess> {
        if known.own {
            return None;
        }
        let sender = self.senders.get(&known.from).copied().unwrap_or_default();
        let of_sender = sender.over(SENDER, known.weight).map(|over| Excess {
            sender: Some(known.from),
            unwanted: false,
            over,
        });
        let unwanted = self.unwanted.over(UNWANTED, known.weight).filter(|_| !known.wanted);
        let unwanted = unwanted.map(|over| Excess { sender: None, unwanted: true, over });
        let all = self.all.over(ALL, known.weight);
        let all = all.map(|over| Excess { sender: None, unwanted: false, over });
        of_sender.or(unwanted).or(all)
    }

    /// The instances to give up: first what was not asked for, then what was heard of only for a
    /// moment, then what the sender that tells most told, longest ago.
    pub(super) fn victims<'a>(
        &self,
        nodes: impl Iterator<Item = (&'a String, &'a Known)>,
        excess: Excess,
    ) -> Vec<String> {
        let told = |from: &IpAddr| self.senders.get(from).map_or(0, |sender| sender.bytes);
        let mut nodes: Vec<_> = nodes
            .filter(|(_, known)| !known.own && excess.sender.is_none_or(|from| from == known.from))
            .filter(|(_, known)| !excess.unwanted || !known.wanted)
            .map(|(instance, known)| {
                let worth = (known.wanted, known.is_established(), Reverse(told(&known.from)));
                (worth, known.heard, instance, known.weight)
            })
            .collect();
        nodes.sort_unstable();
        let mut left = excess.over;
        let mut victims = Vec::new();
        for (_, _, instance, weight) in nodes {
            if left == Use::default() {
                break;
            }
            left.remove(weight);
            victims.push(instance.clone());
        }
        victims
    }
}

/// Whether there is room for one more node of a service told by the same host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Vacancy {
    Free,
    /// In place of this one, which was not heard of for a while.
    Instead(String),
    Full,
}

/// Where a node of a service goes among the `nodes` of it. A host that tells of very many keeps
/// those it still tells of.
pub(super) fn vacancy<'a>(
    nodes: impl Iterator<Item = (&'a String, &'a Known)>,
    new: &Known,
) -> Vacancy {
    let plausible = new.is_plausible();
    let mut count = 0;
    let alike = nodes
        .filter(|(_, known)| !known.own && known.from == new.from)
        .filter(|(_, known)| known.is_plausible() == plausible)
        .inspect(|_| count += 1);
    let oldest = alike.min_by_key(|(_, known)| (known.is_established(), known.heard));
    if count < OF_SERVICE[usize::from(!plausible)] {
        return Vacancy::Free;
    }
    match oldest {
        Some((instance, known)) if new.heard - known.heard >= STALE_AFTER => {
            Vacancy::Instead(instance.clone())
        }
        _ => Vacancy::Full,
    }
}
