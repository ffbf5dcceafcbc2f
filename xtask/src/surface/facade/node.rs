//! Node: a method of a class in TypeScript, and the question that it makes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{Facade, Parameter, Signature};
use crate::Outcome;
use crate::surface::list::snake;
use crate::surface::names::files;
use crate::surface::table::{ArgumentKind, Question};

/// Where options are.
const OPTIONS: &str = "options.ts";
/// The type of what every operation takes beside its arguments: a timeout and a signal.
const ASKED: &str = "AskOptions";
/// The type of how messages are written and read.
const FORMAT: &str = "Format<";
/// The type of durations.
const DURATION: &str = "Milliseconds";

/// The methods and the types of options of a package.
pub(super) struct Package {
    /// By `Class.name`: where, its parameters, and its body.
    methods: BTreeMap<String, Method>,
    options: Interfaces,
}

/// Members of interfaces and their types, with those of the one that each extends.
type Interfaces = BTreeMap<String, BTreeMap<String, String>>;

struct Method {
    file: String,
    parameters: String,
    body: String,
}

impl Package {
    pub(super) fn read(folder: &Path) -> Outcome<Self> {
        let (mut methods, mut options) = (BTreeMap::new(), Interfaces::new());
        for path in files(folder)? {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_none_or(|end| end != "ts") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            if file == OPTIONS {
                options = interfaces(&text);
            }
            read_methods(&file, &text, &mut methods);
        }
        Ok(Self { methods, options })
    }
}

impl Facade for Package {
    fn signatures(&self, name: &str, question: &Question) -> Vec<Signature> {
        let found = self.methods.get(name);
        let read = |method| signature(name, method, question, &self.options);
        found.map(read).into_iter().collect()
    }

    fn options(&self) -> BTreeMap<String, BTreeMap<String, bool>> {
        let spelled = |(name, kind): (&String, &String)| {
            let is_duration = kind.split('|').any(|kind| kind.trim() == DURATION);
            (snake(name), is_duration)
        };
        let read = |(name, members): (&String, &BTreeMap<String, String>)| {
            (name.clone(), members.iter().map(spelled).collect())
        };
        self.options.iter().map(read).collect()
    }
}

/// A method as the check sees it: its parameters, and beside them those options that not every operation has.
fn signature(
    name: &str,
    method: &Method,
    question: &Question,
    interfaces: &Interfaces,
) -> Signature {
    let mut signature =
        Signature { place: format!("{}: {name}", method.file), ..Signature::default() };
    let mut has_options = false;
    for piece in pieces(&method.parameters, ',') {
        let has_default = piece.contains(" = ");
        let declared = piece.split(" = ").next().unwrap_or_default();
        let (name, kind) = declared.split_once(':').unwrap_or((declared, ""));
        if name.trim().trim_end_matches('?') != "options" {
            signature.parameters.push(parameter(name, kind, has_default));
            continue;
        }
        has_options = kind.trim().starts_with(ASKED) && (has_default || name.ends_with('?'));
        let named = kind
            .split('&')
            .filter_map(|kind| interfaces.get(kind.split('<').next().unwrap_or_default().trim()));
        let members = named.flatten().filter(|(_, kind)| {
            // How messages are read is the language's own.
            !(question.way.has_messages() && kind.starts_with(FORMAT))
        });
        let optional = members.map(|(name, kind)| parameter(name, kind, true));
        signature.parameters.extend(optional);
        let own = kind.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
        for member in own.map_or(Vec::new(), |(own, _)| pieces(own, ';')) {
            let (name, kind) = member.split_once(':').unwrap_or((member.as_str(), ""));
            signature.parameters.push(parameter(name, kind, false));
        }
    }
    if !has_options {
        signature.wrong.push(format!("it takes no timeout and no signal: add `options?: {ASKED}`"));
    }
    signature.wrong.extend(asked(&method.body, question));
    signature
}

