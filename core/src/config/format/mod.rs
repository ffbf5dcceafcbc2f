//! What documents are written in.

mod bounds;
#[cfg(feature = "config-hcl")]
mod hcl;
mod json;
#[cfg(any(feature = "config-toml", feature = "config-xml", feature = "config-hcl"))]
mod lines;
#[cfg(test)]
mod tests;
#[cfg(feature = "config-toml")]
mod toml;
#[cfg(feature = "config-xml")]
mod xml;
#[cfg(feature = "config-yaml")]
mod yaml;

use std::sync::Arc;

use super::node::{Data, Node};
use super::origin::Origin;
use crate::error::{Error, Result};
use bounds::Place;

/// Longest document that is read, in bytes, unless its source says otherwise: 16 MiB.
pub const MAX_BYTES: usize = 16 << 20;

/// A way to write a document. JSON is always read, the others with the features `config-yaml`, `config-toml`, `config-xml` and `config-hcl`
/// of this crate.
///
/// | format | what becomes of it |
/// |---|---|
/// | JSON | itself; a key that is there twice is an error |
/// | YAML | YAML 1.2, with anchors and `<<`; a number without quotes may be read as a text |
/// | TOML | itself; dates are texts |
/// | XML | what is in the root element: elements and attributes are keys, repeated elements a list, text beside elements is `#text` |
/// | HCL | attributes and blocks are keys, labels keys below, repeated blocks a list; expressions are not computed |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `.json`
    Json,
    /// `.yaml`, `.yml`
    Yaml,
    /// `.toml`
    Toml,
    /// `.xml`
    Xml,
    /// `.hcl`
    Hcl,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Json, Self::Yaml, Self::Toml, Self::Xml, Self::Hcl];

    /// Its name, such as `yaml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Toml => "toml",
            Self::Xml => "xml",
            Self::Hcl => "hcl",
        }
    }

    /// By its name or the extension of a file, without the dot.
    pub fn from_extension(extension: &str) -> Option<Self> {
        let extension = extension.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|format| format.name() == extension)
            .or_else(|| (extension == "yml").then_some(Self::Yaml))
    }

    /// By a content type, such as `application/yaml; charset=utf-8`.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (_, subtype) = kind.split_once('/')?;
        let name = subtype.rsplit('+').next().unwrap_or(subtype);
        Self::from_extension(name.strip_prefix("x-").unwrap_or(name))
    }
}

/// Reads a document; `origin` is that of the whole of it, and `max_bytes` is set by `setting`.
///
/// # Errors
/// `INVALID_ARGUMENT` with the line, and what to do.
pub(super) fn parse(
    format: Format,
    text: &[u8],
    origin: &Origin,
    max_bytes: usize,
) -> Result<Arc<Node>> {
    if text.len() > max_bytes {
        return Err(too_large(origin, text.len() as u64, max_bytes));
    }
    let place = Place::new(origin);
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = text.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        place.wrong(line, "this is no UTF-8: save the file as UTF-8")
    })?;
    // Editors of Windows put a mark at the front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Ok(Node::empty(origin.clone()));
    }
    let root = match format {
        Format::Json => json::parse(text, place),
        #[cfg(feature = "config-yaml")]
        Format::Yaml => yaml::parse(text, place),
        #[cfg(feature = "config-toml")]
        Format::Toml => toml::parse(text, place),
        #[cfg(feature = "config-xml")]
        Format::Xml => xml::parse(text, place),
        #[cfg(feature = "config-hcl")]
        Format::Hcl => hcl::parse(text, place),
        #[allow(unreachable_patterns, reason = "depends on the features")]
        other => Err(Error::unimplemented(format!(
            "{origin}: {name} is not read by this build: switch on the feature `config-{name}` of the crate `micro`, or use JSON",
            name = other.name()
        ))),
    }?;
    match &root.data {
        Data::Map(_) => Ok(root),
        Data::Null => Ok(Node::empty(origin.clone())),
        _ => Err(Error::invalid_argument(format!(
            "{}: the document is {}: write keys with values",
            root.origin,
            root.kind()
        ))),
    }
}

/// The error of a document that is not read.
pub(super) fn too_large(origin: &Origin, bytes: u64, max_bytes: usize) -> Error {
    Error::resource_exhausted(format!(
        "{origin}: the document has {bytes} bytes, and {max_bytes} are read: make it smaller, or raise `max_bytes` of its source"
    ))
}
