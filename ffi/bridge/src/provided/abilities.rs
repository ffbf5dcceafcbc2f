//! What a broker of a host's own can do, as numbers.

use micro::broker::Abilities;

/// It redelivers what was not acknowledged.
pub const REDELIVERS: u32 = 0x100;
/// Messages survive the end of every process.
pub const PERSISTS: u32 = 0x200;
/// A subscription may start with older messages.
pub const REPLAYS: u32 = 0x400;
/// A message may be held back for a time.
pub const DELAYS: u32 = 0x800;
/// Messages of one key are delivered one after the other.
pub const ORDERS_BY_KEY: u32 = 0x1000;
/// A message may be of no use after a time.
pub const EXPIRES: u32 = 0x2000;
/// A message that is published again with the same id is delivered once.
pub const DEDUPLICATES: u32 = 0x4000;
/// Messages of a higher priority are delivered first.
pub const PRIORITIZES: u32 = 0x8000;

const ALL: u32 = 0xff00;

pub(super) fn are_abilities(bits: u32) -> bool {
    bits & !ALL == 0
}

pub(super) fn abilities(bits: u32) -> Abilities {
    let has = |bit| bits & bit != 0;
    let mut abilities = Abilities::default();
    abilities.redelivers = has(REDELIVERS);
    abilities.persists = has(PERSISTS);
    abilities.replays = has(REPLAYS);
    abilities.delays = has(DELAYS);
    abilities.orders_by_key = has(ORDERS_BY_KEY);
    abilities.expires = has(EXPIRES);
    abilities.deduplicates = has(DEDUPLICATES);
    abilities.prioritizes = has(PRIORITIZES);
    abilities
}
