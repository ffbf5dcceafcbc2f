//! What all [`Locks`] promise, as one suite that runs over each implementation.
//!
//! One line in the tests of a store makes a test of each case:
//!
//! ```
//! use micro::store::Memory;
//! use micro::sync::contract::Subject;
//!
//! micro::sync_contract!(|| {
//!     let store = Memory::new();
//!     Subject::over(store.clone(), store)
//! });
//! # fn main() {}
//! ```
//!
//! Any other harness takes the [`cases`] one by one, and runs them on a runtime of its own. A case fails with the promise that was
//! broken. The cases use names of their own, so that implementations may share a server with others.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test says what it expected by failing"
)]

mod cases;
mod history;
mod together;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use self::history::{History, check};
use super::{Locks, over};
use crate::store::Store;

/// Makes a test of each case of the [contract](crate::sync::contract), on the [`Subject`] that the given closure makes anew
/// for it, inside of a tokio runtime.
#[macro_export]
macro_rules! sync_contract {
    (@tests ($subject:expr) $($module:ident { $($case:ident)+ })+) => {
        mod sync_contract_suite {
            use super::*;
            $($(#[test]
            fn $case() {
                $crate::sync::contract::run(stringify!($case), $subject);
            })+)+
        }
    };
    (@cases () $($module:ident { $($case:ident)+ })+) => {
        &[$($(Case { name: stringify!($case), play: |subject| Box::pin($module::$case(subject)) }),+),+]
    };
    (@$then:ident $with:tt) => {
        $crate::sync_contract! { @$then $with
            cases {
                those_who_wait_hold_it_in_the_order_in_which_they_came
                a_lock_that_is_given_back_is_had_at_once
                a_holder_that_vanished_is_out_after_its_time_and_not_earlier
                a_holder_that_lives_is_renewed a_place_is_kept_when_it_is_renewed
                what_is_out_of_the_line_is_not_renewed tokens_grow names_of_any_text_are_kept_apart
            }
            together {
                many_contend_and_one_holds_it as_many_hold_a_semaphore_as_it_has_seats
                a_leader_is_followed_by_the_next_and_those_who_look_on_see_it
                what_an_earlier_holder_writes_is_refused parties_meet_at_a_barrier
                all_take_from_one_bucket work_is_done_once
            }
        }
    };
    ($subject:expr) => {
        $crate::sync_contract! { @tests ($subject) }
    };
}

/// An implementation under test: two handles on the same lines.
pub struct Subject {
    /// One handle.
    pub one: Arc<dyn Locks>,
    /// The other, of another process as far as that can be had.
    pub other: Arc<dyn Locks>,
    /// The shortest time to live that it is exact about: 1 s unless it is set.
    pub ttl: Duration,
    /// How much later than its time one that vanished may be out of the line: 1 s unless it is set.
    pub late: Duration,
    /// How long anything may take that is not waited for on purpose: 20 s unless it is set.
    pub patience: Duration,
    /// The stores that they are over, if they are.
    stores: Option<[Arc<dyn Store>; 2]>,
    keep: Box<dyn Any + Send + Sync>,
}

impl Subject {
    /// Locks over two handles on the same store, which may be the same handle.
    pub fn over(one: impl Store, other: impl Store) -> Self {
        let stores: [Arc<dyn Store>; 2] = [Arc::new(one), Arc::new(other)];
        let [one, other] = stores.clone().map(over);
        Self { stores: Some(stores), ..Self::new(one, other) }
    }

    /// Locks that are over no store.
    pub fn new(one: Arc<dyn Locks>, other: Arc<dyn Locks>) -> Self {
        let second = Duration::from_secs(1);
        let (patience, keep) = (20 * second, Box::new(()));
        Self { one, other, ttl: second, late: second, patience, stores: None, keep }
    }

    /// Keeps `guard`, for example a temporary folder or a process, until the case has ended.
    #[must_use]
    pub fn keeping(mut self, guard: impl Any + Send + Sync) -> Self {
        self.keep = Box::new(guard);
        self
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("one", &self.one)
            .field("other", &self.other)
            .finish_non_exhaustive()
    }
}

/// One promise.
pub struct Case {
    name: &'static str,
    play: for<'a> fn(&'a Subject) -> BoxFuture<'a, ()>,
}

impl Case {
    /// The promise as a name in `snake_case`, such as `tokens_grow`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the case inside of a tokio runtime. Panics, as tests do, when the promise is broken.
    pub async fn run(&self, subject: Subject) {
        (self.play)(&subject).await;
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Every case.
pub fn cases() -> &'static [Case] {
    sync_contract!(@cases ())
}

/// Runs one case on a runtime of its own, on this thread; `make` is called inside of it. Panics, as tests do, when the promise
/// is broken, and when there is no case of this name.
pub fn run(name: &str, make: impl FnOnce() -> Subject) {
    let case = cases().iter().find(|case| case.name == name).expect("a case of this name");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async { case.run(make()).await });
}
