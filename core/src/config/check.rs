//! What values have to be.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::decode::decode;
use super::node::{Node, at};
use super::path::Path;
use crate::error::Result;

/// Looks at all values before they are in use.
pub(super) trait Check: Send + Sync {
    /// # Errors
    /// What is wrong, with path and origin.
    fn check(&self, root: &Arc<Node>) -> Result<()>;
}

impl fmt::Debug for dyn Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check")
    }
}

/// That a value can be read into a type.
pub(super) struct Readable<T> {
    path: Path,
    kind: PhantomData<fn() -> T>,
}

impl<T> Readable<T> {
    pub(super) fn new(path: Path) -> Self {
        Self { path, kind: PhantomData }
    }
}

impl<T: DeserializeOwned> Check for Readable<T> {
    fn check(&self, root: &Arc<Node>) -> Result<()> {
        decode::<T>(&self.path, at(root, &self.path).map(|node| &**node)).map(|_| ())
    }
}

/// A function of the program.
pub(super) struct Custom<F>(pub(super) F);

impl<F: Fn(&super::value::Value) -> Result<()> + Send + Sync> Check for Custom<F> {
    fn check(&self, root: &Arc<Node>) -> Result<()> {
        let root = super::value::Value::new(Path::default(), Some(Arc::clone(root)));
        crate::plugin::caught("a check of the configuration", || (self.0)(&root))?
    }
}

#[cfg(feature = "config-schema")]
pub(super) use schema::Schema;

#[cfg(feature = "config-schema")]
mod schema {
    use std::sync::Arc;

    use jsonschema::Validator;
    use serde_json::Value as Json;

    use super::Check;
    use crate::config::node::{Data, Node, at, guess, last_at};
    use crate::config::path::Path;
    use crate::error::{Error, Result};

    /// Faults that are told at once.
    const MOST: usize = 10;

    /// That all values are as a JSON schema says.
    pub(in crate::config) struct Schema(Validator);

    impl Schema {
        pub(in crate::config) fn new(schema: &Json) -> Result<Self> {
            let wrong = |error: jsonschema::ValidationError<'_>| {
                let at = error.instance_path().to_string();
                Error::invalid_argument(format!("the schema of the configuration: {at}: {error}"))
            };
            jsonschema::validator_for(schema).map(Self).map_err(wrong)
        }
    }

    /// The path that a pointer is.
    fn path(pointer: &str) -> Path {
        let keys = pointer.split('/').skip(1);
        Path::from(keys.map(|key| key.replace("~1", "/").replace("~0", "~")).collect::<Vec<_>>())
    }

    impl Check for Schema {
        fn check(&self, root: &Arc<Node>) -> Result<()> {
            let mut values = root.to_json(&|secret| Json::String(secret.expose().clone()));
            if self.0.is_valid(&values) {
                return Ok(());
            }
            // What has no type of its own gets the one that is wanted.
            let pointers: Vec<String> = self
                .0
                .iter_errors(&values)
                .map(|error| error.instance_path().to_string())
                .collect();
            for pointer in pointers {
                let node = at(root, &path(&pointer));
                let other = match node.map(|node| &node.data) {
                    Some(Data::Loose(text)) => Json::String(text.clone()),
                    Some(Data::Secret(text)) => guess(text.expose()),
                    _ => continue,
                };
                if let Some(value) = values.pointer_mut(&pointer) {
                    *value = other;
                }
            }
            let wrong: Vec<String> = self
                .0
                .iter_errors(&values)
                .take(MOST)
                .map(|error| {
                    let path = path(&error.instance_path().to_string());
                    let origin = &last_at(root, &path).origin;
                    // Values may be secrets.
                    format!("{path} ({origin}): {}", error.masked())
                })
                .collect();
            if wrong.is_empty() { Ok(()) } else { Err(Error::invalid_argument(wrong.join("\n"))) }
        }
    }
}
