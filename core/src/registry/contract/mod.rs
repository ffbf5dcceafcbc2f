//! What every [`Registry`] promises, as one suite that runs over each implementation.
//!
//! One line in the tests of an implementation makes a test of each case:
//!
//! ```
//! use micro::registry::contract::Subject;
//! use micro::registry::Memory;
//!
//! micro::registry_contract!(|| {
//!     let registry = Memory::new();
//!     Subject::new(registry.clone(), registry)
//! });
//! # fn main() {}
//! ```
//!
//! Any other harness takes the [`cases`] one by one, and runs them on a runtime of its own:
//!
//! ```
//! use micro::registry::Memory;
//! use micro::registry::contract::{self, Subject};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! for case in contract::cases().iter().filter(|case| case.name().contains("lookup")) {
//!     let registry = Memory::new();
//!     case.run(Subject::new(registry.clone(), registry)).await;
//! }
//! # }
//! ```
//!
//! The cases use names of their own, so that implementations may share a network, a machine or a server with others.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test says what it expected by failing"
)]

mod cases;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Registry;

/// Makes a test of each case of the [contract](crate::registry::contract), on the [`Subject`] that the given closure makes anew
/// for it, inside of a tokio runtime.
#[macro_export]
macro_rules! registry_contract {
    (@tests ($subject:expr) $($case:ident)+) => {
        mod contract_suite {
            use super::*;
            $(#[test]
            fn $case() {
                $crate::registry::contract::run(stringify!($case), $subject);
            })+
        }
    };
    (@cases () $($case:ident)+) => {
        &[$(Case { name: stringify!($case), play: |subject| Box::pin(cases::$case(subject)) }),+]
    };
    (@$then:ident $with:tt) => {
        $crate::registry_contract! { @$then $with
            lookup_returns_one_record_per_version unknown_service_is_not_found
            record_without_nodes_is_refused deregistration_removes_only_the_given_node
            last_node_takes_its_version_and_service_along
            node_that_is_not_refreshed_expires_with_an_event refreshed_node_lives_on
            refresh_without_change_is_no_event changed_address_and_metadata_are_an_update
            changed_endpoints_are_an_update list_names_every_service
            watch_reports_only_affected_nodes watch_of_one_service_hears_nothing_of_others
            dropped_watcher_leaves_others_alone nothing_is_lost_between_watch_and_lookup
            concurrent_registrations_are_all_kept
        }
    };
    ($subject:expr) => {
        $crate::registry_contract! { @tests ($subject) }
    };
}

/// An implementation under test: two handles on the same world, and what it is excused from.
pub struct Subject {
    /// Registers.
    pub writer: Arc<dyn Registry>,
    /// Looks and watches; another handle, where the implementation has such a thing.
    pub reader: Arc<dyn Registry>,
    /// False when records travel without the metadata of the service. True unless it is set.
    pub carries_service_metadata: bool,
    /// False when a list names services without their versions. True unless it is set.
    pub lists_versions: bool,
    /// A time to live that the implementation can keep, and refresh three times over: 2 s unless it is set.
    pub ttl: Duration,
    /// How long anything may take that is not expiry: 10 s unless it is set.
    pub patience: Duration,
    keep: Box<dyn Any + Send + Sync>,
}

impl Subject {
    /// What is registered at `writer` is to be seen at `reader`, which may be the same.
    pub fn new(writer: impl Registry, reader: impl Registry) -> Self {
        Self {
            writer: Arc::new(writer),
            reader: Arc::new(reader),
            carries_service_metadata: true,
            lists_versions: true,
            ttl: Duration::from_secs(2),
            patience: Duration::from_secs(10),
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
            .field("writer", &self.writer)
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

/// One promise.
pub struct Case {
    name: &'static str,
    play: fn(Subject) -> BoxFuture<'static, ()>,
}

impl Case {
    /// The promise as a name in `snake_case`, such as `unknown_service_is_not_found`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the case inside of a tokio runtime. Panics, as tests do, when the promise is broken.
    pub async fn run(&self, subject: Subject) {
        (self.play)(subject).await;
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Every case.
pub fn cases() -> &'static [Case] {
    registry_contract!(@cases ())
}

/// Runs one case on a runtime of its own, on this thread; `make` is called inside of it. Panics, as tests do, when the promise
/// is broken, and when there is no case of this name.
pub fn run(name: &str, make: impl FnOnce() -> Subject) {
    let case = cases().iter().find(|case| case.name == name).expect("a case of this name");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async { case.run(make()).await });
}

/// A name that no other test uses, for registries that share a network or a machine.
pub fn unique(name: &str) -> String {
    format!("{name}-{}", &uuid::Uuid::new_v4().simple().to_string()[..12])
}
