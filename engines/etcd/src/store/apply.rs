//! Makes the changes of a batch.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use micro::store::{Batch, Change, Condition, What, conflict, stale};
use micro::{Error, Result};

use super::fence::{Guard, KEPT, text};
use super::packed::version_of;
use super::plan::{Asked, Plan, Step};
use super::shared::{RANGE, Shared, TXN};
use super::version::{revision, version};
use crate::lease::Lease;
use crate::proto::{KeyValue, PutRequest, RangeRequest, RangeResponse, Response, TxnResponse};

/// How often it is tried while others use the same locks.
const ATTEMPTS: usize = 32;
/// Leases that are taken at once.
const AT_ONCE: usize = 16;

impl Shared {
    pub(super) async fn apply(&self, batch: &Batch) -> Result<Vec<u64>> {
        if batch.changes.is_empty() && batch.fences.is_empty() {
            return Ok(Vec::new());
        }
        let what = match &batch.changes[..] {
            [one] => format!("to change {} in {}", one.key, one.place),
            all => format!("{} changes", all.len()),
        };
        let mut guards = self.known.guards(batch);
        for _ in 0..ATTEMPTS {
            let leases = self.take_leases(batch).await?;
            let mut plan = Plan::of(batch, &self.keys, &leases)?;
            for (index, guard) in guards.iter().enumerate() {
                self.demand(&mut plan, index, guard).await?;
            }
            let answer: Result<TxnResponse> = self.link.ask(&what, TXN, plan.txn.clone()).await;
            let answer = match answer {
                // One has ended before it was used.
                Err(error) if error.detail().contains("requested lease not found") => continue,
                answer => answer?,
            };
            let mut ranges = answer.responses.iter();
            if answer.succeeded {
                guards.iter().filter(|guard| guard.writes).for_each(|guard| {
                    self.known.note(guard);
                    self.drop_lease(guard.lease);
                });
                let revision = answer.header.as_ref().map_or(0, |header| header.revision);
                return Ok(self.versions(batch, &leases, &plan, revision, &answer));
            }
            leases.into_iter().flatten().for_each(|lease| self.leases.leave(lease));
            let mut refused = None;
            for asked in &plan.asked {
                let found = match ranges.next().and_then(|answer| answer.response.as_ref()) {
                    Some(Response::Range(range)) => range.kvs.first(),
                    _ => None,
                };
                match *asked {
                    Asked::Fence(at) => {
                        if let Some(newest) = guards[at].learn(found) {
                            return Err(stale(&batch.fences[guards[at].index], newest));
                        }
                    }
                    Asked::Change(at) if !holds(&batch.changes[at], found) => {
                        refused.get_or_insert(at);
                    }
                    Asked::Change(_) => {}
                }
            }
            if refused.is_none() && guards.is_empty() {
                // Only its place in its batch tells it from the one that was meant.
                let by_version =
                    |change: &Change| matches!(change.condition, Condition::Version(_));
                refused = batch.changes.iter().position(by_version);
            }
            if let Some(at) = refused {
                let change = &batch.changes[at];
                return Err(conflict(change, self.found(&what, change).await?));
            }
        }
        let why = "others use the same locks all the time: try it again";
        Err(Error::unavailable(format!("{what} was not done: {why}")))
    }

    async fn take_leases(&self, batch: &Batch) -> Result<Vec<Option<Lease>>> {
        let lives = batch.changes.iter().map(|change| match &change.what {
            What::Write { ttl, .. } => *ttl,
            _ => None,
        });
        let lives: Vec<_> = lives.collect();
        if lives.iter().all(Option::is_none) {
            return Ok(vec![None; lives.len()]);
        }
        let take = lives.into_iter().map(|life| async move {
            match life {
                Some(life) => self.leases.take(life).await.map(Some),
                None => Ok(None),
            }
        });
        stream::iter(take).buffered(AT_ONCE).try_collect().await
    }

    async fn demand(&self, plan: &mut Plan, index: usize, guard: &Guard) -> Result<()> {
        let key = self.keys.fence(&guard.lock);
        let write = match guard.writes {
            false => None,
            true => {
                let lease = self.leases.take(KEPT).await?.id;
                Some(PutRequest { key: key.clone(), value: text(guard.most), lease })
            }
        };
        plan.fence(index, &key, &guard.found, write);
        Ok(())
    }

    /// What became of a batch that was made.
    fn versions(
        &self,
        batch: &Batch,
        leases: &[Option<Lease>],
        plan: &Plan,
        revision: i64,
        answer: &TxnResponse,
    ) -> Vec<u64> {
        let mut versions = vec![0; batch.changes.len()];
        let mut before = 0;
        for (step, answer) in plan.made.iter().zip(&answer.responses) {
            match (*step, &answer.response) {
                (Step::Before, Some(Response::Range(range))) => {
                    before = range.kvs.first().map_or(0, |kv| kv.lease);
                }
                (Step::Put(at), _) => {
                    versions[at] = version(revision, place(at));
                    match leases[at] {
                        Some(lease) if before != 0 => self.leases.leave(lease.like(before)),
                        _ => self.drop_lease(before),
                    }
                    before = 0;
                }
                (Step::Delete(at), Some(Response::Delete(deleted))) => {
                    if deleted.deleted > 0 {
                        versions[at] = version(revision, place(at));
                    }
                    self.drop_lease(before);
                    before = 0;
                }
                _ => {}
            }
        }
        versions
    }

    /// Gives a lease back whose key was replaced.
    fn drop_lease(&self, id: i64) {
        if id != 0 {
            self.leases.revoke(id);
        }
    }

    /// The version of what is there instead of what a change was to be made to.
    async fn found(&self, what: &str, change: &Change) -> Result<u64> {
        let key = self.keys.record(&change.place, &change.key);
        let request = RangeRequest { key, ..RangeRequest::default() };
        let range: RangeResponse = self.link.look(what, RANGE, request).await?;
        Ok(range.kvs.first().map_or(0, version_of))
    }
}

fn place(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// Whether a condition held, but for the place in the batch of what was found.
fn holds(change: &Change, found: Option<&KeyValue>) -> bool {
    match change.condition {
        Condition::Any => true,
        Condition::Absent | Condition::Version(0) => found.is_none(),
        Condition::Present => found.is_some(),
        Condition::Version(version) => found.is_some_and(|kv| kv.mod_revision == revision(version)),
    }
}
