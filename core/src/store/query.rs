//! Which records are asked for.

use super::record::{Place, Record};

/// Which records of a table are wanted, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Of which table.
    pub place: Place,
    /// How their keys begin.
    pub prefix: String,
    /// How their keys end.
    pub suffix: String,
    /// Only keys behind this one, in the order of the list.
    pub after: Option<String>,
    /// From the last key to the first.
    pub descending: bool,
    /// How many to leave out first.
    pub offset: u64,
    /// How many of them at most; 1000 at most, whatever is said.
    pub limit: usize,
    /// Values and metadata are left out.
    pub keys_only: bool,
}

impl Query {
    /// Records of one [`Page`], at most.
    pub const MOST: usize = 1000;
    /// Bytes of values in one [`Page`], about: the record that passes it is the last.
    pub const MOST_BYTES: usize = 4 << 20;

    /// All records of a table.
    pub fn all(place: Place) -> Self {
        Self {
            place,
            prefix: String::new(),
            suffix: String::new(),
            after: None,
            descending: false,
            offset: 0,
            limit: Self::MOST,
            keys_only: false,
        }
    }

    /// Those whose keys begin so.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// In the order of the list.
    pub records: Vec<Record>,
    /// Whether there are more: they are asked for [after](Query::after) the last key of this page.
    pub has_more: bool,
}
