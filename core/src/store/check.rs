//! What every store refuses.

use std::collections::HashSet;
use std::time::Duration;

use super::batch::{Batch, Change, What};
use super::record::{MAX_METADATA, MAX_VALUE, check_key};
use super::{Abilities, Store};
use crate::error::{Error, Reason, Result};
use crate::spelling::quoted;

/// Changes of one batch, at most.
const MAX_CHANGES: usize = 1024;
/// Bytes of all values of one batch, at most.
const MAX_BYTES: usize = 8 << 20;

impl Batch {
    /// What every store does first: refuses what cannot be kept, and what this one cannot do.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, with the reason `too_large` where that is why.
    pub fn check(&self, store: &dyn Store) -> Result<()> {
        let Abilities { transactions, .. } = store.abilities();
        if self.changes.len() > 1 && !transactions {
            return Err(Error::invalid_argument(format!(
                "the store `{}` makes one change at a time: apply them one by one, or use a store with transactions",
                store.name()
            )));
        }
        let too_large = |text| Err(Error::invalid_argument(text).with_reason(Reason::TooLarge));
        if self.changes.len() > MAX_CHANGES {
            let count = self.changes.len();
            return too_large(format!("{count} changes in a batch, and at most {MAX_CHANGES} fit"));
        }
        let mut bytes = 0;
        for change in &self.changes {
            bytes += check_change(change)?;
        }
        if self.changes.len() > 1 {
            let mut seen = HashSet::with_capacity(self.changes.len());
            if let Some(twice) =
                self.changes.iter().find(|one| !seen.insert((&one.place, &one.key)))
            {
                return Err(Error::invalid_argument(format!(
                    "{} in {} has two changes in one batch: join them, or apply one after the other",
                    quoted(&twice.key),
                    twice.place
                )));
            }
        }
        if bytes > MAX_BYTES {
            return too_large(format!("a batch of {bytes} bytes, and at most {MAX_BYTES} fit"));
        }
        self.fences.iter().try_for_each(|fence| check_key(&fence.lock))
    }
}

/// Bytes of its value.
fn check_change(change: &Change) -> Result<usize> {
    check_key(&change.key)?;
    let What::Write { value, metadata, ttl } = &change.what else { return Ok(0) };
    let too_large = |what: &str, bytes: usize, most: usize| {
        let key = quoted(&change.key);
        let text = format!("the {what} of {key} has {bytes} bytes, and at most {most} are kept");
        Err(Error::invalid_argument(text).with_reason(Reason::TooLarge))
    };
    if value.len() > MAX_VALUE {
        return too_large("value", value.len(), MAX_VALUE);
    }
    if !metadata.is_empty() {
        let length = serde_json::to_vec(metadata).map_err(Error::unexpected)?.len();
        if length > MAX_METADATA {
            return too_large("metadata", length, MAX_METADATA);
        }
    }
    match ttl {
        Some(ttl) if *ttl < Duration::from_millis(1) => Err(Error::invalid_argument(format!(
            "the record {} would live for less than a millisecond: delete it instead",
            quoted(&change.key)
        ))),
        _ => Ok(value.len()),
    }
}
