//! `${NAME}` in values, and values that are encrypted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::node::{Data, Map, Node};
use super::path::Path;
use super::secret::{Cipher, SCHEME, Secret, decrypted};
use crate::error::{Error, Result};
use crate::spelling::nearest;

/// How many variables may lead to each other.
const MAX_NESTED: usize = 16;
/// Longest text that a value may become, in bytes.
const MAX_TEXT: usize = 1 << 20;

/// Where variables and keys are.
#[derive(Default)]
pub(super) struct Expansion {
    /// Instead of the environment of the process.
    pub(super) variables: Option<BTreeMap<String, String>>,
    pub(super) ciphers: Vec<Arc<dyn Cipher>>,
    /// Values at and below these are not shown.
    pub(super) secrets: Vec<Path>,
    /// `${NAME}` stays.
    pub(super) keeps_variables: bool,
    /// What is encrypted stays.
    pub(super) keeps_encrypted: bool,
}

/// Without variables, which may be secrets.
impl fmt::Debug for Expansion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expansion").field("ciphers", &self.ciphers).finish_non_exhaustive()
    }
}

impl Expansion {
    /// A tree in which every value is what it stands for. What needs nothing is shared with `node`.
    ///
    /// # Errors
    /// Each of them with its path and its origin, a line each: an unknown variable, a loop, a value that cannot be decrypted.
    pub(super) fn apply(&self, root: &Arc<Node>) -> Result<Arc<Node>> {
        let mut wrong = Vec::new();
        let mut keys = Vec::new();
        let expanded = self.node(root, &mut keys, &mut wrong);
        match wrong.len() {
            0 => Ok(expanded),
            _ => Err(Error::invalid_argument(wrong.join("\n"))),
        }
    }

    fn node(&self, node: &Arc<Node>, keys: &mut Vec<String>, wrong: &mut Vec<String>) -> Arc<Node> {
        match &node.data {
            Data::Map(values) => {
                let mut changed: Option<Map> = None;
                for (key, value) in values {
                    keys.push(key.to_string());
                    let expanded = self.node(value, keys, wrong);
                    keys.pop();
                    if !Arc::ptr_eq(&expanded, value) {
                        changed
                            .get_or_insert_with(|| values.clone())
                            .insert(Arc::clone(key), expanded);
                    }
                }
                let with = |values| Node::new(Data::Map(values), node.origin.clone());
                changed.map_or_else(|| Arc::clone(node), with)
            }
            Data::List(values) => {
                let expand = |(index, value): (usize, &Arc<Node>)| {
                    keys.push(index.to_string());
                    let expanded = self.node(value, keys, wrong);
                    keys.pop();
                    expanded
                };
                let expanded: Vec<_> = values.iter().enumerate().map(expand).collect();
                let same = expanded.iter().zip(values).all(|(one, other)| Arc::ptr_eq(one, other));
                match same {
                    true => Arc::clone(node),
                    false => Node::new(Data::List(expanded), node.origin.clone()),
                }
            }
            Data::Text(text) | Data::Loose(text) => match self.text(text) {
                Ok(None) if self.is_secret(keys) => hidden(node, text.clone()),
                Ok(None) => Arc::clone(node),
                Ok(Some(Data::Loose(text))) if self.is_secret(keys) => hidden(node, text),
                Ok(Some(data)) => Node::new(data, node.origin.clone()),
                Err(error) => {
                    let path = Path::from(keys.clone());
                    wrong.push(format!("{path} ({}): {}", node.origin, error.detail()));
                    Arc::clone(node)
                }
            },
            Data::Number(number) if self.is_secret(keys) => hidden(node, number.to_string()),
            _ => Arc::clone(node),
        }
    }

    fn is_secret(&self, keys: &[String]) -> bool {
        self.secrets.iter().any(|secret| keys.starts_with(secret.keys()))
    }

    /// What a text stands for; `None` for itself.
    fn text(&self, text: &str) -> Result<Option<Data>> {
        let expanded = match !self.keeps_variables && text.contains("${") {
            true => {
                let mut out = String::new();
                self.expand(text, &mut Vec::new(), &mut out)?;
                Some(out)
            }
            false => None,
        };
        let whole = expanded.as_deref().unwrap_or(text);
        if whole.starts_with(SCHEME) && !self.keeps_encrypted {
            return decrypted(whole, &self.ciphers).map(|secret| Some(Data::Secret(secret)));
        }
        Ok(expanded.map(Data::Loose))
    }

    fn expand(&self, text: &str, within: &mut Vec<String>, out: &mut String) -> Result<()> {
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, from) = rest.split_at(start);
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = from.get(2..).unwrap_or_default();
                continue;
            }
            out.push_str(before);
            let inner = from.get(2..).unwrap_or_default();
            let end = closing(inner).ok_or_else(|| {
                Error::invalid_argument(format!(
                    "`{from}` has no `}}`: close it, or write `$${{` for a `${{` that stays"
                ))
            })?;
            let (reference, behind) = inner.split_at(end);
            self.reference(reference, within, out)?;
            rest = behind.get(1..).unwrap_or_default();
        }
        out.push_str(rest);
        if out.len() > MAX_TEXT {
            return Err(Error::invalid_argument(format!(
                "its variables make it longer than {MAX_TEXT} bytes: shorten them"
            )));
        }
        Ok(())
    }

    /// What is between the braces.
    fn reference(&self, reference: &str, within: &mut Vec<String>, out: &mut String) -> Result<()> {
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(Error::invalid_argument(format!(
                "`${{{reference}}}` names no variable: write ${{NAME}} or ${{NAME:-default}}, or `$${{` for a `${{` that stays"
            )));
        }
        if within.iter().any(|outer| outer == name) {
            let chain = within.join("} → ${");
            return Err(Error::invalid_argument(format!(
                "${{{chain}}} → ${{{name}}} is a loop: set {name} to a value"
            )));
        }
        if within.len() >= MAX_NESTED {
            return Err(Error::invalid_argument(format!(
                "${{{name}}} is the end of more than {MAX_NESTED} variables that name each other: set it directly"
            )));
        }
        // As in a shell, what is empty is as good as unset where there is a default.
        let value = self.variable(name).filter(|value| default.is_none() || !value.is_empty());
        match (value, default) {
            (Some(value), _) => {
                within.push(name.to_owned());
                self.expand(&value, within, out)?;
                within.pop();
                Ok(())
            }
            (None, Some(default)) => self.expand(default, within, out),
            (None, None) => {
                let known: Vec<String> = match &self.variables {
                    Some(variables) => variables.keys().cloned().collect(),
                    None => std::env::vars_os().filter_map(|(n, _)| n.into_string().ok()).collect(),
                };
                let hint = match nearest(name, known.iter().map(String::as_str)) {
                    Some(meant) => format!(" (there is {meant})"),
                    None => String::new(),
                };
                Err(Error::invalid_argument(format!(
                    "the environment has no variable {name}{hint}: set it, or write ${{{name}:-default}}"
                )))
            }
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        match &self.variables {
            Some(variables) => variables.get(name).cloned(),
            None => std::env::var(name).ok(),
        }
    }
}

/// The same, not to be shown.
fn hidden(node: &Arc<Node>, text: String) -> Arc<Node> {
    Node::new(Data::Secret(Secret::new(text)), node.origin.clone())
}

/// Where the brace is that closes what was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut before = ' ';
    for (index, character) in text.char_indices() {
        match character {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => return Some(index),
            '}' => depth -= 1,
            _ => {}
        }
        before = character;
    }
    None
}
