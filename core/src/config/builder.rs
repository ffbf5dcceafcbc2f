//! How a configuration is loaded.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use super::check::{Check, Custom, Readable};
use super::connect::connect;
use super::expand::Expansion;
use super::follow::Followed;
use super::handle::{Config, joined};
use super::layers::Layers;
use super::path::Path;
use super::secret::Cipher;
use super::source::Source;
use super::value::Value;
use crate::error::{Code, Error, Result};

/// Sources of a configuration, and what its values have to be.
#[must_use = "a configuration is loaded by `load`"]
pub struct ConfigBuilder {
    sources: Vec<(Result<Arc<dyn Source>>, bool)>,
    expansion: Expansion,
    checks: Vec<Box<dyn Check>>,
    wrong: Vec<Error>,
    limit: Duration,
}

/// Without values, which may be secrets.
impl fmt::Debug for ConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opened = self.sources.iter().filter_map(|(source, _)| source.as_ref().ok());
        let names: Vec<&str> = opened.map(|source| source.name()).collect();
        f.debug_struct("ConfigBuilder").field("sources", &names).finish_non_exhaustive()
    }
}

/// What may be given as a source: a [`Source`], or the URL of one.
pub trait IntoSource {
    /// Opens it.
    ///
    /// # Errors
    /// Those of [`connect`](super::connect()).
    fn into_source(self) -> Result<Arc<dyn Source>>;
}

impl<S: Source> IntoSource for S {
    fn into_source(self) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(self))
    }
}

impl IntoSource for &str {
    fn into_source(self) -> Result<Arc<dyn Source>> {
        connect(self)
    }
}

impl IntoSource for &String {
    fn into_source(self) -> Result<Arc<dyn Source>> {
        connect(self)
    }
}

impl IntoSource for String {
    fn into_source(self) -> Result<Arc<dyn Source>> {
        connect(&self)
    }
}

impl Config {
    /// A configuration without sources yet.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder {
            sources: Vec::new(),
            expansion: Expansion::default(),
            checks: Vec::new(),
            wrong: Vec::new(),
            limit: Duration::from_secs(10),
        }
    }
}

impl ConfigBuilder {
    /// Adds a source, or the URL of one, see [`connect`](super::connect()). It comes over those before it.
    pub fn source(mut self, source: impl IntoSource) -> Self {
        self.sources.push((source.into_source(), false));
        self
    }

    /// The same of one that may be missing, or out of reach: the configuration is loaded without it then, and takes it over when it is there. What can be
    /// reached and is wrong, such as a file with an error in it, is refused all the same.
    pub fn optional(mut self, source: impl IntoSource) -> Self {
        self.sources.push((source.into_source(), true));
        self
    }

    /// Refuses values that cannot be read into a type at a path, at the start and with each change.
    pub fn check<T: DeserializeOwned + 'static>(mut self, path: impl Into<Path>) -> Self {
        self.checks.push(Box::new(Readable::<T>::new(path.into())));
        self
    }

    /// Refuses what the function says, which is given all values. It returns at once.
    pub fn check_fn(
        mut self,
        check: impl Fn(&Value) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Box::new(Custom(check)));
        self
    }

    /// Refuses values that are not as a JSON schema says. What is a text in a variable may be a number to it. References to other documents are
    /// not fetched.
    #[cfg(feature = "config-schema")]
    pub fn schema(mut self, schema: &serde_json::Value) -> Self {
        match super::check::Schema::new(schema) {
            Ok(schema) => self.checks.push(Box::new(schema)),
            Err(error) => self.wrong.push(error),
        }
        self
    }

    /// Takes variables of `${NAME}` from here instead of from the environment of the process.
    pub fn variables<N: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.expansion.variables = Some(variables.collect::<BTreeMap<_, _>>());
        self
    }

    /// Leaves `${NAME}` in values as it is.
    pub fn without_variables(mut self) -> Self {
        self.expansion.keeps_variables = true;
        self
    }

    /// Decrypts values that are written `secret://NAME/BASE64`, where `NAME` is that of the cipher.
    pub fn cipher(mut self, cipher: impl Cipher) -> Self {
        self.expansion.ciphers.push(Arc::new(cipher));
        self
    }

    /// Leaves encrypted values as they are, for those who have no key.
    pub fn keep_encrypted(mut self) -> Self {
        self.expansion.keeps_encrypted = true;
        self
    }

    /// Shows the values at and below a path to no one but those who read them: not in texts, nor in [`why`](Config::why).
    pub fn secret(mut self, path: impl Into<Path>) -> Self {
        self.expansion.secrets.push(path.into());
        self
    }

    /// How long reading a source may take; 10 seconds unless set.
    pub fn read_timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Reads all sources, and follows them from then on. Needs a runtime of tokio.
    ///
    /// # Errors
    /// Those of sources that cannot be read and are not optional, a line each, with the code of the first; `INVALID_ARGUMENT` for values that
    /// are refused, with their path and origin.
    pub async fn load(self) -> Result<Config> {
        let mut wrong = self.wrong;
        let mut sources = Vec::new();
        let mut optional = Vec::new();
        for (opened, is_optional) in self.sources {
            match opened {
                Ok(source) => {
                    sources.push(Followed { index: sources.len(), source, limit: self.limit });
                    optional.push(is_optional);
                }
                Err(error) => wrong.push(error),
            }
        }
        joined(&wrong)?;
        let names = sources.iter().map(|source| source.source.name().to_owned());
        let layers = Layers::new(names.zip(optional.clone()), self.expansion, self.checks);
        let layers = Arc::new(layers);
        // Watched first, so that no change is missed.
        let read = join_all(sources.iter().map(|source| async move {
            let watch = source.watch().await;
            (watch, source.read().await)
        }));
        let (mut documents, mut watched) = (Vec::new(), Vec::new());
        for ((source, is_optional), (watch, read)) in sources.iter().zip(optional).zip(read.await) {
            let mut is_failing = false;
            let watch = watch.unwrap_or_else(|error| {
                layers.failed(source.index, &error);
                is_failing = true;
                None
            });
            match read {
                Ok(document) => documents.push((source.index, document)),
                Err(error) if is_optional && may_come(&error) => {
                    layers.failed(source.index, &error);
                    is_failing = true;
                }
                Err(error) => wrong.push(error),
            }
            watched.push((source.clone(), watch, is_failing));
        }
        joined(&wrong)?;
        let taking = Arc::clone(&layers);
        let taken = tokio::task::spawn_blocking(move || taking.take(documents)).await;
        taken.map_err(Error::unexpected)??;
        let following = watched
            .into_iter()
            .filter(|(_, changes, is_failing)| changes.is_some() || *is_failing)
            .map(|(source, changes, is_failing)| {
                let run = source.run(Arc::clone(&layers), changes, is_failing);
                AbortOnDropHandle::new(tokio::spawn(run))
            })
            .collect();
        Ok(Config::new(layers, sources, following))
    }
}

/// Whether a source may be there later, as it is.
fn may_come(error: &Error) -> bool {
    !matches!(error.code(), Code::InvalidArgument | Code::ResourceExhausted | Code::Unimplemented)
}
