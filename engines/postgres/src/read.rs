//! Reads and lists.

use bytes::Bytes;
use micro::store::{Page, Place, Query, Record};
use micro::{Code, Error, Result};

use crate::link::{Link, Value};
use crate::options::Options;
use crate::shared::{Shared, left};
use crate::sql::{List, Sql, end_of};

/// The record of a key.
pub(crate) async fn read(
    link: &Link,
    sql: &Sql,
    place: &Place,
    key: &str,
) -> Result<Option<Record>> {
    let values: [Value<'_>; 3] = [&place.database(), &place.table(), &key];
    let rows = link.ask("to read", sql, &values).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let version: i64 = row.get(2);
    let version = version.cast_unsigned();
    record(&link.options, key.to_owned(), row.get(0), row.get(1), version, row.get(3)).map(Some)
}

/// Some of the records of a table.
pub(crate) async fn list(
    link: &Link,
    sql: impl FnOnce(List) -> Sql,
    query: &Query,
) -> Result<Page> {
    // No key has a zero byte, and PostgreSQL knows no text with one.
    if query.prefix.contains('\0') || query.suffix.contains('\0') {
        return Ok(Page::default());
    }
    let after = query.after.as_deref().map(|after| match after.split_once('\0') {
        None => after.to_owned(),
        Some((before, _)) if query.descending => format!("{before}\u{1}"),
        Some((before, _)) => before.to_owned(),
    });
    let end = end_of(&query.prefix);
    let list = List {
        has_end: end.is_some(),
        has_suffix: !query.suffix.is_empty(),
        has_after: after.is_some(),
        is_descending: query.descending,
        is_keys: query.keys_only,
    };
    let sql = sql(list);
    let limit = query.limit.min(Query::MOST);
    let (more, offset) = (limit as i64 + 1, i64::try_from(query.offset).unwrap_or(i64::MAX));
    let bytes = Query::MOST_BYTES as i64;
    let values: [Value<'_>; 9] = [
        &query.place.database(),
        &query.place.table(),
        &query.prefix,
        &end.unwrap_or_default(),
        &query.suffix,
        &after.unwrap_or_default(),
        &more,
        &offset,
        &bytes,
    ];
    let rows = link.ask("to list", &sql, &values).await?;
    let found = rows.first().map_or(0, |row| row.get::<_, i64>(5));
    let mut records = Vec::with_capacity(rows.len().min(limit));
    for row in rows.iter().take(limit) {
        let value: Option<Vec<u8>> = row.get(1);
        let version: i64 = row.get(3);
        let version = version.cast_unsigned();
        let value = value.unwrap_or_default();
        records.push(record(&link.options, row.get(0), value, row.get(2), version, row.get(4))?);
    }
    let has_more = found > records.len() as i64;
    Ok(Page { records, has_more })
}

/// Names of all databases, or of all tables of one: each is found behind the one before.
pub(crate) async fn names(shared: &Shared, database: Option<&str>) -> Result<Vec<String>> {
    shared.ready().await?;
    let mut names: Vec<String> = Vec::new();
    loop {
        let last = names.last().map_or("", String::as_str);
        let rows = match database {
            None => shared.link.ask("to list", &shared.statements.databases, &[&last]).await?,
            Some(database) if database.contains('\0') => return Ok(names),
            Some(database) => {
                let values: [Value<'_>; 2] = [&database, &last];
                shared.link.ask("to list", &shared.statements.tables_of, &values).await?
            }
        };
        match rows.first() {
            None => return Ok(names),
            Some(row) => names.push(row.get(0)),
        }
    }
}

/// What a row says; `micros` are left of its time.
pub(crate) fn record(
    options: &Options,
    key: String,
    value: Vec<u8>,
    metadata: &str,
    version: u64,
    micros: Option<i64>,
) -> Result<Record> {
    let metadata = serde_json::from_str(metadata).map_err(|error| {
        let place = options.place();
        let text = format!("{place}: the metadata of the record {key:?} is damaged: {error}");
        Error::new(Code::DataLoss, text)
    })?;
    Ok(Record { key, value: Bytes::from(value), metadata, version, expires_in: left(micros) })
}
