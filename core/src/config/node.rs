//! A tree of values, each with its origin.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Number, Value as Json};

use super::origin::Origin;
use super::path::Path;
use super::secret::Secret;

/// Children by key.
pub(super) type Map = BTreeMap<Arc<str>, Arc<Node>>;

/// A value and where it comes from. What trees have in common they share.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) data: Data,
    pub(super) origin: Origin,
}

#[derive(Debug, Clone)]
pub(super) enum Data {
    Null,
    Bool(bool),
    Number(Number),
    /// A text that was written as one.
    Text(String),
    /// A text that is what its reader wants of it, as in a variable: a number, a truth value, or a text.
    Loose(String),
    Secret(Secret<String>),
    List(Vec<Arc<Node>>),
    Map(Map),
    /// In the topmost layer: what is below is not there.
    Deleted,
}

/// Two are equal where their readers see no difference, wherever they come from.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (&self.data, &other.data) {
            (Data::Null, Data::Null) | (Data::Deleted, Data::Deleted) => true,
            (Data::Bool(one), Data::Bool(other)) => one == other,
            (Data::Number(one), Data::Number(other)) => one == other,
            (Data::Text(one), Data::Text(other)) | (Data::Loose(one), Data::Loose(other)) => {
                one == other
            }
            (Data::Secret(one), Data::Secret(other)) => one == other,
            (Data::List(one), Data::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(a, b))
            }
            (Data::Map(one), Data::Map(other)) => {
                let pairs = || one.iter().zip(other);
                one.len() == other.len() && pairs().all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
            }
            _ => false,
        }
    }
}

