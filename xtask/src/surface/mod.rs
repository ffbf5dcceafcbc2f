//! The surface of the bridge: every operation, and how each language spells it.
//!
//! `ffi/bridge/surface.toml` is the list. This task proves that it is whole: nothing public in the bridge or exported by the C
//! ABI is missing, every spelled name exists, and what a language lacks has a reason. It writes `docs/matrix.md` from it, or
//! compares it with `--check`.

mod list;
mod names;
mod page;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use list::{Language, Spelling, Surface};

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
    let surface: Surface = toml::from_str(&fs::read_to_string(root.join(LIST))?)
        .map_err(|error| format!("{LIST}: {error}"))?;
    let mut wrong = bridge_holes(&surface, &names::bridge(&root.join(BRIDGE))?);
    let symbols = fs::read_to_string(root.join(SYMBOLS))?;
    wrong.extend(c_holes(&surface, symbols.lines()));
    let mut planned = Vec::new();
    for language in &surface.languages {
        let sources = root.join(&language.sources);
        if language.planned && !sources.exists() {
            planned.push(language.key.as_str());
            continue;
        }
        if language.planned {
            wrong.push(format!("{} is there: it is not `planned` any more", language.title));
        }
        wrong.extend(language_holes(&surface, language, &names::declared(&sources)?));
    }
    let page = page::render(&surface, &planned);
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
fn bridge_holes(surface: &Surface, functions: &names::Functions) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut listed = BTreeSet::new();
    for inside in &surface.inside {
        if inside.why.is_empty() {
            wrong.push(format!("{:?} are inside for no reason", inside.names));
        }
        listed.extend(inside.names.iter().cloned());
    }
    for operation in &surface.operations {
        let names = operation.bridge();
        if let ([name], Some(takes)) = (names.as_slice(), &operation.takes)
            && let Some(arguments) = functions.get(name)
            && arguments != takes
        {
            wrong.push(format!("{name} takes {arguments:?}, not {takes:?}"));
        }
        listed.extend(names);
    }
    let known: BTreeSet<String> = functions.keys().cloned().collect();
    wrong.extend(known.difference(&listed).map(|name| format!("{name} is not listed")));
    let gone = listed.difference(&known);
    wrong.extend(gone.map(|name| format!("{name} is listed, and is no function of the bridge")));
    wrong
}

/// Exported functions that belong to no operation.
fn c_holes<'a>(surface: &Surface, symbols: impl Iterator<Item = &'a str>) -> Vec<String> {
    let spelled: BTreeSet<&str> = surface
        .operations
        .iter()
        .filter_map(|operation| operation.spelled.get(C))
        .flat_map(Spelling::names)
        .map(String::as_str)
        .collect();
    let holes = symbols.filter(|symbol| !spelled.contains(symbol));
    holes.map(|symbol| format!("{symbol} belongs to no operation")).collect()
}

/// What a language lacks without a reason, and names it does not have.
fn language_holes(
    surface: &Surface,
    language: &Language,
    declared: &BTreeSet<String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let title = &language.title;
    for operation in &surface.operations {
        match operation.spelled.get(&language.key) {
            None => wrong.push(format!(
                "{}: how does {title} spell it? If it does not, say why: {} = {{ none = \"...\" }}",
                operation.title(),
                language.key
            )),
            Some(Spelling::Missing { none }) if none.is_empty() => {
                wrong.push(format!("{}: {title} lacks it for no reason", operation.title()));
            }
            Some(spelling) => {
                let missing = spelling.names().iter().filter(|name| !declared.contains(*name));
                wrong.extend(missing.map(|name| {
                    format!("{}: {} has no {name}", operation.title(), language.sources)
                }));
            }
        }
        if language.key == C {
            let events = operation.events.iter().map(|event| format!("MICRO_EVENT_{event}"));
            let unknown = events.filter(|event| !declared.contains(event));
            wrong
                .extend(unknown.map(|event| format!("{}: there is no {event}", operation.title())));
        }
    }
    let keys = surface.operations.iter().flat_map(|operation| operation.spelled.keys());
    let odd = keys.filter(|key| !surface.languages.iter().any(|other| other.key == **key));
    if language.key == C {
        wrong.extend(odd.map(|key| format!("{key} is no language")));
    }
    wrong
}

#[cfg(test)]
mod tests;
