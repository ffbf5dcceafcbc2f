//! What every [`Broker`] promises, as one suite that runs over each implementation.
//!
//! One line in the tests of an implementation makes a test of each case:
//!
//! ```
//! use micro::broker::Memory;
//! use micro::broker::contract::Subject;
//!
//! micro::broker_contract!(|| {
//!     let broker = Memory::new();
//!     Subject::new(broker.clone(), broker)
//! });
//! # fn main() {}
//! ```
//!
//! Any other harness takes the [`cases`] one by one, and runs them on a runtime of its own:
//!
//! ```
//! use micro::broker::Memory;
//! use micro::broker::contract::{self, Subject};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! for case in contract::cases().iter().filter(|case| case.name().contains("queue")) {
//!     let broker = Memory::new();
//!     case.run(Subject::new(broker.clone(), broker)).await;
//! }
//! # }
//! ```
//!
//! What a broker promises by its [`Abilities`](super::Abilities) is asked of it, and what it does not promise it has to refuse.
//! A case fails with the promise that was broken. The cases use topics of their own, so that implementations may share a server
//! with others.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test says what it expected by failing"
)]

mod abilities;
mod cases;
mod steps;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Broker;

/// Makes a test of each case of the [contract](crate::broker::contract), on the [`Subject`] that the given closure makes anew
/// for it, inside of a tokio runtime.
#[macro_export]
macro_rules! broker_contract {
    (@tests ($subject:expr) $($module:ident { $($case:ident)+ })+) => {
        mod contract_suite {
            use super::*;
            $($(#[test]
            fn $case() {
                $crate::broker::contract::run(stringify!($case), $subject);
            })+)+
        }
    };
    (@cases () $($module:ident { $($case:ident)+ })+) => {
        &[$($(Case { name: stringify!($case), play: |subject| Box::pin($module::$case(subject)) }),+),+]
    };
    (@$then:ident $with:tt) => {
        $crate::broker_contract! { @$then $with
            cases {
                messages_arrive_as_they_were_sent headers_of_any_kind_arrive topics_of_any_text_are_kept_apart
                a_message_arrives_whole_or_is_refused_whatever_its_size a_queue_shares_and_others_get_all
                a_subscription_that_is_dropped_gets_nothing a_message_without_subscribers_is_no_failure
                waiting_for_a_message_may_be_cancelled what_makes_no_sense_is_refused
                what_it_cannot_do_is_refused
            }
            abilities {
                a_failure_is_delivered_again_after_its_pause what_is_dropped_is_delivered_again
                a_message_that_fails_too_often_is_a_dead_letter
                a_rejected_message_is_a_dead_letter_at_once no_more_are_in_flight_than_were_asked_for
                a_lease_lasts_while_it_is_extended_and_not_longer a_queue_goes_on_where_it_was
                older_messages_are_replayed a_delayed_message_is_held_back
                an_expired_message_is_not_delivered messages_of_one_key_keep_their_order
                an_id_is_delivered_once the_highest_priority_comes_first
            }
        }
    };
    ($subject:expr) => {
        $crate::broker_contract! { @tests ($subject) }
    };
}

/// An implementation under test: two handles on the same messages, and what it is excused from.
pub struct Subject {
    /// Publishes, and subscribes too.
    pub publisher: Arc<dyn Broker>,
    /// Subscribes; another handle, where the implementation has such a thing.
    pub subscriber: Arc<dyn Broker>,
    /// False when one header has room for one value, so that several are joined. True unless it is set.
    pub repeats_headers: bool,
    /// True when a subscription to `*` is one to more than the topic of this name. False unless it is set.
    pub has_wildcards: bool,
    /// How long anything may take that is not waited for on purpose: 20 s unless it is set.
    pub patience: Duration,
    keep: Box<dyn Any + Send + Sync>,
}

impl Subject {
    /// What is published at `publisher` is delivered at `subscriber`, which may be the same.
    pub fn new(publisher: impl Broker, subscriber: impl Broker) -> Self {
        Self {
            publisher: Arc::new(publisher),
            subscriber: Arc::new(subscriber),
            repeats_headers: true,
            has_wildcards: false,
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
            .field("publisher", &self.publisher)
            .field("subscriber", &self.subscriber)
            .finish_non_exhaustive()
    }
}

/// One promise.
pub struct Case {
    name: &'static str,
    play: for<'a> fn(&'a Subject) -> BoxFuture<'a, ()>,
}

impl Case {
    /// The promise as a name in `snake_case`, such as `a_queue_shares_and_others_get_all`.
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
    broker_contract!(@cases ())
}

/// Runs one case on a runtime of its own, on this thread; `make` is called inside of it. Panics, as tests do, when the promise
/// is broken, and when there is no case of this name.
pub fn run(name: &str, make: impl FnOnce() -> Subject) {
    let case = cases().iter().find(|case| case.name == name).expect("a case of this name");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async { case.run(make()).await });
}
