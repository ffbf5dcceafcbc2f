//! Messages of one subscription that a host has.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use micro::Error;
use micro::broker::Delivery;

use crate::delivery::{Lent, codec, facts};
use crate::event::{Event, Held, NO_TIMEOUT, Unseen, Waiting};
use crate::flags;
use crate::id::{Id, IdKind};
use crate::shared::Shared;
use crate::things::Thing;

/// What is lent of one subscription. When that ends, the host has none of it any longer.
#[derive(Debug)]
pub(crate) struct Lending {
    shared: Arc<Shared>,
    /// Those that the host has not settled, and a few that it has.
    lent: Mutex<BTreeSet<u64>>,
}

impl Lending {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, lent: Mutex::default() }
    }

    /// Lends a message: writes the event that tells it.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` when there are no more names.
    pub(crate) fn lend(&self, delivery: Delivery, event: &mut Event) -> micro::Result<()> {
        let codec = codec(&delivery.delivered);
        event.flags = flags::of(codec);
        event.method = delivery.delivered.attempt;
        event.payload = delivery.delivered.message.body.clone();
        event.meta = facts(&delivery.delivered);
        let things = &self.shared.things;
        let lent = Thing::Delivery(Lent::new(delivery));
        let id = things.insert(IdKind::Operation, lent).ok_or_else(|| {
            Error::resource_exhausted("16 million things are under way in this process")
        })?;
        event.id = id;
        let waits = Arc::new(Waits { shared: Arc::downgrade(&self.shared), id });
        event.held = Held::Waiting(Waiting::new(id, waits, None));
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        lent.insert(id.to_raw());
        if lent.len() > 64 && lent.len().is_power_of_two() {
            lent.retain(|id| things.get(Id::from_raw(*id)).is_some());
        }
        Ok(())
    }
}

impl Drop for Lending {
    fn drop(&mut self) {
        let lent = self.lent.get_mut().unwrap_or_else(PoisonError::into_inner);
        for id in std::mem::take(lent) {
            let id = Id::from_raw(id);
            // Given up without a verdict, it is another's.
            drop(self.shared.things.remove(id));
        }
    }
}

/// A message that waits in a queue; another's when it is dropped there.
#[derive(Debug)]
struct Waits {
    shared: Weak<Shared>,
    id: Id,
}

impl Unseen for Waits {
    fn see(&self) -> Option<u64> {
        let shared = self.shared.upgrade()?;
        shared.things.get(self.id).map(|_| NO_TIMEOUT)
    }

    fn forget(&self, id: Id) {
        if let Some(shared) = self.shared.upgrade() {
            drop(shared.things.remove(id));
        }
    }
}
