//! A version is the revision of a change, which all of a batch share, and the change's place in its batch.

/// Bits of the place: as many changes fit into a batch.
const BITS: u32 = 10;
/// Changes of one batch, at most.
pub(super) const PLACES: u64 = 1 << BITS;

/// The version of a change.
pub(super) fn version(revision: i64, place: u16) -> u64 {
    (u64::try_from(revision).unwrap_or_default() << BITS) | u64::from(place)
}

pub(super) fn revision(version: u64) -> i64 {
    // Without its last bits, any number fits.
    (version >> BITS).cast_signed()
}

pub(super) fn place(version: u64) -> u16 {
    (version % PLACES) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_with_revisions_and_within_them() {
        let versions = [version(1, 0), version(1, 1023), version(2, 0), version(1 << 43, 5)];
        assert!(versions.is_sorted());
        for (version, parts) in versions.into_iter().zip([(1, 0), (1, 1023), (2, 0), (1 << 43, 5)])
        {
            assert_eq!((revision(version), place(version)), parts);
        }
        assert_eq!(place(u64::MAX), 1023);
        assert!(revision(u64::MAX) > 0);
    }
}
