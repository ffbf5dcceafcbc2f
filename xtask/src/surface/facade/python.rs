//! Python: a coroutine in a class, its twin of the same name in `sync.py`, and the question that both make.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{Facade, Parameter, Signature};
use crate::Outcome;
use crate::surface::table::{ArgumentKind, Question};

/// Where the twins are that block.
const TWINS: &str = "sync.py";
/// Where options are.
const OPTIONS: &str = "_options.py";
/// Where a flat list says which options are durations, for what is nested in documents.
const DURATIONS: &str = "_DURATIONS";

/// The methods and the types of options of a package.
pub(super) struct Package {
    /// By `Class.name`: where, and the text from `def` on.
    methods: BTreeMap<String, Vec<Method>>,
    options: BTreeMap<String, BTreeMap<String, bool>>,
}

struct Method {
    file: String,
    parameters: String,
    body: String,
}

impl Package {
    pub(super) fn read(folder: &Path) -> Outcome<Self> {
        let (mut methods, mut options) = (BTreeMap::new(), BTreeMap::new());
        let mut files: Vec<_> =
            fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect::<Outcome<_>>()?;
        files.sort();
        for path in files.iter().filter(|path| path.extension().is_some_and(|end| end == "py")) {
            let text = fs::read_to_string(path)?;
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if file == OPTIONS {
                options = typed_dicts(&text);
            }
            read_methods(&file, &text, &mut methods);
        }
        Ok(Self { methods, options })
    }
}

impl Facade for Package {
    fn signatures(&self, name: &str, question: &Question) -> Vec<Signature> {
        let found = self.methods.get(name).map_or(&[][..], Vec::as_slice);
        let mut signatures: Vec<Signature> =
            found.iter().map(|method| signature(name, method, question)).collect();
        let (twins, own): (Vec<_>, Vec<_>) = found.iter().partition(|method| method.file == TWINS);
        if let (Some(first), Some(last)) = (own.last(), signatures.last_mut()) {
            match twins.last() {
                None => last
                    .wrong
                    .push(format!("micro.sync has no twin of it: add `{name}` to {TWINS}")),
                Some(twin) if pieces(&twin.parameters) != pieces(&first.parameters) => {
                    last.wrong.push(format!(
                        "its parameters are not those in {}: make ({}) of ({})",
                        first.file,
                        first.parameters.trim(),
                        twin.parameters.trim()
                    ));
                }
                Some(_) => {}
            }
        }
        signatures
    }

    fn options(&self) -> BTreeMap<String, BTreeMap<String, bool>> {
        self.options.clone()
    }
}

/// A method as the check sees it: without `self` and the timeout, which every operation has.
fn signature(name: &str, method: &Method, question: &Question) -> Signature {
    let mut signature =
        Signature { place: format!("{}: {name}", method.file), ..Signature::default() };
    let mut has_timeout = false;
    for piece in pieces(&method.parameters) {
        let (declared, default) = match piece.split_once(" = ") {
            Some((declared, default)) => (declared, Some(default)),
            None => (piece.as_str(), None),
        };
        let (name, kind) = declared.split_once(':').unwrap_or((declared, ""));
        match name.trim() {
            "self" | "*" => {}
            "timeout" => has_timeout = default == Some("None"),
            // The type of messages is the language's own.
            "returns" if question.way.has_messages() => {}
            name => signature.parameters.push(Parameter {
                name: name.to_owned(),
                kinds: kinds_of(kind),
                is_optional: default.is_some(),
            }),
        }
    }
    if !has_timeout {
        signature.wrong.push("it takes no timeout: add `timeout: float | None = None`".to_owned());
    }
    signature.wrong.extend(asked(&method.body, question));
    signature
}

/// What is wrong with the question that a body makes.
fn asked(body: &str, question: &Question) -> Option<String> {
    let name = format!("\"{}\"", question.name);
    let asked = body.match_indices("question(").map(|(at, _)| pieces(within(&body[at..])));
    let is_this = |pieces: &Vec<String>| {
        pieces.first() == Some(&name) && pieces.get(1).is_some_and(|second| second == "timeout")
    };
    let Some(given) = asked.into_iter().find(is_this) else {
        return Some(format!("it does not ask question({name}, timeout, ...)"));
    };
    let given: BTreeSet<String> =
        given.iter().filter_map(|piece| Some(piece.split_once('=')?.0.trim().to_owned())).collect();
    let taken: BTreeSet<String> =
        question.arguments.iter().map(|argument| argument.name.clone()).collect();
    (given != taken)
        .then(|| format!("it asks {} with {given:?}, which takes {taken:?}", question.name))
}

