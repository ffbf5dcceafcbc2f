//! One transaction.
//!
//! It locks the row of the state first. So transactions are made one after the other, and whatever sees a version sees all before it.
//! What needs no reading goes to the server in one piece; what does, in two.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use micro::store::{Batch, Change, Place};
use micro::{Code, Error, Result};
use tokio::time::{sleep, timeout};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::link::{Said, Taken};
use crate::options::PATIENCE;
use crate::plan::{Before, Name, Plan, Write, asks_for, needs_reading, plan};
use crate::said::{is_over, is_worth_another, said, unreachable, untouched};
use crate::shared::Shared;
use crate::sql::{Dialect, Sql};

/// As often as a transaction is tried.
const ATTEMPTS: u32 = 10;
/// How long a transaction may take before the server counts as unreachable.
pub(crate) const LIMIT: Duration = Duration::from_secs(6);

pub(crate) type Results = Vec<Result<Vec<u64>>>;

/// Why a transaction failed.
enum Failed {
    /// Nothing was changed, and it may go well another time.
    Again(Error),
    For(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::For(error)
    }
}

/// Makes a transaction, again where another was in its way. Without batches, deletes what has ended.
pub(crate) async fn tried(shared: &Arc<Shared>, batches: Option<&[&Batch]>) -> Result<Results> {
    let begun = Instant::now();
    for attempt in 1.. {
        match transact(shared, batches).await {
            Ok(results) => return Ok(results),
            Err(Failed::For(error)) => return Err(error),
            Err(Failed::Again(error)) => {
                if attempt >= ATTEMPTS || begun.elapsed() > PATIENCE {
                    return Err(untouched(error));
                }
                sleep(Duration::from_millis(fastrand::u64(..1 << attempt.min(7)))).await;
            }
        }
    }
    Ok(Vec::new())
}