/// As `==`, quick where they are shared.
pub(super) fn same(one: &Arc<Node>, other: &Arc<Node>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

impl Node {
    pub(super) fn new(data: Data, origin: Origin) -> Arc<Self> {
        Arc::new(Self { data, origin })
    }

    pub(super) fn empty(origin: Origin) -> Arc<Self> {
        Self::new(Data::Map(Map::new()), origin)
    }

    /// A tree whose values all have one origin.
    pub(super) fn from_json(json: Json, origin: &Origin) -> Arc<Self> {
        let data = match json {
            Json::Null => Data::Null,
            Json::Bool(value) => Data::Bool(value),
            Json::Number(value) => Data::Number(value),
            Json::String(value) => Data::Text(value),
            Json::Array(values) => {
                Data::List(values.into_iter().map(|value| Self::from_json(value, origin)).collect())
            }
            Json::Object(values) => Data::Map(
                values
                    .into_iter()
                    .map(|(key, value)| (key.into(), Self::from_json(value, origin)))
                    .collect(),
            ),
        };
        Self::new(data, origin.clone())
    }

    /// As JSON. A secret is what `shown` says of it.
    pub(super) fn to_json(&self, secret: &dyn Fn(&Secret<String>) -> Json) -> Json {
        match &self.data {
            Data::Null | Data::Deleted => Json::Null,
            Data::Bool(value) => Json::Bool(*value),
            Data::Number(value) => Json::Number(value.clone()),
            Data::Text(text) => Json::String(text.clone()),
            Data::Loose(text) => guess(text),
            Data::Secret(text) => secret(text),
            Data::List(values) => values.iter().map(|value| value.to_json(secret)).collect(),
            Data::Map(values) => values
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_json(secret)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    fn child(&self, key: &str) -> Option<&Arc<Self>> {
        match &self.data {
            Data::Map(children) => children.get(key),
            Data::List(children) => children.get(key.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// What is called in messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null | Data::Deleted => "null",
            Data::Bool(_) => "a truth value",
            Data::Number(_) => "a number",
            Data::Text(_) | Data::Loose(_) => "a text",
            Data::Secret(_) => "a secret",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }
}

/// What a path leads to.
pub(super) fn at<'a>(root: &'a Arc<Node>, path: &Path) -> Option<&'a Arc<Node>> {
    path.keys().iter().try_fold(root, |node, key| node.child(key))
}

/// The last value on the way of a path; the value itself where there is one.
pub(super) fn last_at<'a>(root: &'a Arc<Node>, path: &Path) -> &'a Arc<Node> {
    let mut node = root;
    for key in path.keys() {
        match node.child(key) {
            Some(child) => node = child,
            None => break,
        }
    }
    node
}

/// One layer over another: maps go together, anything else is replaced.
pub(super) fn merge(lower: &Arc<Node>, upper: &Arc<Node>) -> Arc<Node> {
    let (Data::Map(below), Data::Map(above)) = (&lower.data, &upper.data) else {
        return without_deleted(upper);
    };
    if above.is_empty() {
        return Arc::clone(lower);
    }
    let mut merged = below.clone();
    for (key, value) in above {
        if matches!(value.data, Data::Deleted) {
            merged.remove(key);
            continue;
        }
        let value = match below.get(key) {
            Some(below) => merge(below, value),
            None => without_deleted(value),
        };
        merged.insert(Arc::clone(key), value);
    }
    Node::new(Data::Map(merged), upper.origin.clone())
}

/// What there is nothing below of needs no deletions.
fn without_deleted(node: &Arc<Node>) -> Arc<Node> {
    let Data::Map(children) = &node.data else { return Arc::clone(node) };
    if children.is_empty() {
        return Arc::clone(node);
    }
    let is_there = |child: &&Arc<Node>| !matches!(child.data, Data::Deleted);
    let kept: Map = children
        .iter()
        .filter(|(_, child)| is_there(child))
        .map(|(key, child)| (Arc::clone(key), without_deleted(child)))
        .collect();
    let same = kept.len() == children.len()
        && kept.values().zip(children.values()).all(|(kept, child)| Arc::ptr_eq(kept, child));
    if same { Arc::clone(node) } else { Node::new(Data::Map(kept), node.origin.clone()) }
}

/// `root` with another value at `path`; maps are made on the way, in place of what is no map.
pub(super) fn with(root: &Arc<Node>, path: &[String], value: &Arc<Node>) -> Arc<Node> {
    let Some((key, rest)) = path.split_first() else { return Arc::clone(value) };
    let mut children = match &root.data {
        Data::Map(children) => children.clone(),
        _ => Map::new(),
    };
    let below = match children.get(key.as_str()) {
        Some(child) => Arc::clone(child),
        None => Node::empty(value.origin.clone()),
    };
    children.insert(key.as_str().into(), with(&below, rest, value));
    Node::new(Data::Map(children), root.origin.clone())
}

/// What a text is when nothing says which type is wanted: a truth value, a number, or a text. Zeros at the front make no number.
pub(super) fn guess(text: &str) -> Json {
    match text {
        "true" | "True" | "TRUE" => return Json::Bool(true),
        "false" | "False" | "FALSE" => return Json::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leads = digits.bytes().next().is_some_and(|first| first.is_ascii_digit());
    let padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    if leads && plain && !padded {
        if let Ok(number) = text.parse::<i64>() {
            return number.into();
        }
        if let Ok(number) = text.parse::<u64>() {
            return number.into();
        }
        if let Some(number) = text.parse().ok().and_then(Number::from_f64) {
            return Json::Number(number);
        }
    }
    Json::String(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tree(json: Json) -> Arc<Node> {
        Node::from_json(json, &Origin::new("test"))
    }

    fn json_of(node: &Arc<Node>) -> Json {
        node.to_json(&|_| Json::Null)
    }

    #[test]
    fn maps_merge_deep_and_all_else_is_replaced_by_the_later() {
        for (lower, upper, merged) in [
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 3}}),
                json!({"a": {"b": 3, "c": 2}}),
            ),
            (json!({"a": [1, 2, 3]}), json!({"a": [4]}), json!({"a": [4]})),
            (json!({"a": 1}), json!({"a": null}), json!({"a": null})),
            (json!({"a": 1}), json!({"a": {"b": 2}}), json!({"a": {"b": 2}})),
            (json!({"a": {"b": 2}}), json!({"a": 1}), json!({"a": 1})),
            (json!({"a": true, "b": 5}), json!({"a": false, "b": 0}), json!({"a": false, "b": 0})),
        ] {
            assert_eq!(json_of(&merge(&tree(lower), &tree(upper))), merged);
        }
    }

    #[test]
    fn a_text_without_a_type_is_guessed() {
        for (text, guessed) in [
            ("true", json!(true)),
            ("7", json!(7)),
            ("-7", json!(-7)),
            ("0", json!(0)),
            ("0.5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("18446744073709551615", json!(u64::MAX)),
            ("007", json!("007")),
            ("1.2.3", json!("1.2.3")),
            ("t", json!("t")),
            ("inf", json!("inf")),
            ("-", json!("-")),
            ("", json!("")),
        ] {
            assert_eq!(guess(text), guessed, "{text}");
        }
    }
}
