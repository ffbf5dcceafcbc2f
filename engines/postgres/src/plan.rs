//! What a group of batches comes to, given what is there.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use micro::store::{Batch, Change, Condition, Place, What, conflict, stale};
use micro::{Error, Result};
use serde_json::Value;

/// What lasts longer than this stays.
const LONGEST: Duration = Duration::from_secs(1000 * 366 * 24 * 60 * 60);

/// A record's name.
pub(crate) type Name = (Place, String);

/// What is there before a group.
#[derive(Debug, Default)]
pub(crate) struct Before {
    pub(crate) version: u64,
    /// Versions of records that are there, of those that the group needs to know.
    pub(crate) versions: HashMap<Name, u64>,
    /// Tokens that are remembered.
    pub(crate) tokens: HashMap<String, u64>,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// For each batch, the place of each change among all changes of the group, 0 where nothing is changed.
    pub(crate) results: Vec<Result<Vec<u64>>>,
    /// The last change of each record.
    pub(crate) writes: HashMap<Name, Write>,
    pub(crate) tokens: HashMap<String, u64>,
    /// How many versions it takes.
    pub(crate) count: u64,
}

#[derive(Debug)]
pub(crate) struct Write {
    /// Among all changes of the group, from 1 on.
    pub(crate) place: u64,
    /// With its metadata as JSON; none where it is deleted.
    pub(crate) value: Option<(Bytes, String)>,
    pub(crate) ttl: Option<i64>,
}

/// Whether anything has to be read before it can be said what a batch comes to.
pub(crate) fn needs_reading(batch: &Batch) -> bool {
    !batch.fences.is_empty() || batch.changes.iter().any(asks_for)
}

/// Whether the version of a record counts.
pub(crate) fn asks_for(change: &Change) -> bool {
    change.condition != Condition::Any || matches!(change.what, What::Delete)
}

/// Goes through the batches in their order: each sees what those before it have changed.
pub(crate) fn plan(mut before: Before, batches: &[&Batch]) -> Plan {
    let mut plan = Plan::default();
    for batch in batches {
        let result = match check(&before, batch) {
            Err(error) => Err(error),
            Ok(()) => {
                for fence in &batch.fences {
                    before.tokens.insert(fence.lock.clone(), fence.token);
                    plan.tokens.insert(fence.lock.clone(), fence.token);
                }
                let changes = batch.changes.iter();
                Ok(changes.map(|change| plan.change(&mut before, change)).collect())
            }
        };
        plan.results.push(result);
    }
    plan
}

/// Conditions are about what was there before any change of the batch.
fn check(before: &Before, batch: &Batch) -> Result<()> {
    for fence in &batch.fences {
        if i64::try_from(fence.token).is_err() {
            return Err(Error::invalid_argument(format!(
                "the token {} of a fence is no version: it has more than 63 bits",
                fence.token
            )));
        }
        if let Some(newest) = before.tokens.get(&fence.lock).filter(|newest| **newest > fence.token)
        {
            return Err(stale(fence, *newest));
        }
    }
    for change in batch.changes.iter().filter(|change| change.condition != Condition::Any) {
        let name = (change.place.clone(), change.key.clone());
        let found = before.versions.get(&name).copied().unwrap_or(0);
        let holds = match change.condition {
            Condition::Any => true,
            Condition::Absent => found == 0,
            Condition::Present => found > 0,
            Condition::Version(version) => found == version,
        };
        if !holds {
            return Err(conflict(change, found));
        }
    }
    Ok(())
}

impl Plan {
    fn change(&mut self, before: &mut Before, change: &Change) -> u64 {
        let name = (change.place.clone(), change.key.clone());
        let (value, ttl) = match &change.what {
            What::Nothing => return 0,
            What::Delete => match before.versions.remove(&name) {
                None => return 0,
                Some(_) => (None, None),
            },
            What::Write { value, metadata, ttl } => {
                (Some((value.clone(), Value::Object(metadata.clone()).to_string())), *ttl)
            }
        };
        self.count += 1;
        if value.is_some() {
            before.versions.insert(name.clone(), before.version + self.count);
        }
        let ttl = ttl.filter(|ttl| *ttl < LONGEST).map(|ttl| ttl.as_millis() as i64);
        self.writes.insert(name, Write { place: self.count, value, ttl });
        self.count
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use micro::Reason;
    use micro::store::Fence;

    use super::*;

    fn write(key: &str) -> Change {
        Change::write(Place::default(), key, "v")
    }

    fn name(key: &str) -> Name {
        (Place::default(), key.into())
    }

    #[test]
    fn each_batch_sees_what_those_before_it_have_changed() {
        let before =
            Before { version: 10, versions: [(name("old"), 4)].into(), ..Before::default() };
        let batches: Vec<Batch> = vec![
            write("new").only_if(Condition::Absent).into(),
            write("new").only_if(Condition::Absent).into(),
            write("new").only_if(Condition::Version(11)).into(),
            Change::delete(Place::default(), "old").into(),
            Change::delete(Place::default(), "old").into(),
            Change::check(Place::default(), "old", Condition::Absent).into(),
        ];
        let plan = plan(before, &batches.iter().collect::<Vec<_>>());
        let places: Vec<_> =
            plan.results.iter().map(|result| result.as_ref().ok().cloned()).collect();
        assert_eq!(
            places,
            [Some(vec![1]), None, Some(vec![2]), Some(vec![3]), Some(vec![0]), Some(vec![0])]
        );
        let reason = plan.results[1].as_ref().unwrap_err().reason();
        assert_eq!(reason, Some(Reason::Conflict));
        assert_eq!(plan.count, 3);
        assert_eq!(plan.writes[&name("new")].place, 2, "a record is written once");
        assert!(plan.writes[&name("old")].value.is_none());
    }

    #[test]
    fn a_batch_that_is_refused_leaves_no_trace() {
        let fence = |token| Fence { lock: "leader".into(), token };
        let batch = |token, condition| Batch {
            changes: vec![write("a"), write("b").only_if(condition)],
            fences: vec![fence(token)],
            ..Batch::default()
        };
        let batches = [
            batch(9, Condition::Present),
            batch(7, Condition::Any),
            batch(6, Condition::Any),
            batch(u64::MAX, Condition::Any),
        ];
        let plan = plan(Before::default(), &batches.iter().collect::<Vec<_>>());
        let reasons: Vec<_> =
            plan.results.iter().map(|r| r.as_ref().err().map(Error::reason)).collect();
        assert_eq!(
            reasons,
            [Some(Some(Reason::Conflict)), None, Some(Some(Reason::StaleToken)), Some(None)]
        );
        assert_eq!((plan.count, plan.tokens["leader"]), (2, 7));
    }
}
