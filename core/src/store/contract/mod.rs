//! What every [`Store`] promises, as one suite that runs over each implementation.
//!
//! One line in the tests of an implementation makes a test of each case:
//!
//! ```
//! use micro::store::Memory;
//! use micro::store::contract::Subject;
//!
//! micro::store_contract!(|| {
//!     let store = Memory::new();
//!     Subject::new(store.clone(), store)
//! });
//! # fn main() {}
//! ```
//!
//! Any other harness takes the [`cases`] one by one, and runs them on a runtime of its own:
//!
//! ```
//! use micro::store::Memory;
//! use micro::store::contract::{self, Subject};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! for case in contract::cases().iter().filter(|case| case.name().contains("condition")) {
//!     let store = Memory::new();
//!     case.run(Subject::new(store.clone(), store)).await;
//! }
//! # }
//! ```
//!
//! What a store promises by its [`Abilities`](super::Abilities) is asked of it, and what it does not promise it has to refuse.
//! A case fails with the promise that was broken. The cases use databases of their own, so that implementations may share a server
//! with others.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test says what it expected by failing"
)]

mod abilities;
mod cases;
mod conditions;
mod lists;
mod steps;
mod times;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{MAX_VALUE, Store};

/// Makes a test of each case of the [contract](crate::store::contract), on the [`Subject`] that the given closure makes anew
/// for it, inside of a tokio runtime.
#[macro_export]
macro_rules! store_contract {
    (@tests ($subject:expr) $($module:ident { $($case:ident)+ })+) => {
        mod contract_suite {
            use super::*;
            $($(#[test]
            fn $case() {
                $crate::store::contract::run(stringify!($case), $subject);
            })+)+
        }
    };
    (@cases () $($module:ident { $($case:ident)+ })+) => {
        &[$($(Case { name: stringify!($case), play: |subject| Box::pin($module::$case(subject)) }),+),+]
    };
    (@$then:ident $with:tt) => {
        $crate::store_contract! { @$then $with
            cases {
                what_is_written_is_read keys_of_any_text_are_kept_apart
                a_value_is_kept_whole_or_refused_whatever_its_size metadata_of_any_json_is_kept
                what_cannot_be_kept_is_refused databases_and_tables_are_apart_and_named
                a_call_that_is_given_up_leaves_all_or_nothing
            }
            conditions {
                versions_grow_with_every_change a_condition_that_does_not_hold_changes_nothing
                of_many_under_one_condition_one_wins what_is_counted_by_version_loses_nothing
                a_stale_fence_changes_nothing
            }
            times {
                a_record_is_gone_when_its_time_is_over a_write_sets_the_time_anew
                the_version_of_what_is_over_is_no_version the_time_that_is_left_can_be_seen
            }
            lists {
                a_list_is_in_the_order_of_bytes a_list_is_of_a_prefix_and_a_suffix
                a_list_is_walked_in_parts_in_both_orders a_page_has_bounds a_list_of_keys_has_no_values
            }
            abilities {
                a_batch_is_made_whole_or_not_at_all batches_of_a_key_are_made_one_after_the_other
                a_watch_sees_changes_in_order a_watch_sees_what_it_is_about_and_no_more
                a_watch_sees_what_is_over waiting_for_a_change_may_be_cancelled
                a_watch_begins_after_a_version what_it_cannot_do_is_refused
            }
        }
    };
    ($subject:expr) => {
        $crate::store_contract! { @tests ($subject) }
    };
}

/// An implementation under test: two handles on the same records, and what it is excused from.
pub struct Subject {
    /// Reads and writes.
    pub one: Arc<dyn Store>,
    /// Another handle, where the implementation has such a thing.
    pub other: Arc<dyn Store>,
    /// Bytes of the largest value that is kept; larger ones are refused. [`MAX_VALUE`] unless it is set.
    pub max_value: usize,
    /// Changes of the largest batch that is made; larger ones are refused. 1024 unless it is set.
    pub max_changes: usize,
    /// How long after the end of its time a record may still be seen: 500 ms unless it is set.
    pub tardiness: Duration,
    /// How long anything may take that is not waited for on purpose: 20 s unless it is set.
    pub patience: Duration,
    keep: Box<dyn Any + Send + Sync>,
}

impl Subject {
    /// What is written at `one` is read at `other`, which may be the same.
    pub fn new(one: impl Store, other: impl Store) -> Self {
        Self {
            one: Arc::new(one),
            other: Arc::new(other),
            max_value: MAX_VALUE,
            max_changes: 1024,
            tardiness: Duration::from_millis(500),
            patience: Duration::from_secs(20),
            keep: Box::new(()),
        }
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
    /// The promise as a name in `snake_case`, such as `a_list_is_in_the_order_of_bytes`.
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
    store_contract!(@cases ())
}

/// Runs one case on a runtime of its own, on this thread; `make` is called inside of it. Panics, as tests do, when the promise
/// is broken, and when there is no case of this name.
pub fn run(name: &str, make: impl FnOnce() -> Subject) {
    let case = cases().iter().find(|case| case.name == name).expect("a case of this name");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async { case.run(make()).await });
}
