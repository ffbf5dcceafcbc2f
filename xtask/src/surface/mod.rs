//! The surface of the bridge: every operation, and how each language spells it.
//!
//! What is asked is read from the table in `ffi/bridge/src/operations`; the rest, and what breaks a rule, from
//! `ffi/bridge/surface.toml`. This task proves that nothing public in the bridge or exported by the C ABI is missing, that every
//! name exists, that what a language lacks has a reason, and that façades take the arguments and options of the core. It writes
//! `docs/matrix.md`, or compares it with `--check`.

mod facade;
mod list;
mod names;
mod operation;
mod options;
mod page;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use list::{Language, List, Spelling};
use operation::{Operation, Versions};

use crate::Outcome;

const LIST: &str = "ffi/bridge/surface.toml";
const BRIDGE: &str = "ffi/bridge/src";
const SYMBOLS: &str = "ffi/c/abi/symbols.txt";
const PAGE: &str = "docs/matrix.md";
/// The language whose every function must be some operation's.
const C: &str = "c";

/// Options of `cargo xtask surface`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compare with the checked-in page instead of writing it.
    #[arg(long)]
    check: bool,
}

/// Checks the list, then writes the page or compares it.
pub(crate) fn run(root: &Path, options: &Options) -> Outcome {
    let list: List = toml::from_str(&fs::read_to_string(root.join(LIST))?)
        .map_err(|error| format!("{LIST}: {error}"))?;
    let mut table = table::read(root)?;
    let mut wrong = std::mem::take(&mut table.wrong);
    let (operations, odd) = operation::all(&list, table, &Versions::read(root)?);
    wrong.extend(odd);
    wrong.extend(bridge_holes(&list, &operations, &names::bridge(&root.join(BRIDGE))?));
    let symbols = fs::read_to_string(root.join(SYMBOLS))?;
    wrong.extend(c_holes(&operations, symbols.lines()));
    let documents = options::read(root)?;
    let mut planned = Vec::new();
    for language in &list.languages {
        let sources = root.join(&language.sources);
        if language.planned && !sources.exists() {
            planned.push(language.key.as_str());
            continue;
        }
        if language.planned {
            wrong.push(format!("{} is there: it is not `planned` any more", language.title));
        }
        wrong.extend(language_holes(&operations, language, &names::declared(&sources)?));
        if let Some(facade) = facade::of(&language.key, &sources)? {
            wrong.extend(facade::differences(&*facade, &language.key, &operations));
            wrong.extend(documents.differences(&list, language, &facade.options()));
        }
    }
    let page = page::render(&list, &operations, &planned);
    if !options.check {
        fs::write(root.join(PAGE), &page)?;
        println!("wrote {PAGE}");
    } else if fs::read_to_string(root.join(PAGE)).unwrap_or_default() != page {
        wrong.push(format!("{PAGE} is stale: run `cargo xtask surface` and commit the result"));
    }
    match wrong.as_slice() {
        [] => Ok(()),
        lines => Err(format!("{LIST}:\n  {}", lines.join("\n  ")).into()),
    }
}

/// Public functions of the bridge that are not listed, and the other way round.
fn bridge_holes(
    list: &List,
    operations: &[Operation],
    functions: &names::Functions,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut listed = BTreeSet::new();
    for inside in &list.inside {
        if inside.why.is_empty() {
            wrong.push(format!("{:?} are inside for no reason", inside.names));
        }
        listed.extend(inside.names.iter().cloned());
    }
    for operation in operations {
        // What has no function of its own may be the business of a shell, or of the table.
        let named = operation.bridge.iter().enumerate();
        listed.extend(
            named
                .filter(|(at, name)| *at > 0 || functions.contains(*name))
                .map(|(_, name)| name.clone()),
        );
    }
    wrong.extend(functions.difference(&listed).map(|name| format!("{name} is not listed")));
    let gone = listed.difference(functions);
    wrong.extend(gone.map(|name| format!("{name} is listed, and is no function of the bridge")));
    wrong
}

/// Exported functions that belong to no operation.
fn c_holes<'a>(operations: &[Operation], symbols: impl Iterator<Item = &'a str>) -> Vec<String> {
    let spelled: BTreeSet<&str> =
        operations.iter().flat_map(|operation| operation.names(C)).map(String::as_str).collect();
    let holes = symbols.filter(|symbol| !spelled.contains(symbol));
    holes.map(|symbol| format!("{symbol} belongs to no operation")).collect()
}

/// What a language lacks without a reason, and names it does not have.
fn language_holes(
    operations: &[Operation],
    language: &Language,
    declared: &BTreeSet<String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let Language { key, title, sources, .. } = language;
    for operation in operations {
        if let Some(Spelling::Missing { none }) = operation.spelled.get(key)
            && none.is_empty()
        {
            wrong.push(format!("{}: {title} lacks it for no reason", operation.title()));
        }
        let missing = operation.names(key).iter().filter(|name| !declared.contains(*name));
        wrong.extend(missing.map(|name| {
            format!(
                "{}: {sources} has no {name}: write it, or say in {LIST} how {title} spells it, {key} = \"...\", or \
                 why it does not, {key} = {{ none = \"...\" }}",
                operation.title()
            )
        }));
        if key == C {
            let events = operation.events.iter().map(|event| format!("MICRO_EVENT_{event}"));
            let unknown = events.filter(|event| !declared.contains(event));
            wrong
                .extend(unknown.map(|event| format!("{}: there is no {event}", operation.title())));
        }
    }
    wrong
}

#[cfg(test)]
mod tests;
