//! Names that come from outside, as far as they are kept.

/// Bytes kept of each name; callers send their own.
pub(super) const MAX_NAME: usize = 128;

/// A name as far as it is kept, with whole characters.
pub(super) fn clipped(name: &str) -> &str {
    let mut end = name.len().min(MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}
