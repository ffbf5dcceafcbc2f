//! Where a path leads, by the rules of the language.

use std::collections::BTreeSet;

use super::scope::Meaning;
use super::source::Sources;

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Target {
    Module(usize),
    /// Something in that file. What is inside of an item, such as a variant, is in the file too.
    Item(usize),
}

type Targets = BTreeSet<Target>;
/// Names that are being looked up, by module: an import that leads to itself ends there.
type Asked<'a> = BTreeSet<(usize, &'a str)>;

impl Sources {
    /// Files that define what the path of a module names: more than one if, say, a type and a function have that name; none if it
    /// is a module, or something of another crate.
    pub(super) fn definers(&self, module: usize, path: &[String]) -> BTreeSet<usize> {
        let targets = self.follow(module, path, &mut Asked::new()).into_iter();
        targets
            .filter_map(|target| match target {
                Target::Item(file) => Some(file),
                Target::Module(_) => None,
            })
            .collect()
    }

    fn follow<'a>(&'a self, module: usize, path: &'a [String], asked: &mut Asked<'a>) -> Targets {
        let Some((first, rest)) = path.split_first() else { return Targets::new() };
        let mut here = match first.as_str() {
            "crate" => Targets::from([Target::Module(0)]),
            "self" => Targets::from([Target::Module(module)]),
            "super" => self.parent(module),
            name => self.look_up(module, name, asked),
        };
        for segment in rest {
            // Of a module and a function, only the module has anything inside.
            let is_module = |target: &Target| matches!(target, Target::Module(_));
            if here.iter().any(is_module) {
                here.retain(is_module);
            }
            here = here.into_iter().flat_map(|target| self.step(target, segment, asked)).collect();
        }
        here
    }

    fn step<'a>(&'a self, target: Target, segment: &'a str, asked: &mut Asked<'a>) -> Targets {
        let Target::Module(module) = target else { return Targets::from([target]) };
        match segment {
            "self" => Targets::from([target]),
            "super" => self.parent(module),
            name if self.is_made_by_macros(module, name) => {
                Targets::from([Target::Item(self.modules[module].file)])
            }
            name => self.look_up(module, name, asked),
        }
    }

    fn parent(&self, module: usize) -> Targets {
        self.modules[module].parent.map(Target::Module).into_iter().collect()
    }

    /// Whether that name is nowhere in the module, nor comes from another one: a macro makes it.
    fn is_made_by_macros(&self, module: usize, name: &str) -> bool {
        let module = &self.modules[module];
        module.globs.is_empty() && !module.names.contains_key(name)
    }

    fn look_up<'a>(&'a self, number: usize, name: &'a str, asked: &mut Asked<'a>) -> Targets {
        if !asked.insert((number, name)) {
            return Targets::new();
        }
        let module = &self.modules[number];
        let mut found = Targets::new();
        for meaning in module.names.get(name).into_iter().flatten() {
            match meaning {
                Meaning::Item => _ = found.insert(Target::Item(module.file)),
                Meaning::Module(inner) => _ = found.insert(Target::Module(*inner)),
                Meaning::Import(path) => found.extend(self.follow(number, path, asked)),
            }
        }
        // What has a name of its own hides what globs bring.
        if found.is_empty() {
            for glob in &module.globs {
                for target in self.follow(number, glob, asked) {
                    if let Target::Module(other) = target {
                        found.extend(self.look_up(other, name, asked));
                    }
                }
            }
        }
        asked.remove(&(number, name));
        found
    }
}