/// What went wrong in a transaction.
enum Fault {
    Sql(tokio_postgres::Error),
    Other(Error),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

async fn transact(
    shared: &Arc<Shared>,
    batches: Option<&[&Batch]>,
) -> std::result::Result<Results, Failed> {
    shared.ready().await?;
    let taken = shared.link.take().await?;
    let options = &shared.link.options;
    let is_sent = AtomicBool::new(false);
    let done = timeout(LIMIT, make(shared, &taken, batches, &is_sent)).await;
    let is_sent = is_sent.into_inner();
    let Ok(done) = done else {
        taken.give_up();
        let error = unreachable(options, "it did not answer in time");
        return Err(Failed::For(if is_sent { unknown(&error) } else { untouched(error) }));
    };
    let fault = match done {
        Ok((results, told)) => {
            if let Some((names, ttl)) = told {
                shared.pulse.tell(&names, ttl);
            }
            return Ok(results);
        }
        Err(fault) => fault,
    };
    let is_over = matches!(&fault, Fault::Sql(error) if is_over(error));
    let is_closed = !is_over && !is_sent && {
        let rolled_back = timeout(LIMIT, taken.execute("ROLLBACK")).await;
        !matches!(rolled_back, Ok(Ok(())))
    };
    if is_over || is_closed {
        taken.give_up();
    }
    let error = match fault {
        Fault::Other(error) => return Err(Failed::For(untouched(error))),
        Fault::Sql(error) => error,
    };
    let code = error.code().cloned();
    let is_unknown = is_sent
        && match &code {
            // The answer is lost, and maybe only that.
            None => true,
            Some(code) => is_over || *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
        };
    let is_worth_another = is_over || is_worth_another(&error);
    let error = said(options, "changes", error);
    if is_unknown {
        return Err(Failed::For(unknown(&error)));
    }
    let is_elsewhere = [SqlState::UNDEFINED_TABLE, SqlState::NOT_NULL_VIOLATION]
        .into_iter()
        .any(|known| code.as_ref() == Some(&known));
    if is_elsewhere {
        // The tables were removed, or have another layout: whoever tries again finds out which.
        shared.doubt();
    }
    match is_worth_another || is_elsewhere {
        true => Err(Failed::Again(error)),
        false => Err(Failed::For(untouched(error))),
    }
}

fn unknown(error: &Error) -> Error {
    Error::unavailable(format!(
        "{}; the changes may have been made or not: read before they are made again",
        error.detail()
    ))
}

/// Records that were changed, and the time until the first of them ends.
type Told = (Vec<Name>, Option<Duration>);

async fn make(
    shared: &Shared,
    taken: &Taken,
    batches: Option<&[&Batch]>,
    is_sent: &AtomicBool,
) -> std::result::Result<(Results, Option<Told>), Fault> {
    let sql = &shared.statements;
    let common = [&sql.lock, &sql.count, &sql.versions, &sql.tokens, &sql.write, &sql.remember];
    taken.prepare(&common).await?;
    let mut has_begun = true;
    let plan = match batches {
        None => {
            let ended = ended(shared, taken).await?;
            plan(ended.0, &[&ended.1])
        }
        Some(batches) if batches.iter().any(|batch| needs_reading(batch)) => {
            plan(before(shared, taken, batches).await?, batches)
        }
        Some(batches) => {
            has_begun = false;
            plan(Before::default(), batches)
        }
    };
    let Plan { mut results, writes, tokens, count } = plan;
    if count == 0 && tokens.is_empty() {
        if has_begun {
            taken.execute("ROLLBACK").await?;
        }
        return Ok((results, None));
    }
    let ttl = writes.values().filter_map(|write| write.ttl).min();
    let names: Vec<Name> = writes.keys().cloned().collect();
    let payload = shared.pulse.payload(&names, ttl);
    let channel = sql.channel();
    let total = count as i64;
    let columns = Columns::new(&writes);
    let locks: Vec<&str> = tokens.keys().map(String::as_str).collect();
    let numbers: Vec<i64> = tokens.values().map(|token| token.cast_signed()).collect();
    let begin = async { if has_begun { Ok(()) } else { taken.execute(sql.begin).await } };
    let counted = async {
        if count == 0 { Ok(Vec::new()) } else { taken.query(&sql.count, &[&total]).await }
    };
    let written = async {
        if count == 0 { Ok(Vec::new()) } else { columns.write(taken, &sql.write, &total).await }
    };
    let remembered = async {
        if locks.is_empty() {
            return Ok(Vec::new());
        }
        taken.query(&sql.remember, &[&locks, &numbers]).await
    };
    let notified = async {
        if count == 0 || shared.link.options.dialect == Dialect::Cockroach {
            return Ok(Vec::new());
        }
        taken.query(&sql.notify, &[&channel, &payload]).await
    };
    let commit = taken.execute("COMMIT");
    is_sent.store(true, Ordering::Relaxed);
    // All of it is on its way before the first answer.
    let (begun, counted, written, remembered, notified, committed) =
        tokio::join!(biased; begin, counted, written, remembered, notified, commit);
    begun?;
    let counted = counted?;
    written?;
    remembered?;
    notified?;
    committed?;
    let now = counted.first().map_or(0, |row| row.get::<_, i64>(0)).cast_unsigned();
    for version in results.iter_mut().flatten().flatten() {
        if *version > 0 {
            *version += now - count;
        }
    }
    let ttl = ttl.map(|ttl| Duration::from_millis(ttl.cast_unsigned()));
    Ok((results, (count > 0).then_some((names, ttl))))
}

/// What is written, column by column.
struct Columns<'a> {
    databases: Vec<&'a str>,
    tables: Vec<&'a str>,
    keys: Vec<&'a str>,
    values: Vec<Option<&'a [u8]>>,
    metadata: Vec<&'a str>,
    ttls: Vec<Option<i64>>,
    places: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn new(writes: &'a HashMap<Name, Write>) -> Self {
        let value = |write: &'a Write| write.value.as_ref();
        Self {
            databases: writes.keys().map(|(place, _)| place.database()).collect(),
            tables: writes.keys().map(|(place, _)| place.table()).collect(),
            keys: writes.keys().map(|(_, key)| key.as_str()).collect(),
            values: writes.values().map(|write| value(write).map(|(bytes, _)| &**bytes)).collect(),
            metadata: writes.values().map(|write| value(write).map_or("{}", |(_, m)| m)).collect(),
            ttls: writes.values().map(|write| write.ttl).collect(),
            places: writes.values().map(|write| write.place as i64).collect(),
        }
    }

