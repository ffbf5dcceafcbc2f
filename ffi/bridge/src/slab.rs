//! Where ids lead: slots used again and again, each time under another generation. A slot that has had all of its
//! generations is used no more: an id never names another thing.
//!
//! Sharded, so that threads seldom meet at a lock, and without a hash: the id says where to look. Free of tokio and of what the
//! things are, so that loom and Miri can run it.

use std::sync::Arc;

use crate::id::{Id, IdKind, SHARDS, SLOTS};
use crate::leases::{Lease, Leases};
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};

/// Things by their ids.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    shards: Vec<Mutex<Shard<T>>>,
    next: AtomicUsize,
    leases: Arc<Leases>,
}

#[derive(Debug)]
struct Shard<T> {
    slots: Vec<Slot<T>>,
    /// Slots that hold nothing and have generations left, the last used first: it is warm.
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    lease: Lease,
    kind: Option<IdKind>,
    thing: Option<T>,
}

impl<T: Clone> Slab<T> {
    /// Nothing, in `shards` shards.
    pub(crate) fn new(shards: usize, leases: Arc<Leases>) -> Self {
        let shard = || Mutex::new(Shard { slots: Vec::new(), free: Vec::new() });
        Self {
            shards: (0..shards.clamp(1, SHARDS)).map(|_| shard()).collect(),
            next: AtomicUsize::new(0),
            leases,
        }
    }

    /// Keeps `thing` and names it; `None` when there are as many things as ids.
    pub(crate) fn insert(&self, kind: IdKind, thing: T) -> Option<Id> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        let mut shard = lock(&self.shards[number]);
        let index = match shard.free.pop() {
            Some(index) => index as usize,
            None => shard.grow(number, &self.leases)?,
        };
        let slot = &mut shard.slots[index];
        slot.generation = slot.lease.generation()?;
        slot.kind = Some(kind);
        slot.thing = Some(thing);
        Some(Id::new(slot.generation, number, index, kind))
    }

    /// What the id names, if it is still there.
    pub(crate) fn get(&self, id: Id) -> Option<T> {
        self.at(id, |slot| slot.thing.clone())
    }

    /// Changes what the id names; false if it is over.
    pub(crate) fn change(&self, id: Id, change: impl FnOnce(&mut T)) -> bool {
        self.at(id, |slot| slot.thing.as_mut().map(change)).is_some()
    }

    /// Takes what the id names: of many that try, one gets it.
    pub(crate) fn remove(&self, id: Id) -> Option<T> {
        let mut shard = lock(self.shards.get(id.shard())?);
        let slot = shard.slots.get_mut(id.index()).filter(|slot| slot.is(id))?;
        let thing = slot.thing.take()?;
        if slot.lease.is_over() {
            slot.lease = self.leases.take(id.shard(), id.index()).unwrap_or_default();
        }
        if !slot.lease.is_over() {
            shard.free.push(u32::try_from(id.index()).unwrap_or_default());
        }
        Some(thing)
    }

    /// Everything that is there now, with its name.
    pub(crate) fn all(&self) -> Vec<(Id, T)> {
        let mut things = Vec::new();
        for (number, shard) in self.shards.iter().enumerate() {
            things.extend(lock(shard).slots.iter().enumerate().filter_map(|(index, slot)| {
                let id = Id::new(slot.generation, number, index, slot.kind?);
                Some((id, slot.thing.clone()?))
            }));
        }
        things
    }

    fn at<R>(&self, id: Id, look: impl FnOnce(&mut Slot<T>) -> Option<R>) -> Option<R> {
        let mut shard = lock(self.shards.get(id.shard())?);
        look(shard.slots.get_mut(id.index()).filter(|slot| slot.is(id))?)
    }
}

impl<T> Shard<T> {
    /// One more slot; `None` when there is none.
    fn grow(&mut self, number: usize, leases: &Leases) -> Option<usize> {
        while self.slots.len() < SLOTS {
            let index = self.slots.len();
            let lease = leases.take(number, index);
            // Also where other runtimes have used up a slot: the next one has a name of its own only behind it.
            let usable = lease.is_some();
            let lease = lease.unwrap_or_default();
            self.slots.push(Slot { generation: 0, lease, kind: None, thing: None });
            if usable {
                return Some(index);
            }
        }
        None
    }
}

