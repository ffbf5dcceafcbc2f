//! What the tasks and the methods of one [`Mdns`](super::Mdns) share.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::limiter::{Cost, Limiter};
use super::names::Names;
use super::packet::Question;
use super::socket::{From, Links};
use super::table::Table;
use super::txt::{INFLATED_LIMIT, Payload};
use super::writer;
use super::zone::{Announcement, Zone};
use crate::registry::Witnesses;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) wait: Duration,
    pub(super) names: Arc<Names>,
    pub(super) host: String,
    pub(super) links: Links,
    /// Never held across an await.
    pub(super) state: Mutex<State>,
    /// Never held across an await, nor together with the state.
    pub(super) limiter: Mutex<Limiter>,
    pub(super) witnesses: Witnesses,
    /// Wakes the caretaker.
    pub(super) care: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) zone: Zone,
    pub(super) table: Table,
}

impl Shared {
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        if state.table.take_hurry() {
            self.care.notify_one();
        }
        result
    }

    /// Sends an announcement or a goodbye to the group, by each interface with its own address.
    pub(super) fn announce(&self, announcement: &Announcement) {
        self.links.announce(|reach| announcement.packet(reach));
    }

    /// Stops answering for nodes of ours, and says so.
    pub(super) fn retire(&self, instances: impl Iterator<Item = String>) {
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

    /// Reads a text as far as its sender may cost.
    pub(super) fn inflate(&self, text: &[u8], from: IpAddr, cost: Cost) -> Option<Payload> {
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

    pub(super) fn limited<R>(&self, act: impl FnOnce(&mut Limiter) -> R) -> R {
        act(&mut self.limiter.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a question to the group. The number of packets that left.
    pub(super) fn ask(&self, from: From, question: &Question) -> usize {
        self.links.ask(from, &writer::query(question))
    }
}
