//! The list of operations, `ffi/bridge/surface.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Surface {
    #[serde(rename = "language")]
    pub(super) languages: Vec<Language>,
    #[serde(rename = "inside")]
    pub(super) inside: Vec<Inside>,
    #[serde(rename = "operation")]
    pub(super) operations: Vec<Operation>,
}

/// A column of the page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Language {
    pub(super) key: String,
    pub(super) title: String,
    /// A file, or a folder, that declares the names.
    pub(super) sources: String,
    /// Its sources are not there yet.
    #[serde(default)]
    pub(super) planned: bool,
}

/// Functions of the bridge that no host sees.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inside {
    pub(super) why: String,
    pub(super) names: Vec<String>,
}

/// Something that hosts do.
#[derive(Debug, Deserialize)]
pub(super) struct Operation {
    pub(super) object: String,
    pub(super) name: String,
    pub(super) does: String,
    pub(super) since: String,
    #[serde(default)]
    pub(super) events: Vec<String>,
    /// Arguments of the bridge's function, in order.
    pub(super) takes: Option<Vec<String>>,
    /// The bridge's functions, where they are not `Object::name`.
    pub(super) bridge: Option<Vec<String>>,
    #[serde(flatten)]
    pub(super) spelled: BTreeMap<String, Spelling>,
}

/// How a language spells an operation.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Spelling {
    One(String),
    Several(Vec<String>),
    Missing { none: String },
}

impl Spelling {
    pub(super) fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
            Self::Missing { .. } => &[],
        }
    }
}

impl Operation {
    pub(super) fn bridge(&self) -> Vec<String> {
        self.bridge.clone().unwrap_or_else(|| vec![format!("{}::{}", self.object, self.name)])
    }

    pub(super) fn title(&self) -> String {
        format!("{} {}", self.object, self.name)
    }
}
