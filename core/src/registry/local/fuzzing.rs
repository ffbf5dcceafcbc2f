//! A target that reads what another process wrote into the folder.

#![allow(clippy::panic, clippy::expect_used, reason = "a panic is how a target reports a finding")]

use super::record::Record;

/// A record is refused, or says the same after being written again.
pub(crate) fn record(data: &[u8]) {
    let Ok(first) = Record::parse(data) else { return };
    let written = serde_json::to_vec(&first).expect("a record that was read");
    assert_eq!(Record::parse(&written).expect("a record that was written"), first);
}
