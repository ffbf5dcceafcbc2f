//! Variables of the environment.

use async_trait::async_trait;

use super::Source;
use crate::config::document::Document;
use crate::config::origin::Origin;
use crate::error::Result;

/// Variables of the environment: `DB_URL` is `db.url`, in lower case. Where a name has two underscores in a row, those separate, and single
/// ones are part of keys: `DB__MAX_CONNECTIONS` is `db.max_connections`.
///
/// A value is what its reader wants of it: `8080` is a number for those that want one, and else a text. Variables are read in the order of their
/// names, so that `DB_URL` comes over `DB`. They are read once, and by [`sync`](crate::config::Config::sync).
///
/// ```
/// use micro::config::{Config, Env};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
/// let variables = Env::prefix("SHOP").with_variables([("SHOP_DB_PORT", "5432"), ("HOME", "/root")]);
/// let config = Config::builder().source(variables).load().await?;
/// assert_eq!(config.get("db.port").int()?, 5432);
/// assert!(!config.get("home").is_set());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Env {
    name: String,
    prefixes: Vec<String>,
    keeps_prefix: bool,
    variables: Option<Vec<(String, String)>>,
}

impl Env {
    /// Every variable.
    pub fn all() -> Self {
        Self { name: "env://".into(), prefixes: Vec::new(), keeps_prefix: false, variables: None }
    }

    /// Those whose names begin with `prefix` and an underscore; it is no part of the path.
    pub fn prefix(prefix: &str) -> Self {
        Self::all().and_prefix(prefix)
    }

    /// Those of another prefix too.
    #[must_use]
    pub fn and_prefix(mut self, prefix: &str) -> Self {
        let prefix = prefix.trim_end_matches('_');
        if !prefix.is_empty() {
            self.prefixes.push(format!("{prefix}_"));
            let names: Vec<&str> = self.prefixes.iter().map(|p| p.trim_end_matches('_')).collect();
            self.name = format!("env://{}", names.join(","));
        }
        self
    }

    /// Makes prefixes part of paths: `SHOP_DB_URL` is `shop.db.url`.
    #[must_use]
    pub fn keep_prefix(mut self) -> Self {
        self.keeps_prefix = true;
        self
    }

    /// Reads these instead of the environment of the process.
    #[must_use]
    pub fn with_variables<N: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.variables = Some(variables.collect());
        self
    }

    /// `SHOP,BILLING` of `env://SHOP,BILLING`.
    pub(in crate::config) fn from_url(rest: &str) -> Self {
        rest.split(',').fold(Self::all(), |env, prefix| env.and_prefix(prefix.trim()))
    }

    /// The part of a name that is the path; `None` for those that are not read.
    fn part<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.prefixes.is_empty() {
            return Some(name);
        }
        let rest = self.prefixes.iter().find_map(|prefix| name.strip_prefix(prefix.as_str()))?;
        Some(if self.keeps_prefix { name } else { rest.trim_start_matches('_') })
    }
}

/// The path that a name stands for.
fn keys(name: &str) -> Vec<String> {
    let separator = if name.contains("__") { "__" } else { "_" };
    let parts = name.split(separator).filter(|part| !part.is_empty());
    parts.map(str::to_lowercase).collect()
}

/// Without values, which may be secrets.
impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Env({})", self.name)
    }
}

#[async_trait]
impl Source for Env {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self) -> Result<Document> {
        let mut variables = match &self.variables {
            Some(variables) => variables.clone(),
            None => std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        };
        variables.sort();
        let origin = Origin::new(self.name.as_str());
        let mut document = Document::empty(&origin);
        for (name, value) in variables {
            let Some(part) = self.part(&name) else { continue };
            let keys = keys(part);
            if !keys.is_empty() {
                let origin = origin.at(format!("the variable {name}"));
                document = document.with_text(&keys, value, &origin);
            }
        }
        Ok(document)
    }
}