    async fn write(&self, taken: &Taken, sql: &Sql, total: &i64) -> Said<Vec<Row>> {
        let values: [crate::link::Value<'_>; 8] = [
            &self.databases,
            &self.tables,
            &self.keys,
            &self.values,
            &self.metadata,
            &self.ttls,
            &self.places,
            total,
        ];
        taken.query(sql, &values).await
    }
}

/// Begins a transaction, and reads what batches ask for.
async fn before(
    shared: &Shared,
    taken: &Taken,
    batches: &[&Batch],
) -> std::result::Result<Before, Fault> {
    let sql = &shared.statements;
    let changes = batches.iter().flat_map(|batch| &batch.changes).filter(|change| asks_for(change));
    let changes: Vec<&Change> = changes.collect();
    let databases: Vec<&str> = changes.iter().map(|change| change.place.database()).collect();
    let tables: Vec<&str> = changes.iter().map(|change| change.place.table()).collect();
    let keys: Vec<&str> = changes.iter().map(|change| change.key.as_str()).collect();
    let fences = batches.iter().flat_map(|batch| &batch.fences);
    let locks: Vec<&str> = fences.map(|fence| fence.lock.as_str()).collect();
    let tokens = async {
        if locks.is_empty() {
            return Ok(Vec::new());
        }
        taken.query(&sql.tokens, &[&locks]).await
    };
    let names: [crate::link::Value<'_>; 3] = [&databases, &tables, &keys];
    let (begun, state, versions, tokens) = tokio::join!(
        biased;
        taken.execute(sql.begin),
        taken.query(&sql.lock, &[]),
        taken.query(&sql.versions, &names),
        tokens,
    );
    begun?;
    let version = checked(shared, &state?)?;
    let mut before = Before { version, ..Before::default() };
    for row in versions? {
        let place = Place::new(row.get(0), row.get(1)).map_err(Fault::Other)?;
        let version: i64 = row.get(3);
        before.versions.insert((place, row.get(2)), version.cast_unsigned());
    }
    for row in tokens? {
        let token: i64 = row.get(1);
        before.tokens.insert(row.get(0), token.cast_unsigned());
    }
    Ok(before)
}

/// Begins a transaction, and makes a batch that deletes what has ended.
async fn ended(shared: &Shared, taken: &Taken) -> std::result::Result<(Before, Batch), Fault> {
    let sql = &shared.statements;
    let (begun, state, rows) = tokio::join!(
        biased;
        taken.execute(sql.begin),
        taken.query(&sql.lock, &[]),
        taken.query(&sql.ended, &[]),
    );
    begun?;
    let version = checked(shared, &state?)?;
    let (mut before, mut batch) = (Before { version, ..Before::default() }, Batch::default());
    for row in rows? {
        let place = Place::new(row.get(0), row.get(1)).map_err(Fault::Other)?;
        let key: String = row.get(2);
        before.versions.insert((place.clone(), key.clone()), version);
        batch.changes.push(Change::delete(place, key));
    }
    Ok((before, batch))
}

/// The version of the store.
fn checked(shared: &Shared, state: &[Row]) -> std::result::Result<u64, Fault> {
    let Some(row) = state.first() else {
        shared.doubt();
        let text = format!(
            "{}: the table `{}_state` has lost its row: remove the tables to begin anew, or bring them back",
            shared.link.options.place(),
            shared.link.options.tables
        );
        return Err(Fault::Other(Error::new(Code::DataLoss, text)));
    };
    shared.check_layout(row.get(0)).map_err(|error| {
        shared.doubt();
        Fault::Other(error)
    })?;
    Ok(row.get::<_, i64>(1).cast_unsigned())
}
