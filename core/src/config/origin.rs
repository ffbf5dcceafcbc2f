//! Where a value comes from.

use std::fmt;
use std::sync::Arc;

/// Where a value comes from: its source, and in there a file, a variable or a flag, and a line.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    source: Arc<str>,
    place: Option<Arc<str>>,
    line: u32,
}

impl Origin {
    /// In a source that has no places.
    pub fn new(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), place: None, line: 0 }
    }

    /// At a place of the source, such as a file. Texts show it instead of the source.
    #[must_use]
    pub fn at(&self, place: impl Into<Arc<str>>) -> Self {
        Self { place: Some(place.into()), ..self.clone() }
    }

    /// On a line of the place, counted from 1.
    #[must_use]
    pub fn on_line(&self, line: usize) -> Self {
        Self { line: u32::try_from(line).unwrap_or(u32::MAX), ..self.clone() }
    }

    /// The [name](super::Source::name) of the source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The file, variable or flag, in the words of the source.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// The line, counted from 1; `None` where there are no lines.
    pub fn line(&self) -> Option<u32> {
        (self.line > 0).then_some(self.line)
    }
}

/// As in `/etc/shop.yaml:3`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.place.as_ref().unwrap_or(&self.source))?;
        match self.line {
            0 => Ok(()),
            line => write!(f, ":{line}"),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
