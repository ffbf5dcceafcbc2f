//! The tables of an outbox: their names, and which version of them this is.

use micro::{Code, Error, Result};

/// What this program writes and reads.
pub(crate) const VERSION: i32 = 1;
/// Bytes of a name. PostgreSQL cuts longer ones off at 63.
const NAME_BYTES: usize = 50;

/// Names of an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// Messages that are to be published.
    pub(crate) table: String,
    /// Those that cannot be.
    pub(crate) dead: String,
    /// The version, and what tells this outbox from others.
    pub(crate) schema: String,
}

impl Names {
    /// Refuses what is no plain name: it becomes part of statements.
    pub(crate) fn new(table: &str) -> Result<Self> {
        let is_plain = |part: &str| {
            part.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '_')
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let parts: Vec<&str> = table.split('.').collect();
        if parts.len() > 2 || table.len() > NAME_BYTES || !parts.into_iter().all(is_plain) {
            return Err(Error::invalid_argument(format!(
                "the table {table:?}: use 1 to {NAME_BYTES} of a-z, 0-9 and `_`, with a schema and a dot before them where it needs one"
            )));
        }
        let (dead, schema) = (format!("{table}_dead"), format!("{table}_schema"));
        Ok(Self { table: table.to_owned(), dead, schema })
    }
}

/// Refuses tables of a program that knows more than this one.
pub(crate) fn check_version(names: &Names, version: i32) -> Result<()> {
    if version <= VERSION {
        return Ok(());
    }
    Err(Error::new(
        Code::FailedPrecondition,
        format!(
            "the outbox {} has version {version}, and this program knows up to {VERSION}: use a newer micro-outbox",
            names.table
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["outbox", "shop.outbox_2", "_x"] {
            assert!(Names::new(name).is_ok(), "{name}");
        }
        for name in ["", "2x", "a b", "a;drop", "a.b.c", "Outbox", "a\"", ".a", &"x".repeat(51)] {
            assert!(Names::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_version_of_later_is_refused() {
        let names = Names::new("outbox").unwrap();
        assert!(check_version(&names, VERSION).is_ok());
        let error = check_version(&names, VERSION + 1).unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert!(error.detail().contains("newer micro-outbox"), "{error}");
    }
}
