//! The rows as they are written down.

use std::collections::BTreeSet;

use serde::Deserialize;

/// Rows of go-micro's features, and of what its wire asks for.
const FEATURES: usize = 283;
const WIRE: usize = 39;
/// The area of the latter.
const WIRE_AREA: &str = "WIRE";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) area: Vec<Area>,
}

/// What belongs together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Area {
    /// The part of its rows' ids before the dash.
    pub(super) id: String,
    pub(super) name: String,
    /// Why rows are not here that say nothing of their own.
    pub(super) why: Option<String>,
    pub(super) row: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) id: String,
    /// What go-micro does.
    pub(super) title: String,
    pub(super) status: Status,
    /// Files and names of tests.
    #[serde(default)]
    pub(super) tests: Vec<String>,
    /// What differs and why; of a row that is `yes`, what has another name or default here.
    pub(super) note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Yes,
    Differs,
    No,
}

impl Table {
    /// # Errors
    /// Where the text is no such table, with the line.
    pub(super) fn read(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.area.iter().flat_map(|area| &area.row)
    }

    /// Every test that is named, with the row that names it.
    pub(super) fn cited(&self) -> impl Iterator<Item = (&Row, &str)> {
        self.rows().flat_map(|row| row.tests.iter().map(move |test| (row, test.as_str())))
    }

    /// What is wrong with the rows themselves, a line each.
    pub(super) fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        let mut seen = BTreeSet::new();
        for area in &self.area {
            if !seen.insert(area.id.as_str()) {
                breaches.push(format!("area {} is there twice", area.id));
            }
            for (number, row) in (1..).zip(&area.row) {
                let due = format!("{}-{number:02}", area.id);
                if row.id != due {
                    breaches.push(format!("{} stands where {due} belongs", row.id));
                }
                breaches.extend(row.breach(area).map(|breach| format!("{}: {breach}", row.id)));
            }
        }
        for (what, due, there) in [
            ("features", FEATURES, self.count(|area| area != WIRE_AREA)),
            ("the wire", WIRE, self.count(|area| area == WIRE_AREA)),
        ] {
            if there != due {
                breaches.push(format!("{there} rows of {what}, where {due} belong"));
            }
        }
        breaches
    }

    fn count(&self, is_meant: impl Fn(&str) -> bool) -> usize {
        self.area.iter().filter(|area| is_meant(&area.id)).map(|area| area.row.len()).sum()
    }
}

impl Row {
    fn breach(&self, area: &Area) -> Option<&'static str> {
        let distinct: BTreeSet<_> = self.tests.iter().collect();
        match self.status {
            _ if self.title.is_empty() => Some("say what go-micro does"),
            _ if distinct.len() < self.tests.len() => Some("names a test twice"),
            Status::No if !self.tests.is_empty() => Some("`no` has no tests"),
            Status::No if self.note.is_none() && area.why.is_none() => Some("`no` says why"),
            Status::Yes | Status::Differs if self.tests.is_empty() => {
                Some("name the tests that prove it")
            }
            Status::Differs if self.note.is_none() => Some("`differs` says how and why"),
            _ => None,
        }
    }

    /// What is said beside the row.
    pub(super) fn remark<'a>(&'a self, area: &'a Area) -> &'a str {
        let of_area = area.why.as_ref().filter(|_| self.status == Status::No);
        self.note.as_ref().or(of_area).map_or("", String::as_str)
    }
}
