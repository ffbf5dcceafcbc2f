//! What is made at its first use, with forks kept away meanwhile.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Held while something shared is made.
static MAKING: Mutex<()> = Mutex::new(());

/// Something shared that is made at its first use, when no fork is under way. What makes it uses no other such thing.
pub(crate) struct Shared<T> {
    made: OnceLock<T>,
    make: fn() -> T,
}

impl<T> Shared<T> {
    pub(crate) const fn new(make: fn() -> T) -> Self {
        Self { made: OnceLock::new(), make }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.made.get().unwrap_or_else(|| {
            let _making = hold();
            self.made.get_or_init(self.make)
        })
    }
}

/// Nothing shared is half made while this is held. For the thread that forks: from before the fork until after it, on both
/// sides.
#[derive(Debug)]
pub struct Held {
    _making: MutexGuard<'static, ()>,
}

/// Waits until nothing shared is being made, and keeps it so.
pub fn hold() -> Held {
    Held { _making: MAKING.lock().unwrap_or_else(PoisonError::into_inner) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shared_is_half_made_while_a_thread_forks() {
        static NUMBER: Shared<u64> = Shared::new(|| 42);
        let held = hold();
        let (begun, begins) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            let _ = begun.send(());
            *NUMBER
        });
        begins.recv().expect("the other thread");
        let until = std::time::Instant::now() + std::time::Duration::from_millis(50);
        while std::time::Instant::now() < until && !other.is_finished() {
            std::thread::yield_now();
        }
        assert!(NUMBER.made.get().is_none(), "it was made during a fork");
        drop(held);
        assert_eq!(other.join().expect("the other thread"), 42);
        let _held = hold();
        assert_eq!(*NUMBER, 42, "what is made needs nothing");
    }
}
