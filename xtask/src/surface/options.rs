//! Options: what each language calls them, held to the keys of the core's documents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::{ImplItem, Item};

use super::list::{Language, List};
use super::names::{files, parse};
use super::table::calls;
use crate::Outcome;

/// Where documents are read.
const SETTINGS: &str = "core/src/settings";
/// Functions that read a document, or a part of one.
const READERS: [&str; 2] = ["read", "take"];
/// What reads a duration.
const TIMES: [&str; 4] = ["duration", "period", "limit", "time_in"];
/// The name under which a language lists every duration there is, also those of nested objects.
const DURATIONS: &str = "_DURATIONS";

/// The documents of the core: keys of each, and whether they are durations.
#[derive(Debug, Default)]
pub(super) struct Documents {
    by_name: BTreeMap<String, BTreeMap<String, bool>>,
    /// Every key that is a duration anywhere.
    durations: BTreeSet<String>,
}

/// Reads the documents under `root`; none where there are no settings.
pub(super) fn read(root: &Path) -> Outcome<Documents> {
    let folder = root.join(SETTINGS);
    let mut documents = Documents::default();
    if !folder.exists() {
        return Ok(documents);
    }
    let mut parts = BTreeMap::new();
    for path in files(&folder)? {
        let is_test = path.components().any(|part| part.as_os_str() == "tests");
        if is_test || path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let items = parse(&path)?.items;
        for item in &items {
            let read = calls(&item.to_token_stream()).into_iter();
            let durations = read.filter(|(_, _, inner)| reads_time(inner)).map(|(_, key, _)| key);
            documents.durations.extend(durations);
            let Item::Impl(item) = item else { continue };
            let owner = item.self_ty.to_token_stream().to_string();
            for item in &item.items {
                if let ImplItem::Fn(item) = item
                    && READERS.contains(&item.sig.ident.to_string().as_str())
                {
                    let keys = keys_of(&item.block);
                    let durations = keys.iter().filter(|(_, is)| **is).map(|(key, _)| key.clone());
                    documents.durations.extend(durations);
                    let part: &mut BTreeMap<_, _> = parts.entry(owner.clone()).or_default();
                    part.extend(keys);
                }
            }
        }
    }
    documents.by_name = parts;
    documents.join();
    Ok(documents)
}

/// Keys that a reader reads, and whether as durations. `+Type` stands for those that another type takes from the same fields.
fn keys_of(block: &syn::Block) -> BTreeMap<String, bool> {
    // Closures that read durations.
    let mut timed = BTreeSet::new();
    for statement in &block.stmts {
        if let syn::Stmt::Local(local) = statement
            && let (syn::Pat::Ident(name), Some(made)) = (&local.pat, &local.init)
            && matches!(*made.expr, syn::Expr::Closure(_))
            && reads_time(&made.expr.to_token_stream())
        {
            timed.insert(name.ident.to_string());
        }
    }
    let body = block.to_token_stream();
    let is_timed = |inner: &TokenStream| {
        reads_time(inner) || words(&inner.to_string()).any(|word| timed.contains(word))
    };
    let read = calls(&body).into_iter().map(|(_, key, inner)| (key, is_timed(&inner)));
    let mut keys: BTreeMap<String, bool> = read.collect();
    let text = body.to_string();
    let mut parts: Vec<&str> = text.split(":: take (").collect();
    parts.pop();
    let takers = parts.iter().filter_map(|before| before.split_whitespace().last());
    keys.extend(takers.filter(|part| *part != "Self").map(|part| (format!("+{part}"), false)));
    // A helper that is handed the fields and the key.
    let handed = text.split("(& mut fields , \"").skip(1).filter_map(|rest| rest.split('"').next());
    keys.extend(handed.map(|key| (key.to_owned(), false)));
    keys
}

fn reads_time(tokens: &TokenStream) -> bool {
    words(&tokens.to_string()).any(|word| TIMES.contains(&word))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

impl Documents {
    /// Puts the keys of parts into the documents that take them.
    fn join(&mut self) {
        let parts = self.by_name.clone();
        for keys in self.by_name.values_mut() {
            while let Some(part) = keys.keys().find(|key| key.starts_with('+')).cloned() {
                keys.remove(&part);
                keys.extend(parts.get(&part[1..]).cloned().unwrap_or_default());
            }
        }
    }

    /// Where the options of a language are not the keys of the documents.
    pub(super) fn differences(
        &self,
        list: &List,
        language: &Language,
        options: &BTreeMap<String, BTreeMap<String, bool>>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let title = &language.title;
        for document in &list.documents {
            let name = &document.name;
            let Some(keys) = self.by_name.get(name) else {
                wrong.push(format!("{SETTINGS} reads no {name}"));
                continue;
            };
            let Some(kind) = document.types.get(&language.key) else { continue };
            let Some(has) = options.get(&kind.name) else {
                wrong.push(format!("{title} has no {}, which is {name}", kind.name));
                continue;
            };
            for (key, is_time) in keys {
                let is_excused = kind.lacks.contains_key(key);
                match has.get(key) {
                    None if !is_excused => wrong.push(format!(
                        "{title}: {} has no `{key}` of {name}: add it, or say why under `lacks`",
                        kind.name
                    )),
                    Some(_) if is_excused => wrong.push(format!(
                        "{title}: {} has `{key}`: it does not lack it any more",
                        kind.name
                    )),
                    Some(as_time) if as_time != is_time => {
                        let should = if *is_time { "a duration" } else { "no duration" };
                        wrong.push(format!(
                            "{title}: `{key}` of {} is {should} in {name}: type it so",
                            kind.name
                        ));
                    }
                    _ => {}
                }
            }
            for key in has.keys().filter(|key| !keys.contains_key(*key)) {
                if !kind.adds.contains_key(key) {
                    wrong.push(format!(
                        "{title}: {name} has no `{key}` of {}: leave it out, or say why under `adds`",
                        kind.name
                    ));
                }
            }
            let excused =
                kind.adds.keys().filter(|key| keys.contains_key(*key) || !has.contains_key(*key));
            wrong.extend(excused.map(|key| format!("{title}: {} does not add `{key}`", kind.name)));
            let gone = kind.lacks.keys().filter(|key| !keys.contains_key(*key));
            wrong.extend(gone.map(|key| format!("{name} has no `{key}` that {title} could lack")));
            let silent = kind.adds.iter().chain(&kind.lacks).filter(|(_, why)| why.is_empty());
            wrong.extend(silent.map(|(key, _)| format!("{}: `{key}` needs a reason", kind.name)));
        }
        if let Some(listed) = options.get(DURATIONS) {
            let listed: BTreeSet<String> = listed.keys().cloned().collect();
            let missing = self.durations.difference(&listed);
            wrong.extend(
                missing.map(|key| format!("{title}: `{key}` is a duration: add it to {DURATIONS}")),
            );
            let more = listed.difference(&self.durations);
            wrong.extend(
                more.map(|key| {
                    format!("{title}: `{key}` is no duration: take it out of {DURATIONS}")
                }),
            );
        }
        wrong
    }
}