fn parameter(name: &str, kind: &str, has_default: bool) -> Parameter {
    let name = name.trim();
    let is_optional = has_default || name.ends_with('?');
    Parameter { name: name.trim_end_matches('?').to_owned(), kinds: kinds_of(kind), is_optional }
}

/// What is wrong with the question that a body makes.
fn asked(body: &str, question: &Question) -> Option<String> {
    let head = format!("question('{}', {{", question.name);
    let Some((_, rest)) = body.split_once(&head) else {
        return Some(format!("it does not ask {head} ... }})"));
    };
    let given: BTreeSet<String> = pieces(within(&format!("{{{rest}")), ',')
        .iter()
        .map(|piece| piece.split(':').next().unwrap_or_default().trim().to_owned())
        .collect();
    let taken: BTreeSet<String> =
        question.arguments.iter().map(|argument| argument.name.clone()).collect();
    (given != taken)
        .then(|| format!("it asks {} with {given:?}, which takes {taken:?}", question.name))
}

/// What a type may stand for.
fn kinds_of(kind: &str) -> Vec<ArgumentKind> {
    let kind = kind.trim();
    match kind {
        "string" => vec![ArgumentKind::Text],
        "number" => vec![ArgumentKind::Number],
        DURATION => vec![ArgumentKind::Duration],
        "boolean" => vec![ArgumentKind::Flag],
        "" => Vec::new(),
        _ if kind.ends_with("[]") || kind.starts_with("Iterable<") => vec![ArgumentKind::List],
        _ => vec![ArgumentKind::Record],
    }
}

/// The methods of every class, by `Class.name`.
fn read_methods(file: &str, text: &str, methods: &mut BTreeMap<String, Method>) {
    let mut class = String::new();
    let mut rest = text;
    while let Some((line, after)) = rest.split_once('\n') {
        let words = line.trim_start();
        let depth = line.len() - words.len();
        if depth == 0 && !words.is_empty() {
            let named = words.trim_start_matches("export ").strip_prefix("class ");
            let end = |letter: char| !letter.is_alphanumeric();
            class = named.and_then(|named| named.split(end).next()).unwrap_or_default().to_owned();
        }
        let own = words.strip_prefix("async ").unwrap_or(words);
        let end = own.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(0);
        if depth == 2 && end > 0 && own[end..].starts_with(['(', '<']) && !class.is_empty() {
            let body = rest.split_once("\n  }\n").map_or(rest, |(body, _)| body);
            let parameters = within(&rest[line.find('(').unwrap_or(0)..]).to_owned();
            let method = Method { file: file.to_owned(), parameters, body: body.to_owned() };
            methods.insert(format!("{class}.{}", &own[..end]), method);
        }
        rest = after;
    }
}

/// What is between the first bracket of a text and the one that closes it.
fn within(text: &str) -> &str {
    let Some(start) = text.find(['(', '{']) else { return "" };
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

/// What `between` parts, outside of brackets.
fn pieces(text: &str, between: char) -> Vec<String> {
    let (mut pieces, mut depth) = (vec![String::new()], 0);
    for letter in text.chars() {
        match letter {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth -= 1,
            _ if letter == between && depth == 0 => {
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

/// Every interface with its own members and those of the one it extends.
fn interfaces(text: &str) -> Interfaces {
    let mut types = Interfaces::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(declared) = line.trim_start_matches("export ").strip_prefix("interface ") {
            let mut names = declared.split([' ', '<', '{']).filter(|word| !word.is_empty());
            current = names.next().unwrap_or_default().to_owned();
            let parent = declared.split_once(" extends ").and_then(|(_, rest)| {
                rest.split([' ', '<', '{']).find_map(|name| types.get(name).cloned())
            });
            types.insert(current.clone(), parent.unwrap_or_default());
        } else if let Some(member) = line.strip_prefix("  ")
            && let Some((name, kind)) = member.split_once("?: ")
            && name.chars().all(char::is_alphanumeric)
            && let Some(options) = types.get_mut(&current)
        {
            options.insert(name.to_owned(), kind.to_owned());
        } else if line.starts_with('}') {
            current.clear();
        }
    }
    types
}
