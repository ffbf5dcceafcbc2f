//! What an operator gives in several places, put together as one document.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::given::{Given, Source};
use super::path::{FieldPath, Origins};
use super::table::{Form, Setting};
use super::value::Value;

/// What the operator says, each setting once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gathered(Vec<Given>);

impl Gathered {
    pub(super) fn new(given: impl IntoIterator<Item = Given>) -> Self {
        let mut last: BTreeMap<(&'static str, Option<String>), Given> = BTreeMap::new();
        for one in given {
            let key = (one.setting.key(), one.name.clone());
            match last.get_mut(&key) {
                // A list that is repeated on the command line goes on.
                Some(old) if same_list(old, &one) => {
                    if let (Json::Array(all), Json::Array(more)) = (&mut old.value, one.value) {
                        all.extend(more);
                    }
                }
                Some(old) if old.source.rank() > one.source.rank() => {}
                _ => drop(last.insert(key, one)),
            }
        }
        let mut given: Vec<Given> = last.into_values().collect();
        one_of_word_and_parts(&mut given);
        Self(given)
    }

    pub(super) fn given(&self) -> &[Given] {
        &self.0
    }

    /// The document in which each stands under this key.
    pub(super) fn value(
        &self,
        document: &'static str,
        key: impl Fn(&Setting) -> Option<&'static str>,
    ) -> Value {
        let mut root = Map::new();
        let mut origins = BTreeMap::new();
        for given in &self.0 {
            let Some(key) = key(given.setting) else { continue };
            let origin = match &given.source {
                Source::Document(name) => format!("{name}: {key}"),
                source => source.to_string(),
            };
            origins.insert(key, origin);
            let parts: Vec<&str> = key.split('.').chain(given.name.as_deref()).collect();
            put(&mut root, &parts, given.value.clone());
        }
        let origins: Origins = Arc::new(origins);
        Value::new(FieldPath::of_sources(document, origins), Json::Object(root))
    }
}

/// Puts a value where these keys lead to.
fn put(object: &mut Map<String, Json>, keys: &[&str], value: Json) {
    match keys {
        [] => {}
        [last] => drop(object.insert((*last).to_owned(), value)),
        [first, rest @ ..] => {
            let inner = object.entry(*first).or_insert(Json::Null);
            if !inner.is_object() {
                *inner = Json::Object(Map::new());
            }
            if let Json::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn same_list(old: &Given, new: &Given) -> bool {
    matches!(new.setting.form(), Form::List(_))
        && matches!((&old.source, &new.source), (Source::Flag(_), Source::Flag(_)))
}

/// Of a word such as `limiter` and its parts, such as `limiter.patience`, the ones that come first by their source stay. Parts
/// win beside a word of the same source.
fn one_of_word_and_parts(given: &mut Vec<Given>) {
    let words: BTreeSet<&str> = given.iter().map(|one| one.setting.key()).collect();
    let is_part =
        |key: &str, word: &str| key.strip_prefix(word).is_some_and(|rest| rest.starts_with('.'));
    for word in words {
        let rank_of = |of: &dyn Fn(&str) -> bool| {
            given.iter().filter(|one| of(one.setting.key())).map(|one| one.source.rank()).max()
        };
        let own = rank_of(&|key| key == word);
        let Some(parts) = rank_of(&|key| is_part(key, word)) else { continue };
        if own > Some(parts) {
            given.retain(|one| !is_part(one.setting.key(), word));
        } else {
            given.retain(|one| one.setting.key() != word);
        }
    }
}
