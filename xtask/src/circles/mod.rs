//! Files of a crate that import each other in a circle: none of them can be read, tested or moved without the others.
//!
//! The sources are read as they stand, without a compiler. A file imports another when it names an item which that other file
//! defines, in a `use` or in a path; through globs and re-exports the name leads to the file with the definition. A re-export
//! alone is a table of contents and imports nothing, nor does `mod`. Methods are not seen: what type a value has, only a compiler
//! knows. Code for tests and fuzzers is left out.

mod graph;
mod names;
mod scope;
mod source;
#[cfg(test)]
mod tests;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use self::graph::{Circle, circles};
use self::source::Sources;
use crate::Outcome;

/// The part of `Cargo.toml` with the members of the workspace.
#[derive(Deserialize)]
struct Manifest {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    members: Vec<String>,
}

pub(crate) fn run(root: &Path) -> Outcome {
    let manifest: Manifest = toml::from_str(&fs::read_to_string(root.join("Cargo.toml"))?)?;
    let mut found = Vec::new();
    let mut files = 0;
    for member in &manifest.workspace.members {
        for start in starts(&root.join(member).join("src"))? {
            let sources = Sources::read(&root.canonicalize()?, &start.canonicalize()?)?;
            files += sources.files.len();
            found.extend(circles(&sources));
        }
    }
    if !found.is_empty() {
        let found: Vec<_> = found.iter().map(Circle::to_string).collect();
        return Err(found.join("\n").into());
    }
    println!("{files} files, no circle");
    Ok(())
}

/// Files at which the crates of a package start: its library and its programs.
fn starts(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut starts = vec![folder.join("lib.rs"), folder.join("main.rs")];
    if let Ok(programs) = fs::read_dir(folder.join("bin")) {
        for program in programs {
            let path = program?.path();
            starts.push(if path.is_dir() { path.join("main.rs") } else { path });
        }
    }
    starts.retain(|start| start.is_file());
    starts.sort();
    Ok(starts)
}
