//! Changes, as they are made.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use micro::store::{Changes, Event, Watch};
use micro::{Code, Error, Reason, Result};
use tokio::time::{sleep, timeout};

use crate::beat::begin;
use crate::layout::state;
use crate::pulse::{Registered, register};
use crate::query::changes;
use crate::shared::Shared;

/// How often it is made sure that something will wake it.
const SURE: Duration = Duration::from_secs(5);

/// A watch of one caller.
#[derive(Debug)]
pub(crate) struct Watching {
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    registered: Registered,
    /// Changes up to this one were fetched.
    fetched: u64,
    events: VecDeque<Event>,
    /// There may be more than was fetched.
    has_more: bool,
    failing: Option<Instant>,
}

impl Watching {
    /// Begins a watch.
    pub(crate) async fn begin(shared: &Arc<Shared>, watch: Watch) -> Result<Self> {
        let registered = register(&shared.pulse, &watch.place, &watch.prefix);
        begin(shared);
        let state = shared.reader.ask("to watch", state).await?;
        let fetched = watch.after.unwrap_or(state.version).min(state.version);
        known(fetched, state.floor)?;
        Ok(Self {
            shared: shared.clone(),
            watch: Arc::new(watch),
            registered,
            fetched,
            events: VecDeque::new(),
            has_more: true,
            failing: None,
        })
    }

    async fn fetch(&mut self) -> Result<()> {
        let (watch, after) = (self.watch.clone(), self.fetched);
        let asked =
            self.shared.reader.ask("to watch", move |database| changes(database, &watch, after));
        let fetched = asked.await?;
        known(after, fetched.state.floor)?;
        self.has_more = fetched.has_more;
        self.fetched = match fetched.events.last() {
            Some(last) if fetched.has_more => last.version,
            _ => fetched.state.version,
        };
        self.events = fetched.events.into();
        Ok(())
    }
}

#[async_trait]
impl Changes for Watching {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if !self.has_more {
                while timeout(SURE, self.registered.wake.notified()).await.is_err() {
                    // What woke it may have ended with its runtime.
                    begin(&self.shared);
                }
                self.has_more = true;
            }
            match self.fetch().await {
                Ok(()) => self.failing = None,
                Err(error) if error.code() == Code::Unavailable => {
                    let since = *self.failing.get_or_insert_with(Instant::now);
                    if since.elapsed() > SURE {
                        self.failing = None;
                        return Err(error);
                    }
                    sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// # Errors
/// `OUT_OF_RANGE` where changes after `seen` were forgotten.
fn known(seen: u64, floor: u64) -> Result<()> {
    if seen >= floor {
        return Ok(());
    }
    let text = format!(
        "deletions up to version {floor} are no longer known, and {seen} was the last that was seen: list again and watch from there, \
         or raise `history=` in the URL"
    );
    Err(Error::new(Code::OutOfRange, text).with_reason(Reason::HistoryGone))
}
