//! Flags of a command line.

use async_trait::async_trait;

use super::Source;
use crate::config::document::Document;
use crate::config::origin::Origin;
use crate::error::Result;

/// Flags that a program has read from its command line, by whatever means: `--db-host` is `db.host`; `-`, `_` and `.` separate. Where a name
/// has a dot, that alone separates: `--db.max-connections` is `db.max-connections`.
///
/// Flags that were not given have no say, unless they are [included](Self::include_unset) with their defaults.
///
/// ```
/// use micro::config::{Config, Flags};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
/// let flags = Flags::new().set("db-host", "a.example").unset("db-port", "5432");
/// let config = Config::builder().source(flags).load().await?;
/// assert_eq!(config.get("db.host").string()?, "a.example");
/// assert!(!config.get("db.port").is_set());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Flags {
    given: Vec<(String, String)>,
    defaults: Vec<(String, String)>,
    includes_unset: bool,
}

impl Flags {
    /// No flags.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads arguments that are `--name=value` or `--name`, which is `true`, up to `--`. Others are left to the program.
    pub fn from_args<A: AsRef<str>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut flags = Self::new();
        for argument in arguments {
            let argument = argument.as_ref();
            if argument == "--" {
                break;
            }
            let Some(flag) = argument.strip_prefix("--") else { continue };
            let (name, value) = flag.split_once('=').unwrap_or((flag, "true"));
            flags = flags.set(name, value);
        }
        flags
    }

    /// A flag that was given.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.given.push((name.trim_start_matches('-').to_owned(), value.into()));
        self
    }

    /// A flag that was not given, and its default.
    #[must_use]
    pub fn unset(mut self, name: &str, default: impl Into<String>) -> Self {
        self.defaults.push((name.trim_start_matches('-').to_owned(), default.into()));
        self
    }

    /// Says also what the defaults of flags are that were not given.
    #[must_use]
    pub fn include_unset(mut self) -> Self {
        self.includes_unset = true;
        self
    }
}

/// The path that a name stands for.
fn keys(name: &str) -> Vec<String> {
    let parts: Vec<&str> = match name.contains('.') {
        true => name.split('.').collect(),
        false => name.split(['-', '_']).collect(),
    };
    parts.into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[async_trait]
impl Source for Flags {
    fn name(&self) -> &str {
        "flags"
    }

    async fn read(&self) -> Result<Document> {
        let origin = Origin::new("flags");
        let mut document = Document::empty(&origin);
        let unset = self.defaults.iter().filter(|_| self.includes_unset);
        let unset = unset.map(|flag| (flag, "the default of the flag"));
        for ((name, value), what) in unset.chain(self.given.iter().map(|flag| (flag, "the flag"))) {
            let keys = keys(name);
            if !keys.is_empty() {
                let origin = origin.at(format!("{what} --{name}"));
                document = document.with_text(&keys, value.as_str(), &origin);
            }
        }
        Ok(document)
    }
}