/// What a type may stand for.
fn kinds_of(kind: &str) -> Vec<ArgumentKind> {
    let kind = kind.split('|').map(str::trim).find(|kind| *kind != "None").unwrap_or("");
    match kind.split('[').next().unwrap_or("") {
        "str" => vec![ArgumentKind::Text],
        "int" => vec![ArgumentKind::Number],
        "float" => vec![ArgumentKind::Number, ArgumentKind::Duration],
        "Seconds" => vec![ArgumentKind::Duration],
        "bool" => vec![ArgumentKind::Flag],
        "list" | "Sequence" | "Iterable" => vec![ArgumentKind::List],
        "" => Vec::new(),
        _ => vec![ArgumentKind::Record],
    }
}

/// The methods of every class, by `Class.name`. Overloads come before what they stand for, which is the last one.
fn read_methods(file: &str, text: &str, methods: &mut BTreeMap<String, Vec<Method>>) {
    let mut class = String::new();
    let mut here: BTreeMap<String, Method> = BTreeMap::new();
    let mut rest = text;
    while let Some((line, after)) = rest.split_once('\n') {
        let words = line.trim_start();
        let depth = line.len() - words.len();
        if depth == 0 && !words.is_empty() {
            let named =
                words.strip_prefix("class ").and_then(|named| named.split(['(', ':']).next());
            class = named.unwrap_or_default().to_owned();
        }
        let def = words.strip_prefix("async ").unwrap_or(words).strip_prefix("def ");
        if depth == 4
            && !class.is_empty()
            && let Some(def) = def
        {
            let name = def.split('(').next().unwrap_or_default();
            let parameters = within(rest);
            let lines = after.split_inclusive('\n');
            let own = lines.take_while(|line| {
                line.trim().is_empty() || line.starts_with("     ") || line.starts_with("    )")
            });
            let body: String = own.collect();
            let method = Method { file: file.to_owned(), parameters: parameters.to_owned(), body };
            here.insert(format!("{class}.{name}"), method);
        }
        rest = after;
    }
    for (name, method) in here {
        methods.entry(name).or_default().push(method);
    }
}

/// What is between the first parenthesis of a text and the one that closes it.
fn within(text: &str) -> &str {
    let Some(start) = text.find('(') else { return "" };
    let mut depth = 0;
    for (at, letter) in text[start..].char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[start + 1..start + at];
        }
    }
    ""
}

/// What commas part, outside of parentheses.
fn pieces(text: &str) -> Vec<String> {
    let (mut pieces, mut depth) = (vec![String::new()], 0);
    for letter in text.chars() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                pieces.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = pieces.last_mut() {
            last.push(letter);
        }
    }
    let trimmed = pieces.iter().map(|piece| piece.trim().to_owned());
    trimmed.filter(|piece| !piece.is_empty()).collect()
}

/// Every `TypedDict` with its own options and those of the ones it extends; the flat list as one more.
fn typed_dicts(text: &str) -> BTreeMap<String, BTreeMap<String, bool>> {
    let mut types: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    let mut class = String::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("class ") {
            let (name, bases) = declared.split_once('(').unwrap_or((declared, ""));
            class = name.to_owned();
            let bases = bases.split([',', ')']).map(str::trim);
            let inherited = bases.filter_map(|base| types.get(base)).flatten();
            let inherited = inherited.map(|(name, is)| (name.clone(), *is)).collect();
            types.insert(class.clone(), inherited);
        } else if let Some(member) = line.strip_prefix("    ")
            && let Some((name, kind)) = member.split_once(": ")
            && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
            && let Some(options) = types.get_mut(&class)
        {
            options.insert(name.to_owned(), kind.split('|').any(|kind| kind.trim() == "Seconds"));
        } else if !line.starts_with([' ', ')']) && !line.is_empty() {
            class.clear();
        }
    }
    if let Some((_, rest)) = text.split_once(&format!("{DURATIONS} = frozenset")) {
        let names = pieces(within(within(rest)).trim()).into_iter();
        let names = names.map(|name| (name.trim_matches('"').to_owned(), true));
        types.insert(DURATIONS.to_owned(), names.collect());
    }
    types
}
