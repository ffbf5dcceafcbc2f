//! What every [`Source`] promises, as one suite that runs over each implementation.
//!
//! One line in the tests of an implementation makes a test of each case:
//!
//! ```
//! use micro::config::Memory;
//! use micro::config::contract::Subject;
//!
//! micro::config_source_contract!(|| {
//!     let source = Memory::new(serde_json::json!({})).expect("a source");
//!     let writer = source.clone();
//!     Subject::new(source, move |json| writer.update(json).expect("it is taken"))
//! });
//! # fn main() {}
//! ```
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
use serde_json::Value as Json;

use super::source::Source;

/// Makes a test of each case of the [contract](crate::config::contract), on the [`Subject`] that the given closure makes anew for it, inside
/// of a tokio runtime.
#[macro_export]
macro_rules! config_source_contract {
    (@tests ($subject:expr) $($case:ident)+) => {
        mod contract_suite {
            use super::*;
            $(#[test]
            fn $case() {
                $crate::config::contract::run(stringify!($case), $subject);
            })+
        }
    };
    (@cases () $($case:ident)+) => {
        &[$(Case { name: stringify!($case), play: |subject| Box::pin(cases::$case(subject)) }),+]
    };
    (@$then:ident $with:tt) => {
        $crate::config_source_contract! { @$then $with
            a_source_says_the_same_until_it_changes every_value_names_its_source
            a_change_after_the_watch_began_is_told a_wait_that_is_given_up_loses_nothing
            a_change_reaches_the_configuration
        }
    };
    ($subject:expr) => {
        $crate::config_source_contract! { @tests ($subject) }
    };
}

/// A source under test, and a way to have it say something else.
pub struct Subject {
    source: Arc<dyn Source>,
    change: Box<dyn Fn(Json) + Send + Sync>,
    patience: Duration,
    keep: Box<dyn Any + Send + Sync>,
}

impl Subject {
    /// Once `change` has returned, the source says the object that it was given.
    pub fn new(source: impl Source, change: impl Fn(Json) + Send + Sync + 'static) -> Self {
        Self {
            source: Arc::new(source),
            change: Box::new(change),
            patience: Duration::from_secs(20),
            keep: Box::new(()),
        }
    }

    /// How long a change may take; 20 seconds unless set.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
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
        f.debug_struct("Subject").field("source", &self.source).finish_non_exhaustive()
    }
}

/// One promise.
pub struct Case {
    name: &'static str,
    play: fn(Subject) -> BoxFuture<'static, ()>,
}

impl Case {
    /// The promise as a name in `snake_case`.
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
    config_source_contract!(@cases ())
}

/// Runs one case on a runtime of its own, on this thread; `make` is called inside of it. Panics, as tests do, when the promise
/// is broken, and when there is no case of this name.
pub fn run(name: &str, make: impl FnOnce() -> Subject) {
    let case = cases().iter().find(|case| case.name == name).expect("a case of this name");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async { case.run(make()).await });
}
