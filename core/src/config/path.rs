//! The way to a value.

use std::fmt;

/// The keys that lead to a value, and for elements of lists their index: `db.url`, `servers.0.host`.
///
/// A key that has a dot in it is given by itself: `["hosts", "a.example", "port"]`. Without keys it is the whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Vec<String>);

impl Path {
    /// The keys.
    pub fn keys(&self) -> &[String] {
        &self.0
    }

    /// With another path behind it.
    #[must_use]
    pub fn join(&self, more: impl Into<Self>) -> Self {
        Self(self.0.iter().cloned().chain(more.into().0).collect())
    }
}

impl From<&str> for Path {
    fn from(text: &str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        Self(text.split('.').map(str::to_owned).collect())
    }
}

impl From<&String> for Path {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Path {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&Self> for Path {
    fn from(path: &Self) -> Self {
        path.clone()
    }
}

impl From<Vec<String>> for Path {
    fn from(keys: Vec<String>) -> Self {
        Self(keys)
    }
}

impl From<&[&str]> for Path {
    fn from(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| (*key).to_owned()).collect())
    }
}

impl<const N: usize> From<[&str; N]> for Path {
    fn from(keys: [&str; N]) -> Self {
        keys.as_slice().into()
    }
}

/// As in `db.url`; keys with dots are quoted, and `the whole configuration` is what has no keys.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the whole configuration");
        }
        for (index, key) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            match key.is_empty() || key.contains('.') {
                true => write!(f, "{key:?}")?,
                false => f.write_str(key)?,
            }
        }
        Ok(())
    }
}
