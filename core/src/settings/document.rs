//! What all documents have in common: how they are read from text, and their bounds.

use crate::error::{Error, Result};

use super::path::FieldPath;
use super::value::{Fields, Value};

/// Largest document, in bytes.
const MAX_DOCUMENT: usize = 1024 * 1024;

/// Settings that are read from a document.
pub(super) trait Document: Sized {
    /// What messages call the document.
    const NAME: &'static str;

    /// Reads the document.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for whatever is wrong in it.
    fn read(value: Value) -> Result<Self>;

    fn parse(text: &str) -> Result<Self> {
        Self::read(value(Self::NAME, text)?)
    }

    fn from_value(json: serde_json::Value) -> Result<Self> {
        Self::read(Value::new(FieldPath::new(Self::NAME), json))
    }
}

/// What the text of a document holds, which messages call `name`.
///
/// # Errors
/// `INVALID_ARGUMENT` for a text that is too long, or no JSON.
pub(super) fn value(name: &'static str, text: &str) -> Result<Value> {
    Ok(Value::new(FieldPath::new(name), json(name, text)?))
}

/// The same without its path.
///
/// # Errors
/// As [`value`].
pub(super) fn json(name: &'static str, text: &str) -> Result<serde_json::Value> {
    let wrong = |why: String| Error::invalid_argument(format!("{name}: {why}"));
    if text.len() > MAX_DOCUMENT {
        return Err(wrong(format!(
            "{} bytes are too many: a document has at most {MAX_DOCUMENT}",
            text.len()
        )));
    }
    match text.trim() {
        "" => Ok(serde_json::Value::Null),
        text => serde_json::from_str(text).map_err(|error| {
            wrong(format!("no JSON: {error}: write for example {{\"timeout\": \"5s\"}}"))
        }),
    }
}

impl Fields {
    /// The fields of the JSON object in `text`, which messages call `document`; none of an empty text.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what is no such object.
    pub fn of(document: &'static str, text: &str) -> Result<Self> {
        value(document, text)?.fields()
    }
}

/// The public ways into a [`Document`].
macro_rules! document {
    ($settings:ident) => {
        impl $settings {
            /// Reads them from a JSON object; an empty text sets nothing.
            ///
            /// # Errors
            /// `INVALID_ARGUMENT`, naming the field, for whatever is wrong in it.
            pub fn from_json(text: &str) -> crate::error::Result<Self> {
                $crate::settings::document::Document::parse(text)
            }
        }

        impl<'de> serde::Deserialize<'de> for $settings {
            fn deserialize<D>(deserializer: D) -> Result<Self, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                let json = serde_json::Value::deserialize(deserializer)?;
                $crate::settings::document::Document::from_value(json)
                    .map_err(|error| serde::de::Error::custom(error.detail()))
            }
        }
    };
}
pub(super) use document;
