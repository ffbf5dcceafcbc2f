//! What the operator of a program gives, and where.

use std::fmt;

use serde_json::Value as Json;

use super::table::{Form, Setting};
use crate::error::{Error, Result};

/// What set a setting. The later ones come before the earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Source {
    /// Nothing: it is the default.
    Default,
    /// The program.
    Code,
    /// This document.
    Document(String),
    /// This variable of the environment.
    Variable(String),
    /// This flag of the command line.
    Flag(String),
}

impl Source {
    /// What kind it is: `default`, `code`, `document`, `variable` or `flag`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Code => "code",
            Self::Document(_) => "document",
            Self::Variable(_) => "variable",
            Self::Flag(_) => "flag",
        }
    }

    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Code => 1,
            Self::Document(_) => 2,
            Self::Variable(_) => 3,
            Self::Flag(_) => 4,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default | Self::Code => f.write_str(self.kind()),
            Self::Document(name) | Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value that the operator gave.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) setting: &'static Setting,
    /// Of what is set by name, such as labels, the name.
    pub(super) name: Option<String>,
    pub(super) value: Json,
    pub(super) source: Source,
}

impl Given {
    /// The values in the text of a flag or a variable.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what cannot be read, naming the source.
    pub(super) fn read(
        setting: &'static Setting,
        text: &str,
        source: &Source,
    ) -> Result<Vec<Self>> {
        let wrong = |why: &str| Error::invalid_argument(format!("{source}: {why}"));
        let given = |name, value| Self { setting, name, value, source: source.clone() };
        let text_value = || Json::String(text.to_owned());
        let list = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let value = match setting.form() {
            Form::Number(_) => text.parse::<u64>().map_or_else(|_| text_value(), Json::from),
            Form::Truth => text.parse::<bool>().map_or_else(|_| text_value(), Json::from),
            Form::Seconds if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Json::String(format!("{text}s"))
            }
            Form::List(_) => list().map(|part| Json::String(part.to_owned())).collect(),
            Form::Labels => {
                // A flag is repeated; a variable cannot be.
                let parts: Vec<_> = match source {
                    Source::Variable(_) => list().collect(),
                    _ => vec![text],
                };
                let label = |part: &str| {
                    let pair = part.split_once('=').filter(|(name, _)| !name.is_empty());
                    let (name, value) = pair.ok_or_else(|| wrong("write name=value"))?;
                    Ok(given(Some(name.to_owned()), Json::String(value.to_owned())))
                };
                return parts.into_iter().map(label).collect();
            }
            Form::Json(_) if text.trim_start().starts_with(['{', '[']) => {
                serde_json::from_str(text).map_err(|error| wrong(&format!("no JSON: {error}")))?
            }
            Form::FileOrSystem if text == "system" => text_value(),
            Form::File | Form::FileOrSystem => serde_json::json!({ "file": text }),
            _ => text_value(),
        };
        Ok(vec![given(None, value)])
    }
}