impl<T> Slot<T> {
    fn is(&self, id: Id) -> bool {
        self.generation == id.generation() && self.kind.is_some_and(|kind| kind as u8 == id.kind())
    }
}

/// No thing's code runs while a shard is locked, but for its `clone`.
fn lock<T>(shard: &Mutex<Shard<T>>) -> MutexGuard<'_, Shard<T>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn slab<T: Clone>(shards: usize) -> Slab<T> {
        Slab::new(shards, Arc::new(Leases::new()))
    }

    #[test]
    fn an_id_names_its_thing_until_it_is_removed() {
        let slab = slab(4);
        let ids: Vec<_> =
            (0..100).map(|n| slab.insert(IdKind::Operation, n).expect("room")).collect();
        assert!(ids.iter().enumerate().all(|(n, id)| slab.get(*id) == Some(n)));
        let mut all = slab.all();
        all.sort_unstable_by_key(|(_, n)| *n);
        assert!(all.iter().map(|(id, _)| id).eq(&ids));
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(slab.remove(*id), Some(n));
            assert_eq!((slab.remove(*id), slab.get(*id)), (None, None));
        }
        assert!(slab.all().is_empty());
    }

    #[test]
    fn a_place_used_again_has_another_name() {
        let slab = slab(1);
        let first = slab.insert(IdKind::Stream, 1).expect("room");
        slab.remove(first);
        let second = slab.insert(IdKind::Stream, 2).expect("room");
        assert_eq!(first.index(), second.index());
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(2)));
        assert!(!slab.change(first, |thing| *thing = 3) && slab.change(second, |thing| *thing = 4));
        assert_eq!(slab.remove(second), Some(4));
    }

    #[test]
    fn the_id_of_what_is_over_never_names_another_thing() {
        let slab = Slab::new(1, Arc::new(Leases::nearly_used_up()));
        let mut ids = HashSet::new();
        for n in 0..10_000 {
            let id = slab
                .insert(IdKind::Call, n)
                .expect("a slot that is used up makes room for another");
            assert!(id.generation() > 0 && ids.insert(id), "{id:?} has named something before");
            assert_eq!(slab.remove(id), Some(n));
        }
        assert!(ids.iter().any(|id| id.index() == 0) && ids.iter().any(|id| id.index() == 2));
        assert!(ids.iter().all(|id| slab.get(*id).is_none() && slab.remove(*id).is_none()));
    }

    #[test]
    fn what_stays_does_not_share_a_place_that_is_used_up() {
        let slab = Slab::new(1, Arc::new(Leases::nearly_used_up()));
        let stays = slab.insert(IdKind::Stream, u32::MAX).expect("room");
        for n in 0..10_000 {
            let id = slab.insert(IdKind::Call, n).expect("room");
            assert_ne!(id.index(), stays.index());
            slab.remove(id);
        }
        assert_eq!(slab.remove(stays), Some(u32::MAX));
    }

    #[test]
    fn no_two_runtimes_share_a_name() {
        let leases = Arc::new(Leases::nearly_used_up());
        let mut ids = HashSet::new();
        for runtime in 0..100 {
            let slab = Slab::new(2, leases.clone());
            for _ in 0..10 {
                let id = slab.insert(IdKind::Operation, runtime).expect("room");
                assert!(ids.insert(id), "{id:?} has named a thing of another runtime");
                slab.remove(id);
            }
        }
    }

    #[test]
    fn foreign_ids_name_nothing() {
        let slab = slab(1);
        let id = slab.insert(IdKind::Call, ()).expect("room");
        for raw in [0, 1, u64::MAX, 1 << 53, id.to_raw() ^ 1, id.to_raw() | 1 << 60] {
            assert_eq!(slab.get(Id::from_raw(raw)), None, "{raw:#x}");
            assert_eq!(slab.remove(Id::from_raw(raw)), None, "{raw:#x}");
        }
        assert_eq!(slab.get(id), Some(()));
    }
}
