//! A module: the names in it.

use std::collections::BTreeMap;

/// The segments of a path as they are written.
pub(super) type Path = Vec<String>;

/// A module, in a file of its own or inside another one's.
#[derive(Debug)]
pub(super) struct Module {
    /// Its file, by its place in `Sources::files`.
    pub(super) file: usize,
    /// The module it is in, by its place in `Sources::modules`; none for the root.
    pub(super) parent: Option<usize>,
    /// Everything that has a name here; a module and a function may share one.
    pub(super) names: BTreeMap<String, Vec<Meaning>>,
    /// Modules with names that are here as well.
    pub(super) globs: Vec<Path>,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Meaning {
    /// A type, a function, a constant: defined here.
    Item,
    /// A module below this one, by its place in `Sources::modules`.
    Module(usize),
    /// Another name for what has this path.
    Import(Path),
}

/// A path that is written somewhere, and has to lead somewhere.
#[derive(Debug)]
pub(super) struct Mention {
    /// The module it is in.
    pub(super) module: usize,
    pub(super) path: Path,
    /// From 1.
    pub(super) line: usize,
}

impl Module {
    pub(super) fn new(file: usize, parent: Option<usize>) -> Self {
        Self { file, parent, names: BTreeMap::new(), globs: Vec::new() }
    }

    pub(super) fn define(&mut self, name: impl Into<String>, meaning: Meaning) {
        self.names.entry(name.into()).or_default().push(meaning);
    }
}
