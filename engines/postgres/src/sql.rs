//! What the server is asked, in the SQL that PostgreSQL and CockroachDB both speak.

use tokio_postgres::types::Type;

/// What the tables are, as this program writes and reads them.
pub(crate) const SCHEMA: i64 = 1;
/// How long a fence is remembered after its last use.
const FENCES: &str = "interval '24 hours'";

/// Who speaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    Cockroach,
}

/// A statement, and what its parameters are.
#[derive(Debug, Clone)]
pub(crate) struct Sql {
    pub(crate) text: String,
    pub(crate) types: &'static [Type],
}

/// What is asked again and again.
#[derive(Debug)]
pub(crate) struct Statements {
    dialect: Dialect,
    tables: String,
    /// Begins a transaction: what is read after a lock is what was committed before.
    pub(crate) begin: &'static str,
    /// Reads the state.
    pub(crate) state: Sql,
    /// The same, and keeps others from changing anything until the end of the transaction.
    pub(crate) lock: Sql,
    /// Counts changes.
    pub(crate) count: Sql,
    /// Versions of records that are there.
    pub(crate) versions: Sql,
    /// Tokens that are remembered.
    pub(crate) tokens: Sql,
    /// Writes and deletes.
    pub(crate) write: Sql,
    /// Remembers tokens.
    pub(crate) remember: Sql,
    pub(crate) notify: Sql,
    pub(crate) read: Sql,
    pub(crate) databases: Sql,
    pub(crate) tables_of: Sql,
    /// The time until the next record ends.
    pub(crate) next_end: Sql,
    /// Records that have ended.
    pub(crate) ended: Sql,
    /// Deletions that need not be known any more.
    pub(crate) forget: Sql,
    /// Up to which version deletions are not known.
    pub(crate) raise_floor: Sql,
    pub(crate) forget_fences: Sql,
}

/// Of a record that is there.
const IS_THERE: &str = "value IS NOT NULL AND (ends IS NULL OR ends > statement_timestamp())";
/// The time that is left, in microseconds.
const LEFT: &str = "(extract(epoch FROM (ends - statement_timestamp())) * 1000000)::bigint";

