//! Lookups: a question to the group, and the wait for its answers.
//!
//! What was heard before is known already, so a lookup waits for news only. It ends when all nodes that
//! are known answered and nothing more comes; it goes on while answers come; and when nothing was
//! ever heard of its subject, it waits longer once before it says that there is nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::limiter::Cost;
use super::packet::Question;
use super::shared::Shared;
use super::socket::From;
use super::table::{LOOKUP_LIMIT, Lookup, Subject};
use crate::error::{Error, Result};

/// A lookup with answers ends when no further one came for this long.
const QUIET: Duration = Duration::from_millis(30);
/// Times the wait of a lookup that the first one for a subject waits, and its bound.
const PATIENCE: (u32, Duration) = (10, Duration::from_secs(1));
/// So many new answers to one question may be more than buffers held: what got lost is asked again.
const MANY: usize = 32;

/// A lookup under way; dropping it ends it.
#[derive(Debug)]
pub(super) struct Gathering<'a> {
    shared: &'a Shared,
    lookup: Arc<Lookup>,
}

impl Shared {
    /// Asks the group and waits until the answers are in.
    pub(super) async fn gather(
        &self,
        subject: Subject,
        question: Question,
    ) -> Result<Gathering<'_>> {
        let shared = self;
        let started = Instant::now();
        let begun = shared.with(|state| state.table.begin(subject.clone(), started));
        let lookup = begun.ok_or_else(|| {
            Error::resource_exhausted(format!("more than {LOOKUP_LIMIT} mDNS lookups wait already"))
        })?;
        let gathering = Gathering { shared, lookup };
        shared.read_kept(&subject).await;
        if shared.ask(From::Asking, &question) == 0 {
            return Err(Error::unavailable("mdns: no interface can send a packet now"));
        }
        let (times, bound) = PATIENCE;
        let patient = started + shared.wait.max((shared.wait * times).min(bound));
        let mut end = started + shared.wait;
        // Each pause between two questions is twice the one before.
        let mut pause = shared.wait / 2;
        let mut again = started + pause;
        let mut answered: Option<Instant> = None;
        let mut news = 0;
        loop {
            let (missing, waits) = shared.with(|state| {
                let table = &state.table;
                (table.misses(&subject, started), table.may_wait(&subject, started))
            });
            let quiet = answered.map(|last| last + QUIET);
            let settled = quiet.filter(|_| !missing);
            if waits && answered.is_none() {
                end = patient;
            }
            // Answers that still come are waited for.
            let end = quiet.map_or(end, |quiet| end.max(quiet.min(patient)));
            let wake = settled.into_iter().chain([again]).fold(end, Instant::min);
            tokio::select! {
                () = gathering.lookup.heard.notified() => {
                    answered = Some(Instant::now());
                    continue;
                }
                () = sleep_until(wake) => {}
            }
            let now = Instant::now();
            let settled = settled.is_some_and(|settled| now >= settled);
            let many = gathering.lookup.news() - news >= MANY && now < patient;
            if (now >= end || settled) && !many {
                shared.with(|state| state.table.waited(&gathering.lookup, now));
                return Ok(gathering);
            }
            let unanswered = answered.is_none() || missing;
            if now >= end || settled || now >= again && unanswered {
                news = gathering.lookup.news();
                shared.ask(From::Asking, &question);
                // From the group's port too, where a firewall keeps answers out of others.
                if unanswered && pause > shared.wait / 2 {
                    shared.ask(From::Group, &question);
                }
                answered = answered.map(|_| now);
            }
            if now >= again {
                pause *= 2;
                again = now + pause;
            }
        }
    }
}

impl Shared {
    /// Reads texts about `subject` that were kept unread, as far as their senders may cost.
    async fn read_kept(&self, subject: &Subject) {
        let kept = self.with(|state| state.table.unread(subject));
        let cost = if *subject == Subject::List { Cost::Unasked } else { Cost::Asked };
        for unread in kept {
            // There may be many, and others have work to do.
            tokio::task::yield_now().await;
            if let Some(payload) = self.inflate(&unread.text, unread.from, cost) {
                self.with(|state| state.table.fill(&unread, payload));
            }
        }
    }
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        self.shared.with(|state| state.table.end(&self.lookup));
    }
}
