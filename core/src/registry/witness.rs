//! Witnesses that a node lives, without the registry's help: callers that hold a healthy
//! connection to it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::plugin::caught;

/// A component that talks to nodes. Asked before a node is given up for want of news.
pub trait Witness: fmt::Debug + Send + Sync + 'static {
    /// True while the node at `address` (`host:port`) is known to live, as by an open connection.
    /// Answers at once: it is asked where nothing may wait.
    fn vouches(&self, address: &str) -> bool;
}

/// Most witnesses asked; clients are few.
const LIMIT: usize = 256;

/// The witnesses of a registry.
#[derive(Debug, Default)]
pub(crate) struct Witnesses(Arc<Several>);

#[derive(Debug, Default)]
struct Several(Mutex<Vec<Weak<dyn Witness>>>);

impl Witnesses {
    /// Adds one; those that are gone make room. More than 256 are not asked.
    pub(crate) fn add(&self, witness: Weak<dyn Witness>) {
        let mut witnesses = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        witnesses.retain(|known| known.strong_count() > 0 && !Weak::ptr_eq(known, &witness));
        if witnesses.len() < LIMIT {
            witnesses.push(witness);
        }
    }

    /// True when one of them vouches for the node at `address`.
    pub(crate) fn vouch(&self, address: &str) -> bool {
        self.0.vouches(address)
    }

    /// All of them as one, to be given to another registry, while these are kept.
    pub(crate) fn as_witness(&self) -> Weak<dyn Witness> {
        let several: Weak<Several> = Arc::downgrade(&self.0);
        several
    }
}

impl Witness for Several {
    fn vouches(&self, address: &str) -> bool {
        let witnesses = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut living = witnesses.iter().filter_map(Weak::upgrade);
        // A registry asks in a task that has more to do.
        living.any(|witness| caught("a witness", || witness.vouches(address)).unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Connected(&'static str);

    impl Witness for Connected {
        fn vouches(&self, address: &str) -> bool {
            self.0 == address
        }
    }

    #[test]
    fn one_witness_is_enough_and_only_while_it_lives() {
        let (inner, witnesses) = (Witnesses::default(), Witnesses::default());
        // As a registry that passes its own on does.
        inner.add(witnesses.as_witness());
        let (first, second) = (Arc::new(Connected("a:1")), Arc::new(Connected("b:1")));
        let (weak_first, weak_second) = (Arc::downgrade(&first), Arc::downgrade(&second));
        witnesses.add(weak_first);
        witnesses.add(weak_second);
        assert!(inner.vouch("a:1") && inner.vouch("b:1") && !inner.vouch("c:1"));
        drop(second);
        assert!(inner.vouch("a:1") && !inner.vouch("b:1"));
    }

    #[derive(Debug)]
    struct Confused;

    impl Witness for Confused {
        fn vouches(&self, _address: &str) -> bool {
            panic!("a bug of the witness");
        }
    }

    #[test]
    fn witness_that_panics_vouches_for_nothing_and_keeps_no_other_from_it() {
        let witnesses = Witnesses::default();
        let (confused, connected) = (Arc::new(Confused), Arc::new(Connected("a:1")));
        let (weak_confused, weak_connected) =
            (Arc::downgrade(&confused), Arc::downgrade(&connected));
        witnesses.add(weak_confused);
        witnesses.add(weak_connected);
        assert!(witnesses.vouch("a:1") && !witnesses.vouch("b:1"));
    }
}