impl Statements {
    pub(crate) fn new(dialect: Dialect, tables: &str) -> Self {
        let sql = |text: String, types| Sql { text, types };
        let (records, state) = (format!("{tables}_records"), format!("{tables}_state"));
        let fences = format!("{tables}_fences");
        let version = format!("(SELECT version FROM {state} WHERE id = 1 AND layout = {SCHEMA})");
        let there = "value = excluded.value, metadata = excluded.metadata, version = excluded.version, ends = excluded.ends";
        Self {
            dialect,
            tables: tables.to_owned(),
            begin: match dialect {
                // A holder that stands still keeps all others waiting: not for long.
                Dialect::Postgres => {
                    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = 2000; \
                     SET LOCAL statement_timeout = 5000"
                }
                Dialect::Cockroach => {
                    "BEGIN ISOLATION LEVEL SERIALIZABLE; SET LOCAL idle_in_transaction_session_timeout = 2000; \
                     SET LOCAL statement_timeout = 5000"
                }
            },
            state: sql(format!("SELECT layout, version, floor FROM {state} WHERE id = 1"), &[]),
            lock: sql(
                format!("SELECT layout, version, floor FROM {state} WHERE id = 1 FOR UPDATE"),
                &[],
            ),
            count: sql(
                format!(
                    "UPDATE {state} SET version = version + $1 WHERE id = 1 AND layout = {SCHEMA} RETURNING version"
                ),
                &[Type::INT8],
            ),
            versions: sql(
                format!(
                    "SELECT r.db, r.tbl, r.key, r.version FROM unnest($1::text[], $2::text[], $3::text[]) AS c(db, tbl, key)
                     JOIN {records} AS r ON r.db = c.db AND r.tbl = c.tbl AND r.key = c.key WHERE {IS_THERE}"
                ),
                &[Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::TEXT_ARRAY],
            ),
            tokens: sql(
                format!(
                    "SELECT lock, token FROM {fences} WHERE lock = ANY($1) AND used > statement_timestamp() - {FENCES}"
                ),
                &[Type::TEXT_ARRAY],
            ),
            write: sql(
                format!(
                    "INSERT INTO {records} (db, tbl, key, value, metadata, version, ends)
                     SELECT db, tbl, key, value, metadata, {version} - $8 + place, statement_timestamp() + ttl * interval '1 millisecond'
                     FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::bigint[], $7::bigint[])
                        AS c(db, tbl, key, value, metadata, ttl, place)
                     ON CONFLICT (db, tbl, key) DO UPDATE SET {there}"
                ),
                &[
                    Type::TEXT_ARRAY,
                    Type::TEXT_ARRAY,
                    Type::TEXT_ARRAY,
                    Type::BYTEA_ARRAY,
                    Type::TEXT_ARRAY,
                    Type::INT8_ARRAY,
                    Type::INT8_ARRAY,
                    Type::INT8,
                ],
            ),
            remember: sql(
                format!(
                    "INSERT INTO {fences} (lock, token, used)
                     SELECT lock, token, statement_timestamp() FROM unnest($1::text[], $2::bigint[]) AS c(lock, token)
                     ON CONFLICT (lock) DO UPDATE SET token = excluded.token, used = excluded.used"
                ),
                &[Type::TEXT_ARRAY, Type::INT8_ARRAY],
            ),
            notify: sql("SELECT pg_notify($1, $2)".into(), &[Type::TEXT, Type::TEXT]),
            read: read(&records),
            databases: sql(
                format!(
                    "SELECT db FROM {records} WHERE db > $1 AND {IS_THERE} ORDER BY db LIMIT 1"
                ),
                &[Type::TEXT],
            ),
            tables_of: sql(
                format!(
                    "SELECT tbl FROM {records} WHERE db = $1 AND tbl > $2 AND {IS_THERE} ORDER BY db, tbl LIMIT 1"
                ),
                &[Type::TEXT, Type::TEXT],
            ),
            next_end: sql(
                format!(
                    "SELECT {LEFT} FROM {records} WHERE ends IS NOT NULL ORDER BY ends LIMIT 1"
                ),
                &[],
            ),
            ended: sql(
                format!(
                    "SELECT db, tbl, key FROM {records} WHERE ends <= statement_timestamp() ORDER BY ends LIMIT 256"
                ),
                &[],
            ),
            forget: sql(
                format!(
                    "DELETE FROM {records} WHERE (db, tbl, key) IN
                        (SELECT db, tbl, key FROM {records} WHERE value IS NULL AND version <= $1 ORDER BY version LIMIT 1024)
                     RETURNING version"
                ),
                &[Type::INT8],
            ),
            raise_floor: sql(
                format!("UPDATE {state} SET floor = $1 WHERE id = 1 AND floor < $1"),
                &[Type::INT8],
            ),
            forget_fences: sql(
                format!(
                    "DELETE FROM {fences} WHERE lock IN
                        (SELECT lock FROM {fences} WHERE used <= statement_timestamp() - {FENCES} LIMIT 1024)"
                ),
                &[],
            ),
        }
    }

    /// What makes the tables, one after the other. The state comes last: once it has its row, all is there.
    pub(crate) fn make(&self) -> Vec<String> {
        let tables = &self.tables;
        let short = tables.rsplit('.').next().unwrap_or(tables);
        // CockroachDB compares text by its bytes.
        let text = match self.dialect {
            Dialect::Postgres => "text COLLATE \"C\"",
            Dialect::Cockroach => "text",
        };
        let records = format!("{tables}_records");
        vec![
            format!(
                "CREATE TABLE IF NOT EXISTS {records} (db {text} NOT NULL, tbl {text} NOT NULL, key {text} NOT NULL, \
                 value bytea, metadata text NOT NULL, version bigint NOT NULL, ends timestamptz, PRIMARY KEY (db, tbl, key))"
            ),
            format!(
                "CREATE INDEX IF NOT EXISTS {short}_records_version ON {records} (db, tbl, version)"
            ),
            format!(
                "CREATE INDEX IF NOT EXISTS {short}_records_ends ON {records} (ends) WHERE ends IS NOT NULL"
            ),
            format!(
                "CREATE INDEX IF NOT EXISTS {short}_records_gone ON {records} (version) WHERE value IS NULL"
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {tables}_fences (lock {text} NOT NULL, token bigint NOT NULL, \
                 used timestamptz NOT NULL, PRIMARY KEY (lock))"
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {tables}_state (id bigint NOT NULL, layout bigint NOT NULL, version bigint NOT NULL, \
                 floor bigint NOT NULL, PRIMARY KEY (id))"
            ),
            format!(
                "INSERT INTO {tables}_state (id, layout, version, floor) VALUES (1, {SCHEMA}, 0, 0) ON CONFLICT (id) DO NOTHING"
            ),
        ]
    }

    /// Where changes are told of.
    pub(crate) fn channel(&self) -> String {
        format!("{}_changes", self.tables.replace('.', "_"))
    }

    /// See [`list`].
    pub(crate) fn list(&self, which: List) -> Sql {
        list(&format!("{}_records", self.tables), which)
    }

    /// Changes after the version `$3`, at most `$6` of them and about `$7` bytes, and how far the store is; `$4` is the prefix of the
    /// keys and `$5` their end.
    pub(crate) fn changes(&self, has_end: bool) -> Sql {
        let (records, state) =
            (format!("{}_records", self.tables), format!("{}_state", self.tables));
        let and = match has_end {
            true => " AND key < $5",
            false => " AND $5 IS NOT NULL",
        };
        let text = format!(
            "SELECT s.version, s.floor, c.version, c.key, c.value, c.metadata, c.left_over, c.found FROM {state} AS s LEFT JOIN
                (SELECT * FROM (SELECT *, count(*) OVER () AS found,
                    coalesce(sum(length(value)) OVER (ORDER BY version ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
                 FROM (SELECT version, key, value, metadata, {LEFT} AS left_over FROM {records}
                    WHERE db = $1 AND tbl = $2 AND version > $3 AND key >= $4{and} ORDER BY version LIMIT $6) AS part) AS counted
                 WHERE before < $7) AS c ON true
             WHERE s.id = 1 AND s.layout = {SCHEMA} ORDER BY c.version"
        );
        Sql {
            text,
            types: &[
                Type::TEXT,
                Type::TEXT,
                Type::INT8,
                Type::TEXT,
                Type::TEXT,
                Type::INT8,
                Type::INT8,
            ],
        }
    }
}

/// Reads the record of the key `$3` from a table of this kind.
pub(crate) fn read(records: &str) -> Sql {
    let text = format!(
        "SELECT value, metadata, version, {LEFT} FROM {records} WHERE db = $1 AND tbl = $2 AND key = $3 AND {IS_THERE}"
    );
    Sql { text, types: &[Type::TEXT, Type::TEXT, Type::TEXT] }
}

/// Lists keys from `$3` on: `$4` is the end of them, `$5` their suffix, `$6` where to go on, `$7` how many, `$8` how many to leave
/// out, `$9` bytes of values before the last one.
pub(crate) fn list(records: &str, list: List) -> Sql {
    let (mut and, mut order) = (String::new(), "");
    if list.has_end {
        and += " AND key < $4";
    }
    if list.has_suffix {
        and += " AND right(key, length($5)) = $5";
    }
    if list.is_descending {
        order = " DESC";
        if list.has_after {
            and += " AND key < $6";
        }
    } else if list.has_after {
        and += " AND key > $6";
    }
    let (value, metadata) = match list.is_keys {
        true => ("NULL::bytea", "'{}'"),
        false => ("value", "metadata"),
    };
    // Every parameter has its place, whether it is used or not.
    let text = format!(
        "SELECT key, value, metadata, version, left_over, found FROM
            (SELECT *, count(*) OVER () AS found,
                coalesce(sum(length(value)) OVER (ORDER BY key{order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
             FROM (SELECT key, {value} AS value, {metadata} AS metadata, version, {LEFT} AS left_over FROM {records}
                WHERE db = $1 AND tbl = $2 AND key >= $3 AND {IS_THERE}{and}
                    AND ($4 IS NOT NULL AND $5 IS NOT NULL AND $6 IS NOT NULL)
                ORDER BY key{order} LIMIT $7 OFFSET $8) AS part) AS counted
         WHERE before < $9 ORDER BY key{order}"
    );
    Sql {
        text,
        types: &[
            Type::TEXT,
            Type::TEXT,
            Type::TEXT,
            Type::TEXT,
            Type::TEXT,
            Type::TEXT,
            Type::INT8,
            Type::INT8,
            Type::INT8,
        ],
    }
}

/// Which list.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct List {
    pub(crate) has_end: bool,
    pub(crate) has_suffix: bool,
    pub(crate) has_after: bool,
    pub(crate) is_descending: bool,
    pub(crate) is_keys: bool,
}

/// The first text behind all that begin with `prefix`, in the order of bytes; none where there is no such text.
pub(crate) fn end_of(prefix: &str) -> Option<String> {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(last as u32 + 1),
        };
        if let Some(next) = next {
            end.push(next);
            return Some(end.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What CockroachDB documents, of what its statements use.
    const WORDS: &str = "AND ANY AS BEGIN BETWEEN BY COLUMN CONFLICT CREATE DELETE DESC DISTINCT DO EXISTS FOR FROM IF IN INDEX INSERT \
        INTO IS ISOLATION JOIN KEY LEFT LEVEL LIMIT LOCAL NOT NOTHING NULL OFFSET ON OR ORDER OVER PRECEDING PRIMARY RETURNING ROWS \
        SELECT SERIALIZABLE SET TABLE UNBOUNDED UPDATE VALUES WHERE TRUE idle_in_transaction_session_timeout statement_timeout";
    const TYPES: &str = "text bytea bigint timestamptz interval hours millisecond epoch";
    const FUNCTIONS: &str = "coalesce count extract length right statement_timestamp sum unnest";
    /// Names of tables, columns and parts of statements.
    const NAMES: &str = "micro_records micro_fences micro_state micro_records_version micro_records_ends micro_records_gone id db tbl key \
        value metadata version ends lock token used layout floor place ttl left_over found before part counted excluded c r s";

    #[test]
    fn cockroach_is_asked_for_nothing_that_it_does_not_document() {
        let known: BTreeSet<String> = [WORDS, TYPES, FUNCTIONS, NAMES]
            .iter()
            .flat_map(|words| words.split_whitespace())
            .map(str::to_lowercase)
            .collect();
        let statements = Statements::new(Dialect::Cockroach, "micro");
        let s = &statements;
        let fixed = [
            &s.state,
            &s.lock,
            &s.count,
            &s.versions,
            &s.tokens,
            &s.write,
            &s.remember,
            &s.read,
            &s.databases,
            &s.tables_of,
            &s.next_end,
            &s.ended,
            &s.forget,
            &s.raise_floor,
            &s.forget_fences,
        ];
        let mut texts: Vec<String> = fixed.into_iter().map(|sql| sql.text.clone()).collect();
        texts.push(s.begin.into());
        texts.extend(s.make());
        for bits in 0..32 {
            let has = |bit: u32| bits >> bit & 1 == 1;
            let (has_end, has_suffix, has_after) = (has(0), has(1), has(2));
            let list =
                List { has_end, has_suffix, has_after, is_descending: has(3), is_keys: has(4) };
            texts.push(s.list(list).text);
            texts.push(s.changes(has_end).text);
        }
        for text in &texts {
            let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            for word in
                words.filter(|word| word.starts_with(|first: char| first.is_ascii_alphabetic()))
            {
                assert!(known.contains(&word.to_lowercase()), "`{word}` of {text}");
            }
        }
        // What it has not, or had late: neither text in another order, nor locks without a row.
        let all = texts.join(" ").to_lowercase();
        for word in ["collate", "advisory", "notify", "trigger", "serial ", "xmin", "lateral"] {
            assert!(!all.contains(word), "{word}");
        }
    }

    #[test]
    fn the_end_of_a_prefix_is_the_first_text_behind_it() {
        assert_eq!(end_of("a/"), Some("a0".into()));
        assert_eq!(end_of("a\u{10ffff}"), Some("b".into()));
        assert_eq!(end_of("\u{d7ff}"), Some("\u{e000}".into()));
        assert_eq!(end_of("\u{10ffff}"), None);
        assert_eq!(end_of(""), None);
    }
}
