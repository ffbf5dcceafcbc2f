//! Which file imports which, and the circles among them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::source::Sources;

/// Files each of which imports, directly or not, all the others.
#[derive(Debug)]
pub(super) struct Circle {
    pub(super) files: Vec<String>,
    imports: Vec<Import>,
}

/// That a file imports another, with a line that shows it.
#[derive(Debug)]
struct Import {
    from: String,
    to: String,
    line: usize,
    path: String,
}

impl fmt::Display for Circle {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} files import each other in a circle:", self.files.len())?;
        for Import { from, to: other, line, path } in &self.imports {
            write!(to, "\n  {from}:{line} has {path}, of {other}")?;
        }
        Ok(())
    }
}

/// By a file, those it imports, each with the mention that shows it first.
type Graph = BTreeMap<usize, BTreeMap<usize, usize>>;

pub(super) fn circles(sources: &Sources) -> Vec<Circle> {
    let graph = graph(sources);
    let mut circles = Vec::new();
    let mut done = BTreeSet::new();
    for &start in graph.keys() {
        if done.contains(&start) {
            continue;
        }
        let reached = reached(&graph, start);
        let circle: BTreeSet<usize> = reached
            .iter()
            .copied()
            .filter(|&file| self::reached(&graph, file).contains(&start))
            .collect();
        if circle.len() > 1 {
            circles.push(describe(sources, &graph, &circle));
        }
        done.extend(circle);
    }
    circles
}

fn graph(sources: &Sources) -> Graph {
    let mut graph = Graph::new();
    for (number, mention) in sources.mentions.iter().enumerate() {
        let from = sources.modules[mention.module].file;
        for to in sources.definers(mention.module, &mention.path) {
            if to != from {
                graph.entry(from).or_default().entry(to).or_insert(number);
            }
        }
    }
    graph
}

/// Files that one can get to from `start` by imports.
fn reached(graph: &Graph, start: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut ahead = vec![start];
    while let Some(file) = ahead.pop() {
        for &next in graph.get(&file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(next) {
                ahead.push(next);
            }
        }
    }
    reached
}

fn describe(sources: &Sources, graph: &Graph, circle: &BTreeSet<usize>) -> Circle {
    let mut imports = Vec::new();
    for from in circle {
        for (to, &mention) in graph[from].iter().filter(|(to, _)| circle.contains(to)) {
            let mention = &sources.mentions[mention];
            imports.push(Import {
                from: sources.files[*from].clone(),
                to: sources.files[*to].clone(),
                line: mention.line,
                path: mention.path.join("::"),
            });
        }
    }
    Circle { files: circle.iter().map(|&file| sources.files[file].clone()).collect(), imports }
}
