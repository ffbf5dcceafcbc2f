//! Every operation with all that is known of it: what the list says, what the table says, and what follows from the rules.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::list::{Entry, List, Object, Spelling};
use super::table::{Question, Table};
use crate::Outcome;

/// What each version of the C ABI has.
const HISTORY: &str = "ffi/c/abi/history";
/// The language that says since when there is something.
const C: &str = "c";

/// Something that hosts do.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) object: String,
    pub(super) name: String,
    pub(super) does: String,
    pub(super) since: String,
    pub(super) events: Vec<String>,
    /// Functions of the bridge that it is made of; the first one need not be there.
    pub(super) bridge: Vec<String>,
    pub(super) spelled: BTreeMap<String, Spelling>,
    /// Its row in the table, where it is asked.
    pub(super) question: Option<Question>,
    /// By language, what an argument is called there.
    pub(super) arguments: BTreeMap<String, BTreeMap<String, String>>,
}

impl Operation {
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.object, self.name)
    }

    pub(super) fn names(&self, language: &str) -> &[String] {
        self.spelled.get(language).map_or(&[], Spelling::names)
    }
}

/// The operations of the list and of the table, by object, and what is wrong with how they are listed.
pub(super) fn all(list: &List, table: Table, versions: &Versions) -> (Vec<Operation>, Vec<String>) {
    let (mut operations, mut wrong) = (Vec::new(), Vec::new());
    let mut asked = table.questions;
    for object in &list.objects {
        let area = object.area();
        let prefix = format!("{area}.");
        for entry in &object.operations {
            let name = format!("{prefix}{}", entry.name);
            let question = asked.iter().position(|question| question.name == name);
            let question = question.map(|at| asked.remove(at));
            wrong.extend(odd(list, object, entry, question.as_ref()));
            operations.push(operation(list, object, &entry.name, Some(entry), question, versions));
        }
        let (own, rest) = asked.into_iter().partition(|row| row.name.starts_with(&prefix));
        asked = rest;
        operations.extend(Vec::into_iter(own).map(|question: Question| {
            let name = question.name[prefix.len()..].to_owned();
            operation(list, object, &name, None, Some(question), versions)
        }));
    }
    wrong.extend(asked.iter().map(|question| {
        format!("{} has no object: add an [[object]] with its area to the list", question.name)
    }));
    (operations, wrong)
}

fn operation(
    list: &List,
    object: &Object,
    name: &str,
    entry: Option<&Entry>,
    question: Option<Question>,
    versions: &Versions,
) -> Operation {
    let spell = |language| match entry.and_then(|entry| entry.spelled.get(language)) {
        Some(spelling) => spelling.clone(),
        None => {
            let language = list.languages.iter().find(|other| other.key == *language);
            language.map_or(Spelling::Several(Vec::new()), |language| {
                object.by_rule(language, name, question.is_some())
            })
        }
    };
    let spelled: BTreeMap<String, Spelling> = list
        .languages
        .iter()
        .map(|language| (language.key.clone(), spell(&language.key)))
        .collect();
    let since = entry.and_then(|entry| entry.since.clone());
    let in_c = spelled.get(C).map_or(&[][..], Spelling::names);
    let mut bridge = vec![format!("{}::{name}", object.bridge())];
    bridge.extend(entry.iter().flat_map(|entry| entry.bridge.iter().cloned()));
    let told = question.as_ref().map_or(Vec::new(), Question::events);
    Operation {
        object: object.name.clone(),
        name: name.to_owned(),
        does: entry
            .and_then(|entry| entry.does.clone())
            .or_else(|| question.as_ref().map(|question| question.does.clone()))
            .unwrap_or_default(),
        since: since.unwrap_or_else(|| versions.since(in_c)),
        events: entry.and_then(|entry| entry.events.clone()).unwrap_or(told),
        bridge,
        spelled,
        question,
        arguments: entry.map(|entry| entry.arguments.clone()).unwrap_or_default(),
    }
}

/// What is wrong with an entry of the list.
fn odd(list: &List, object: &Object, entry: &Entry, question: Option<&Question>) -> Vec<String> {
    let mut wrong = Vec::new();
    let title = format!("{} {}", object.name, entry.name);
    match question {
        None if entry.does.is_none() => wrong.push(format!(
            "{title} is not asked: say what it does, or put it into the table of operations"
        )),
        Some(question) if entry.does.is_some() || entry.events.is_some() => wrong.push(format!(
            "{title}: the row of {} says what it does and tells: leave out `does` and `events`",
            question.name
        )),
        Some(_) if entry.spelled.is_empty() && entry.arguments.is_empty() => {
            wrong.push(format!("{title} follows every rule: leave it out"));
        }
        _ => {}
    }
    for (key, spelling) in &entry.spelled {
        let Some(language) = list.languages.iter().find(|language| language.key == *key) else {
            wrong.push(format!("{title}: {key} is no language"));
            continue;
        };
        if *spelling == object.by_rule(language, &entry.name, question.is_some()) {
            wrong.push(format!("{title}: {key} follows the rule: leave it out"));
        }
    }
    let languages = list.languages.iter().map(|language| &language.key);
    let unknown = object.spelled.keys().filter(|key| !languages.clone().any(|other| other == *key));
    wrong.extend(unknown.map(|key| format!("{}: {key} is no language", object.name)));
    wrong
}

/// The versions of the C ABI, the oldest first, with the names that each has.
pub(super) struct Versions(Vec<(String, serde_json::Value)>);

impl Versions {
    /// # Errors
    /// For a folder or a file that cannot be read.
    pub(super) fn read(root: &Path) -> Outcome<Self> {
        let mut versions = Vec::new();
        for file in fs::read_dir(root.join(HISTORY))? {
            let path = file?.path();
            let version = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            versions.push((version, serde_json::from_str(&fs::read_to_string(&path)?)?));
        }
        versions.sort_by_key(|(version, _)| {
            version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>()
        });
        Ok(Self(versions))
    }

    /// The first version with all of `names`.
    fn since(&self, names: &[String]) -> String {
        let has = |version: &serde_json::Value, name: &String| {
            ["functions", "constants"].iter().any(|kind| version[kind].get(name).is_some())
        };
        let first = self.0.iter().find(|(_, it)| names.iter().all(|name| has(it, name)));
        first.map_or_else(|| "next".to_owned(), |(version, _)| version.clone())
    }
}
