//! Changes, as they are made.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use micro::store::{Changes, Event, Query, Watch};
use micro::{Code, Error, Reason, Result};
use tokio::time::timeout;

use crate::beat::begin;
use crate::options::PATIENCE;
use crate::pulse::{Registered, register};
use crate::read::record;
use crate::shared::Shared;
use crate::sql::{Sql, end_of};

/// Changes that are fetched at a time.
const MOST: i64 = 256;
/// How often it is made sure that something will wake it.
const SURE: Duration = Duration::from_secs(5);

/// A watch of one caller.
#[derive(Debug)]
pub(crate) struct Watching {
    shared: Arc<Shared>,
    watch: Watch,
    end: String,
    sql: Sql,
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
        if watch.prefix.contains('\0') {
            return Err(Error::invalid_argument("no key has a zero byte, as this prefix does"));
        }
        shared.ready().await?;
        let end = end_of(&watch.prefix);
        let sql = shared.statements.changes(end.is_some());
        let registered = register(&shared.pulse, &watch.place, &watch.prefix);
        begin(shared);
        let mut watching = Self {
            shared: shared.clone(),
            end: end.unwrap_or_default(),
            sql,
            registered,
            fetched: 0,
            events: VecDeque::new(),
            has_more: true,
            failing: None,
            watch,
        };
        let state = &shared.statements.state;
        let rows = shared.link.ask("to watch", state, &[]).await?;
        let (version, floor) = match rows.first() {
            Some(row) => (row.get::<_, i64>(1), row.get::<_, i64>(2)),
            None => (0, 0),
        };
        let version = version.cast_unsigned();
        watching.fetched = watching.watch.after.unwrap_or(version).min(version);
        known(watching.fetched, floor)?;
        Ok(watching)
    }

    async fn fetch(&mut self) -> Result<()> {
        let Watch { place, prefix, .. } = &self.watch;
        let after = self.fetched.cast_signed();
        let bytes = Query::MOST_BYTES as i64;
        let rows = self
            .shared
            .link
            .ask(
                "to watch",
                &self.sql,
                &[&place.database(), &place.table(), &after, prefix, &self.end, &MOST, &bytes],
            )
            .await?;
        let Some(first) = rows.first() else {
            self.shared.doubt();
            return self.shared.ready().await;
        };
        known(self.fetched, first.get(1))?;
        let mut events = VecDeque::new();
        let mut found = 0;
        for row in &rows {
            let Some(version) = row.get::<_, Option<i64>>(2) else { break };
            let (key, value): (String, Option<Vec<u8>>) = (row.get(3), row.get(4));
            let version = version.cast_unsigned();
            let record = match value {
                None => None,
                Some(value) => Some(record(
                    &self.shared.link.options,
                    key.clone(),
                    value,
                    row.get(5),
                    version,
                    row.get(6),
                )?),
            };
            events.push_back(Event { key, version, record });
            found = row.get(7);
        }
        self.has_more = found == MOST || (events.len() as i64) < found;
        self.fetched = match events.back() {
            Some(last) if self.has_more => last.version,
            _ => first.get::<_, i64>(0).cast_unsigned(),
        };
        self.events = events;
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
                    // A server that is started again need not be noticed.
                    let since = *self.failing.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE {
                        self.failing = None;
                        return Err(error);
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// # Errors
/// `OUT_OF_RANGE` where changes after `seen` were forgotten.
fn known(seen: u64, floor: i64) -> Result<()> {
    let floor = floor.cast_unsigned();
    if seen >= floor {
        return Ok(());
    }
    let text = format!(
        "deletions up to version {floor} are no longer known, and {seen} was the last that was seen: list again and watch from there, \
         or raise `history=` in the URL"
    );
    Err(Error::new(Code::OutOfRange, text).with_reason(Reason::HistoryGone))
}
