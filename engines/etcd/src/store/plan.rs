//! A batch as a transaction of etcd.

use bytes::Bytes;
use micro::Result;
use micro::store::{Batch, Change, Condition, What};

use super::keys::Keys;
use super::packed::{begin, pack};
use super::version::{place, revision};
use crate::lease::Lease;
use crate::proto::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, Request, RequestOp, TxnRequest, With,
    result, target,
};

/// Operations of a transaction, unless the servers have another bound.
const OPERATIONS: usize = 128;

/// A transaction, and what its answer means.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) txn: TxnRequest,
    /// What each operation of a transaction that was made is about.
    pub(super) made: Vec<Step>,
    /// What each operation of one that was not made is about: the index of a change with a condition, or of a fence.
    pub(super) asked: Vec<Asked>,
}

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Tells the lease of the record that is replaced.
    Before,
    Put(usize),
    Delete(usize),
    Fence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Fence(usize),
    Change(usize),
}

impl Plan {
    /// The changes of a batch, with a lease for each that has an end.
    pub(super) fn of(batch: &Batch, keys: &Keys, leases: &[Option<Lease>]) -> Result<Self> {
        let mut plan = Self::default();
        let changing = batch.changes.iter().filter(|change| change.what != What::Nothing).count();
        // What is replaced is looked at where there is room.
        let looks = 2 * changing + batch.fences.len() <= OPERATIONS;
        for (index, (change, lease)) in batch.changes.iter().zip(leases).enumerate() {
            let key = keys.record(&change.place, &change.key);
            plan.demand(change, index, &key, batch.changes.len() == 1);
            if looks && change.what != What::Nothing {
                let look =
                    RangeRequest { key: key.clone(), keys_only: true, ..RangeRequest::default() };
                plan.step(Step::Before, Request::Range(look));
            }
            match &change.what {
                What::Nothing => {}
                What::Delete => {
                    let delete = DeleteRangeRequest { key };
                    plan.step(Step::Delete(index), Request::Delete(delete));
                }
                What::Write { value, metadata, ttl } => {
                    // As many as fit into a batch.
                    let place = u16::try_from(index).unwrap_or(u16::MAX);
                    let value = pack(place, value, metadata, *ttl)?;
                    let lease = lease.map_or(0, |lease| lease.id);
                    plan.step(Step::Put(index), Request::Put(PutRequest { key, value, lease }));
                }
            }
        }
        Ok(plan)
    }

    fn step(&mut self, step: Step, request: Request) {
        self.made.push(step);
        self.txn.success.push(RequestOp { request: Some(request) });
    }

    /// Adds the condition of a change.
    fn demand(&mut self, change: &Change, index: usize, key: &Bytes, is_alone: bool) {
        match change.condition {
            Condition::Any => return,
            Condition::Absent | Condition::Version(0) => {
                self.compare(key, result::EQUAL, target::CREATE, With::Create(0));
            }
            Condition::Present => {
                self.compare(key, result::GREATER, target::CREATE, With::Create(0));
            }
            Condition::Version(version) => {
                let is = With::Mod(revision(version));
                self.compare(key, result::EQUAL, target::MOD, is);
                let place = place(version);
                if place > 0 {
                    let from = With::Value(begin(place));
                    self.compare(key, result::GREATER, target::VALUE, from);
                }
                let to = With::Value(begin(place + 1));
                self.compare(key, result::LESS, target::VALUE, to);
            }
        }
        // Values of many would be too much.
        let look =
            RangeRequest { key: key.clone(), keys_only: !is_alone, ..RangeRequest::default() };
        self.ask(Asked::Change(index), look);
    }

    fn ask(&mut self, asked: Asked, look: RangeRequest) {
        self.asked.push(asked);
        self.txn.failure.push(RequestOp { request: Some(Request::Range(look)) });
    }

    fn compare(&mut self, key: &Bytes, result: i32, target: i32, with: With) {
        self.txn.compare.push(Compare { result, target, key: key.clone(), with: Some(with) });
    }

    /// Demands that the fence of the guard at `index` is as it was found; `write` replaces it.
    pub(super) fn fence(
        &mut self,
        index: usize,
        key: &Bytes,
        found: &With,
        write: Option<PutRequest>,
    ) {
        let target = match found {
            With::Create(_) => target::CREATE,
            With::Mod(_) => target::MOD,
            With::Value(_) => target::VALUE,
        };
        self.compare(key, result::EQUAL, target, found.clone());
        self.ask(Asked::Fence(index), RangeRequest { key: key.clone(), ..RangeRequest::default() });
        if let Some(write) = write {
            self.step(Step::Fence, Request::Put(write));
        }
    }
}
