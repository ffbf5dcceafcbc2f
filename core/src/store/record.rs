//! What is kept, and where.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::error::{Error, Reason, Result};
use crate::spelling::quoted;

/// Bytes of a key, at most.
pub const MAX_KEY: usize = 1024;
/// Bytes of a value, at most.
pub const MAX_VALUE: usize = 4 << 20;
/// Bytes of a record's metadata as JSON, at most.
pub const MAX_METADATA: usize = 16 << 10;
/// Bytes of the name of a database or a table, at most.
const MAX_NAME: usize = 64;

/// A table of a database. go-micro's are `micro` and `micro` unless others are named, and so are these.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    database: Arc<str>,
    table: Arc<str>,
}

impl Place {
    /// # Errors
    /// `INVALID_ARGUMENT` for a name that is empty, has more than 64 bytes, or has other characters than ASCII letters, digits,
    /// `_`, `-` and `.`: those are what every engine can tell apart.
    pub fn new(database: &str, table: &str) -> Result<Self> {
        check("database", database)?;
        check("table", table)?;
        Ok(Self { database: database.into(), table: table.into() })
    }

    /// The database, for example `micro`.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The table, for example `micro`.
    pub fn table(&self) -> &str {
        &self.table
    }
}

impl Default for Place {
    fn default() -> Self {
        Self { database: "micro".into(), table: "micro".into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.database, self.table)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn check(what: &str, name: &str) -> Result<()> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_fine) {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "{} cannot be the name of a {what}: 1 to {MAX_NAME} letters, digits, `_`, `-` and `.` can",
        quoted(name)
    )))
}

/// Something that is kept by a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// At most [`MAX_KEY`] bytes.
    pub key: String,
    /// At most [`MAX_VALUE`] bytes.
    pub value: Bytes,
    /// What goes along with the value: any JSON by name, at most [`MAX_METADATA`] bytes of it.
    pub metadata: Map<String, Value>,
    /// Grows with every change of any record of the store.
    pub version: u64,
    /// The time that is left; without, it stays.
    pub expires_in: Option<Duration>,
}

/// What every store does first with a key.
///
/// # Errors
/// `INVALID_ARGUMENT` where it cannot be a key.
pub fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid_argument("a record needs a key, and this one is empty"));
    }
    if key.len() > MAX_KEY {
        let text = format!("a key has {} bytes, and at most {MAX_KEY} are allowed", key.len());
        return Err(Error::invalid_argument(text).with_reason(Reason::TooLarge));
    }
    // PostgreSQL has no text with it.
    match key.contains('\0') {
        true => Err(Error::invalid_argument(format!("the key {} has a zero byte", quoted(key)))),
        false => Ok(()),
    }
}
