//! Names of what comes and goes: calls, streams, watches.

use std::fmt;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum IdKind {
    /// A unary call or another operation with one answer, on its way.
    Operation = 1,
    /// A stream that this side opened.
    Stream = 2,
    /// A call that came in.
    Call = 3,
    /// A watch of the registry.
    Watch = 4,
}

const KIND_BITS: u32 = 4;
const INDEX_BITS: u32 = 24;
const SHARD_BITS: u32 = 4;
const GENERATION_BITS: u32 = 21;

/// Shards that an id can name.
pub(crate) const SHARDS: usize = 1 << SHARD_BITS;
/// Slots in one shard.
pub(crate) const SLOTS: usize = 1 << INDEX_BITS;
/// Generations of one slot, of which the first is 1; then it is used no more.
pub(crate) const GENERATIONS: u32 = 1 << GENERATION_BITS;

/// Name of a call, stream or watch: 53 bits, so that it is an exact JavaScript number: generation 21, shard 4, index 24,
/// kind 4. A slot that is used again has a generation that no slot of that number had before, in
/// whichever runtime, so the id of what is over names nothing, for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Id(u64);

impl Id {
    /// Names nothing.
    pub const NONE: Self = Self(0);

    pub(crate) fn new(generation: u32, shard: usize, index: usize, kind: IdKind) -> Self {
        debug_assert!(
            generation > 0 && generation < GENERATIONS && shard < SHARDS && index < SLOTS
        );
        let generation = u64::from(generation) << (SHARD_BITS + INDEX_BITS + KIND_BITS);
        let shard = (shard as u64) << (INDEX_BITS + KIND_BITS);
        let index = (index as u64) << KIND_BITS;
        Self(generation | shard | index | kind as u64)
    }

    /// The id a host gave; whatever it is, using it is safe.
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number to give to a host; 0 is none.
    pub fn to_raw(self) -> u64 {
        self.0
    }

    /// True when it names nothing.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// True when it names a call that came in, whether that is over or not.
    pub fn is_call(self) -> bool {
        self.kind() == IdKind::Call as u8
    }

    pub(crate) fn generation(self) -> u32 {
        u32::try_from(self.0 >> (SHARD_BITS + INDEX_BITS + KIND_BITS)).unwrap_or(0)
    }

    pub(crate) fn shard(self) -> usize {
        (self.0 >> (INDEX_BITS + KIND_BITS)) as usize & (SHARDS - 1)
    }

    pub(crate) fn index(self) -> usize {
        (self.0 >> KIND_BITS) as usize & (SLOTS - 1)
    }

    pub(crate) fn kind(self) -> u8 {
        (self.0 & ((1 << KIND_BITS) - 1)) as u8
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_fit_a_javascript_number() {
        let id = Id::new(GENERATIONS - 1, SHARDS - 1, SLOTS - 1, IdKind::Watch);
        assert!(id.to_raw() < 1 << 53);
        assert_eq!((id.generation(), id.shard()), (GENERATIONS - 1, SHARDS - 1));
        assert_eq!((id.index(), id.kind()), (SLOTS - 1, IdKind::Watch as u8));
        let id = Id::new(1, 0, 0, IdKind::Operation);
        assert!(!id.is_none());
        assert_eq!((id.generation(), id.shard(), id.index(), id.kind()), (1, 0, 0, 1));
    }
}
