//! The C ABI: what is generated from its sources, and whether programs compiled against it go on working.
//!
//! Without options this task writes `include/micro.h` and the files of `ffi/c/abi`; with `--check` it compares them. Either
//! way it looks at the built library, has the compilers read the header, and holds all of it against what earlier versions
//! promised.

mod compile;
mod header;
mod history;
mod layout;
mod source;
mod symbols;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use history::Abi;
use layout::Layout;
use source::Source;
pub(crate) use symbols::library;

use crate::Outcome;

const CRATE: &str = "ffi/c";
const HEADER: &str = "include/micro.h";
const SYMBOLS: &str = "ffi/c/abi/symbols.txt";
const LAYOUT: &str = "ffi/c/abi/layout.json";
const HISTORY: &str = "ffi/c/abi/history";

/// Pointer widths, and what compilers call them.
const WIDTHS: [(&str, &str); 2] = [("32", "-m32"), ("64", "-m64")];
/// The width of the library that is looked at.
const OWN: &str = if cfg!(target_pointer_width = "64") { "64" } else { "32" };

/// Options of `cargo xtask abi`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compare with the checked-in files instead of writing them.
    #[arg(long)]
    check: bool,
    /// Write the history of this version anew; only for a version that was not released.
    #[arg(long, conflicts_with = "check")]
    unreleased: bool,
}

/// What the sources and the compiler say, and what is wrong with it.
struct Now {
    header: String,
    abi: Abi,
    wrong: Vec<String>,
}

/// Writes or compares the files, then looks at everything else; fails with all that is wrong.
pub(crate) fn run(root: &Path, options: &Options) -> Outcome {
    let Now { header, abi, mut wrong } = now(root)?;
    let symbols = abi.functions.keys().fold(String::new(), |text, name| text + name + "\n");
    let layout = json(&abi.layout)?;
    for (path, text) in [(HEADER, &header), (SYMBOLS, &symbols), (LAYOUT, &layout)] {
        if options.check {
            wrong.extend(stale(root, path, text));
        } else {
            write(root, path, text)?;
        }
    }
    let history = format!("{HISTORY}/{}.json", abi.version()?);
    if options.unreleased || (!options.check && !root.join(&history).exists()) {
        write(root, &history, &json(&abi)?)?;
    }
    wrong.extend(history::breaches(&root.join(HISTORY), &abi)?);
    let exported = symbols::exported(&library()?)?;
    wrong.extend(symbols::differences(
        &abi.functions.into_keys().collect::<BTreeSet<_>>(),
        &exported,
    ));
    wrong.extend(compile::complaints(&root.join(HEADER))?);
    match wrong.as_slice() {
        [] => Ok(()),
        lines => Err(format!("the C ABI:\n  {}", lines.join("\n  ")).into()),
    }
}

/// Everything that the sources in `root` and the C compiler make of the ABI.
fn now(root: &Path) -> Outcome<Now> {
    let source = Source::read(&root.join(CRATE).join("src"))?;
    let mut wrong = source.breaches();
    let header = header::generate(&root.join(CRATE), &source)?;
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("micro.h"), &header)?;
    let library = layout::of_library();
    if !layout::declared(&header).iter().eq(library.keys()) {
        wrong.push("xtask/src/abi/layout.rs does not list every struct of the header".into());
    }
    let mut layouts = BTreeMap::<String, Layout>::new();
    for (width, flag) in WIDTHS {
        match layout::of_header(folder.path(), &library, flag)? {
            Some(layout) => drop(layouts.insert(width.into(), layout)),
            // What was written down where the compiler could is better than nothing.
            None => layouts.extend(published(root, width)),
        }
    }
    let own = layouts.get(OWN).ok_or("the C compiler does not compile for this machine")?;
    wrong.extend(layout::differences(&library, own));
    let constants = header::constants(&header);
    Ok(Now {
        header,
        abi: Abi { functions: source.functions(), constants, layout: layouts },
        wrong,
    })
}

/// The layout of a width for which nothing can be compiled here.
fn published(root: &Path, width: &str) -> Option<(String, Layout)> {
    println!("the C compiler does not know {width}-bit programs: their layout is not looked at");
    let text = fs::read_to_string(root.join(LAYOUT)).ok()?;
    serde_json::from_str::<BTreeMap<String, Layout>>(&text).ok()?.remove_entry(width)
}

fn json(value: &impl serde::Serialize) -> Outcome<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn write(root: &Path, path: &str, text: &str) -> Outcome {
    let file = root.join(path);
    if fs::read_to_string(&file).ok().as_deref() == Some(text) {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, text)?;
    println!("wrote {path}");
    Ok(())
}

/// Says that a file is not what it would be if it were written now.
fn stale(root: &Path, path: &str, text: &str) -> Option<String> {
    let found = fs::read_to_string(root.join(path)).unwrap_or_default();
    (found != text).then(|| format!("{path} is stale: run `cargo xtask abi` and commit the result"))
}

#[cfg(test)]
mod tests;
