//! What all handles on a store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use micro::{Code, Error, Result};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use crate::link::Link;
use crate::options::{Options, PATIENCE};
use crate::pulse::Pulse;
use crate::queue::Queue;
use crate::said::{is_over, said, unreachable, untouched};
use crate::sql::{SCHEMA, Statements};

/// As often as tables are made that others make at the same moment.
const ATTEMPTS: u32 = 10;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) link: Link,
    pub(crate) statements: Statements,
    pub(crate) queue: Queue,
    pub(crate) pulse: Arc<Pulse>,
    is_ready: AtomicBool,
    making: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            statements: Statements::new(options.dialect, &options.tables),
            link: Link::new(options),
            queue: Queue::default(),
            pulse: Arc::default(),
            is_ready: AtomicBool::new(false),
            making: tokio::sync::Mutex::default(),
        }
    }

    /// The tables are looked at again before they are used.
    pub(crate) fn doubt(&self) {
        self.is_ready.store(false, Ordering::Relaxed);
    }

    /// Makes the tables unless they are there.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` for tables of another program, `PERMISSION_DENIED` where they may not be made, and as [`said`].
    pub(crate) async fn ready(&self) -> Result<()> {
        if self.is_ready.load(Ordering::Relaxed) {
            return Ok(());
        }
        let _one = self.making.lock().await;
        if self.is_ready.load(Ordering::Relaxed) {
            return Ok(());
        }
        let limit = 2 * PATIENCE;
        timeout(limit, self.look())
            .await
            .unwrap_or_else(|_| Err(unreachable(&self.link.options, "it took too long")))
            .map_err(untouched)?;
        self.is_ready.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn look(&self) -> Result<()> {
        let options = &self.link.options;
        for attempt in 0.. {
            let taken = self.link.take().await?;
            let failed = match taken.query(&self.statements.state, &[]).await {
                Ok(rows) => match rows.first() {
                    Some(row) => return self.check_layout(row.get(0)),
                    None => None,
                },
                Err(error) => Some(error),
            };
            let code = failed.as_ref().and_then(|error| error.code().cloned());
            match failed {
                Some(error) if code.as_ref() != Some(&SqlState::UNDEFINED_TABLE) => {
                    let is_over = is_over(&error);
                    if is_over {
                        taken.give_up();
                    }
                    if !is_over || attempt >= ATTEMPTS {
                        return Err(said(options, "to read its tables", error));
                    }
                    continue;
                }
                _ => {}
            }
            for statement in self.statements.make() {
                let Err(error) = taken.execute(&statement).await else { continue };
                let is_others = [
                    SqlState::UNIQUE_VIOLATION,
                    SqlState::DUPLICATE_TABLE,
                    SqlState::DUPLICATE_OBJECT,
                    SqlState::T_R_SERIALIZATION_FAILURE,
                    SqlState::T_R_DEADLOCK_DETECTED,
                    SqlState::UNDEFINED_TABLE,
                ];
                let is_others = error.code().is_some_and(|code| is_others.contains(code));
                if !is_others || attempt >= ATTEMPTS {
                    return Err(said(options, "to make its tables", error));
                }
                // Another makes them at the same moment.
                break;
            }
        }
        Ok(())
    }

    /// The time until the next record ends, none where none does.
    pub(crate) async fn next_end(&self) -> Result<Option<Duration>> {
        let rows = self.link.ask("to look for what ends", &self.statements.next_end, &[]).await?;
        Ok(rows.first().and_then(|row| left(row.get(0))))
    }

    /// Whether a record has ended that is still there.
    pub(crate) async fn ended(&self) -> Result<bool> {
        Ok(self.next_end().await?.is_some_and(|left| left.is_zero()))
    }

    /// # Errors
    /// `FAILED_PRECONDITION` for a layout of the tables that this program does not know.
    pub(crate) fn check_layout(&self, layout: i64) -> Result<()> {
        if layout == SCHEMA {
            return Ok(());
        }
        let options = &self.link.options;
        let advice = match layout > SCHEMA {
            true => "use a newer micro",
            false => "name other tables by `tables=` in the URL",
        };
        Err(Error::new(
            Code::FailedPrecondition,
            format!(
                "{}: the tables `{}_…` have layout {layout}, and this program knows {SCHEMA}: {advice}",
                options.place(),
                options.tables
            ),
        ))
    }
}

/// The time that is left, of the microseconds that the server says.
pub(crate) fn left(micros: Option<i64>) -> Option<Duration> {
    micros.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}
