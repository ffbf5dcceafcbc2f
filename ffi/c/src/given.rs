//! Structs of the caller that begin with their size, so that later versions can add to them.

use std::mem::MaybeUninit;

use micro_bridge::{Failure, Result};

/// A struct that only ever grows. One of zeros is a valid one.
pub(crate) trait Grows: Copy {
    /// What messages call it.
    const NAME: &'static str;
    /// Where its first version ends.
    const LEAST: usize;
    /// What the bridge makes of it.
    type Read<'a>;

    /// Reads it, and takes what it gives away, also when the rest cannot be read.
    ///
    /// # Safety
    /// What the struct points at is what it says, and is there for as long as `'a`.
    unsafe fn read<'a>(self) -> Result<Self::Read<'a>>;
}

/// Reads a struct of the caller, as far as the caller knows it: fields that came later are 0.
///
/// # Errors
/// `ARG` for NULL, for a size that no version has, and for what cannot be read.
///
/// # Safety
/// The caller's promise: NULL, or of the size that its first number says, and what [`Grows::read`] asks for.
pub(crate) unsafe fn given<'a, T: Grows>(pointer: *const T) -> Result<T::Read<'a>> {
    if pointer.is_null() {
        return Err(Failure::argument(format!("the {} is NULL", T::NAME)));
    }
    // SAFETY: the size stands at the head of every version.
    let size = unsafe { *pointer.cast::<u32>() } as usize;
    let (name, here) = (T::NAME, size_of::<T>());
    if !(T::LEAST..=4096).contains(&size) {
        let wrong = format!("size of the {name} is {size}: set it to sizeof, here {here}");
        return Err(Failure::argument(wrong));
    }
    let mut known = MaybeUninit::<T>::zeroed();
    // SAFETY: both have as many bytes, and whatever is not copied is 0. The rest is the caller's promise.
    unsafe {
        let bytes = known.as_mut_ptr().cast::<u8>();
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), bytes, size.min(here));
        known.assume_init().read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct as a later version may have it.
    #[repr(C)]
    #[derive(Debug, Clone, Copy)]
    struct Grown {
        size: u32,
        first: u32,
        added: u64,
    }

    const FIRST: usize = 8;

    impl Grows for Grown {
        const NAME: &'static str = "struct";
        const LEAST: usize = FIRST;
        type Read<'a> = Self;

        #[allow(
            clippy::needless_lifetimes,
            clippy::extra_unused_lifetimes,
            reason = "as in the trait"
        )]
        unsafe fn read<'a>(self) -> Result<Self::Read<'a>> {
            Ok(self)
        }
    }

    /// What this version makes of `bytes` that say to be `size` long.
    fn read(size: usize, bytes: &[u64; 3]) -> Result<Grown> {
        let mut bytes = *bytes;
        let pointer = bytes.as_mut_ptr();
        // SAFETY: there are as many bytes as the struct has, and it points at nothing.
        unsafe {
            pointer.cast::<u32>().write(size as u32);
            given(pointer.cast::<Grown>())
        }
    }

    #[test]
    fn what_a_program_does_not_know_yet_is_zero() {
        assert_eq!(read(FIRST, &[0, 7, 7]).expect("an old program").added, 0);
        assert_eq!(read(size_of::<Grown>(), &[0, 7, 7]).expect("a program of today").added, 7);
    }

    #[test]
    fn what_this_version_does_not_know_is_left_alone() {
        let new = read(size_of::<Grown>() + 8, &[0, 7, 9]).expect("a new program");
        assert_eq!((new.size as usize, new.added), (size_of::<Grown>() + 8, 7));
    }

    #[test]
    fn a_size_that_no_version_has_is_refused() {
        for wrong in [0, FIRST - 1, 4097] {
            let failure = read(wrong, &[0; 3]).expect_err("no such size");
            assert!(failure.message().starts_with("size of the struct is"), "{failure}");
        }
    }
}
