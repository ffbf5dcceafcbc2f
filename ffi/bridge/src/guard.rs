//! No panic crosses the border.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failure::{Failure, Result};
use crate::status::Status;

/// Runs `work`; a panic in it becomes [`Status::PANIC`] with its message. What `work` touches is behind locks that survive
/// a panic or is never looked at again, so unwinding out of it is safe to go on from.
///
/// # Errors
/// What `work` fails with, or [`Status::PANIC`].
pub fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Failure::new(Status::PANIC, text(panic.as_ref()))))
}

/// The message of a panic.
pub(crate) fn text(panic: &(dyn Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown cause");
    format!("this is a bug in micro, please report it: panicked with: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_becomes_a_status_with_its_message() {
        let number = 7;
        let failure = guard::<()>(|| panic!("number {number}")).expect_err("panicked");
        assert_eq!(failure.status(), Status::PANIC);
        assert!(failure.message().ends_with("number 7"), "{failure}");
    }

    #[test]
    fn what_works_passes_through() {
        assert_eq!(guard(|| Ok(1)).ok(), Some(1));
    }
}
