//! Go: a method of an interface, the function that does it, and the options that a last parameter stands for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Facade, Parameter, Signature};
use crate::Outcome;
use crate::surface::list::{pascal, snake};
use crate::surface::names::files;
use crate::surface::table::{ArgumentKind, Question};

/// Where the numbers of operations are.
const NUMBERS: &str = "native.go";

/// The interfaces, methods and options of a module.
pub(super) struct Module {
    /// Methods of interfaces by `Interface.Name`: the file, and their parameters.
    declared: BTreeMap<String, (String, String)>,
    /// Bodies of functions that belong to types, by their bare names.
    bodies: BTreeMap<String, Vec<String>>,
    /// Functions that make an option, by its type: the name of their parameter, and its type.
    makers: BTreeMap<String, Vec<(String, String)>>,
    /// The keys of documents that options set, by `package.Type`.
    options: BTreeMap<String, BTreeMap<String, bool>>,
    numbers: String,
}

impl Module {
    pub(super) fn read(folder: &Path) -> Outcome<Self> {
        let mut module = Self {
            declared: BTreeMap::new(),
            bodies: BTreeMap::new(),
            makers: BTreeMap::new(),
            options: BTreeMap::new(),
            numbers: String::new(),
        };
        let mut sources = files(folder)?;
        sources.sort();
        for path in sources {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_none_or(|end| end != "go") || name.ends_with("_test.go") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            if name == NUMBERS {
                module.numbers.push_str(&text);
            }
            module.take(&name, &text);
        }
        Ok(module)
    }

    fn take(&mut self, file: &str, text: &str) {
        let package = text
            .lines()
            .find_map(|line| line.strip_prefix("package "))
            .unwrap_or_default()
            .to_owned();
        let mut interface = None;
        let mut rest = text;
        while let Some((line, after)) = rest.split_once('\n') {
            if let Some(kind) = line.strip_prefix("type ") {
                interface = kind.strip_suffix(" interface {").map(str::to_owned);
            } else if line.starts_with('}') {
                interface = None;
            } else if let (Some(kind), Some(member)) = (&interface, line.strip_prefix('\t'))
                && let Some((name, _)) = member.split_once('(')
                && name.chars().all(char::is_alphanumeric)
            {
                let parameters = within(member).to_owned();
                self.declared.insert(format!("{kind}.{name}"), (file.to_owned(), parameters));
            } else if let Some(function) = line.strip_prefix("func ") {
                let end = if line.ends_with('}') { 0 } else { after.find("\n}").unwrap_or(0) };
                self.function(&package, function, &after[..end]);
            }
            rest = after;
        }
    }

    fn function(&mut self, package: &str, head: &str, body: &str) {
        let whole = format!("{head}\n{body}");
        if let Some(method) = head.strip_prefix('(') {
            let name = method.split_once(") ").map(|(_, rest)| rest).unwrap_or_default();
            let name = name.split('(').next().unwrap_or_default();
            self.bodies.entry(name.to_owned()).or_default().push(whole);
            return;
        }
        let parameters = within(head);
        let after = head.split_once(parameters).map(|(_, rest)| rest).unwrap_or_default();
        let made = after.trim_start_matches(')').split_whitespace().next().unwrap_or_default();
        if !made.ends_with("Option") {
            return;
        }
        if let Some((name, kind)) = parameters.split_once(' ') {
            let maker = (name.to_owned(), kind.to_owned());
            self.makers.entry(made.to_owned()).or_default().push(maker);
        }
        let keys = self.options.entry(format!("{package}.{made}")).or_default();
        for (call, is_time) in [(".set(\"", false), (".duration(\"", true)] {
            let found = whole.split(call).skip(1).filter_map(|rest| rest.split('"').next());
            for key in found {
                // One that is a duration, or a word in its place.
                let known = keys.entry(key.to_owned()).or_insert(is_time);
                *known |= is_time;
            }
        }
    }
}

impl Facade for Module {
    fn signatures(&self, name: &str, question: &Question) -> Vec<Signature> {
        let Some((file, parameters)) = self.declared.get(name) else { return Vec::new() };
        let mut signature = Signature { place: format!("{file}: {name}"), ..Signature::default() };
        let mut has_context = false;
        for (name, kind) in typed(parameters) {
            if kind == "context.Context" {
                has_context = true;
            } else if kind == "any" && question.way.has_messages() {
                // What a message is read into is the language's own.
            } else if let Some(option) = kind.strip_prefix("...") {
                let makers = self.makers.get(option).map_or(&[][..], Vec::as_slice);
                let own = makers.iter().filter(|(name, _)| name != "timeout");
                signature.parameters.extend(own.map(|(name, kind)| Parameter {
                    name: snake(name),
                    kinds: kinds_of(kind),
                    is_optional: true,
                }));
            } else {
                let parameter = Parameter { name, kinds: kinds_of(&kind), is_optional: false };
                signature.parameters.push(parameter);
            }
        }
        if !has_context {
            signature.wrong.push("it takes no context: add `ctx context.Context`".to_owned());
        }
        signature.wrong.extend(self.asked(name, question));
        vec![signature]
    }

    fn options(&self) -> BTreeMap<String, BTreeMap<String, bool>> {
        self.options.clone()
    }
}

impl Module {
    /// What is wrong with the question that a method makes.
    fn asked(&self, name: &str, question: &Question) -> Vec<String> {
        let number = pascal(&question.name);
        let constant = format!("C.MICRO_{}", question.name.replace('.', "_").to_uppercase());
        let is_number = |line: &str| {
            line.split_once('=')
                .is_some_and(|(left, right)| left.trim() == number && right.trim() == constant)
        };
        if !self.numbers.lines().any(is_number) {
            return vec![format!("{NUMBERS} has no {number} = {constant}: add it")];
        }
        let method = name.rsplit('.').next().unwrap_or_default();
        let number = format!("native.{number}");
        let bodies = self.bodies.get(method).map_or(&[][..], Vec::as_slice);
        let asks = |body: &&String| {
            body.split(&number).skip(1).any(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        let Some(body) = bodies.iter().find(asks) else {
            return vec![format!("it does not ask {number}")];
        };
        let taken = question.arguments.iter();
        let missing = taken.filter(|argument| !body.contains(&format!("\"{}\"", argument.name)));
        missing.map(|argument| format!("it asks {} without {argument}", question.name)).collect()
    }
}

/// Parameters with their types: of `a, b string`, both.
fn typed(parameters: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut kind = String::new();
    for piece in parameters.split(", ").collect::<Vec<_>>().into_iter().rev() {
        if let Some((name, own)) = piece.split_once(' ') {
            kind = own.to_owned();
            found.push((name.to_owned(), kind.clone()));
        } else if !piece.is_empty() {
            found.push((piece.to_owned(), kind.clone()));
        }
    }
    found.reverse();
    found
}

/// What a type may stand for.
fn kinds_of(kind: &str) -> Vec<ArgumentKind> {
    match kind {
        "string" => vec![ArgumentKind::Text],
        "int" | "uint64" | "int64" => vec![ArgumentKind::Number],
        "time.Duration" => vec![ArgumentKind::Duration],
        "bool" => vec![ArgumentKind::Flag],
        _ if kind.starts_with("[]") => vec![ArgumentKind::List],
        _ => vec![ArgumentKind::Record],
    }
}

/// What is between the first parenthesis of a text and the one that closes it.
fn within(text: &str) -> &str {
    let Some(start) = text.find('(') else { return "" };
    let mut depth = 0;
    for (at, letter) in text[start..].char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[start + 1..start + at];
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::super::parameters;
    use super::*;
    use crate::surface::table::{Argument, Way};

    const CLIENT: &str = "package client

type Client interface {
\tRegister(ctx context.Context, service *Service, opts ...RegisterOption) error
}

func RegisterTTL(ttl time.Duration) RegisterOption {
\treturn func(o *registerOptions) { o.duration(\"ttl\", ttl) }
}

func (r *rpc) Register(ctx context.Context, service *Service, opts ...RegisterOption) error {
\t_, err := r.ask(ctx, native.RegistryRegister, \"service\", service, \"ttl\", ttl)
\treturn err
}
";
    const NUMBERS: &str = "const (\n\tRegistryRegister = C.MICRO_REGISTRY_REGISTER\n)\n";

    /// What is said of a module after `from` became `to` in one of its files.
    fn tampered(from: &str, to: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let text = |text: &str| text.replacen(from, to, 1);
        fs::write(folder.path().join("client.go"), text(CLIENT)).unwrap();
        fs::write(folder.path().join("native.go"), text(NUMBERS)).unwrap();
        let argument =
            |name: &str, kind, is_optional| Argument { name: name.to_owned(), kind, is_optional };
        let question = Question {
            name: "registry.register".to_owned(),
            number: 0,
            does: String::new(),
            way: Way::Ask,
            arguments: vec![
                argument("service", ArgumentKind::Record, false),
                argument("ttl", ArgumentKind::Duration, true),
            ],
        };
        let module = Module::read(folder.path()).unwrap();
        let signatures = module.signatures("Client.Register", &question);
        let [signature] = &signatures[..] else { return "nothing is declared".to_owned() };
        let mut wrong = signature.wrong.clone();
        wrong.extend(parameters(signature, &question, &|argument| argument.name.clone()));
        wrong.join("\n")
    }

    #[test]
    fn a_method_takes_a_context_the_arguments_and_options_for_the_rest() {
        assert_eq!(tampered("\0", ""), "");
        assert_eq!(tampered("\tRegister(", "\tAdd("), "nothing is declared");
        assert!(tampered("ctx context.Context, service", "service").contains("takes no context"));
        let missing = tampered("RegisterTTL(ttl time.Duration)", "RegisterTTL()");
        assert!(
            missing.contains("registry.register takes \"ttl\"?: duration: add it"),
            "{missing}"
        );
        let kind = tampered("service *Service", "service string");
        assert!(kind.contains("`service` is a record in registry.register"), "{kind}");
    }

    #[test]
    fn a_method_asks_what_it_is_for() {
        let other = tampered("native.RegistryRegister", "native.RegistryRegistered");
        assert!(other.contains("it does not ask native.RegistryRegister"), "{other}");
        let argument = tampered("\"ttl\", ttl)\n\treturn err", ")\n\treturn err");
        assert!(argument.contains("it asks registry.register without"), "{argument}");
        let number = tampered("C.MICRO_REGISTRY_REGISTER", "C.MICRO_REGISTRY_GET");
        assert!(number.contains("native.go has no RegistryRegister = C.MICRO"), "{number}");
    }

    #[test]
    fn options_are_the_keys_that_functions_set() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("client.go"), CLIENT).unwrap();
        let options = Module::read(folder.path()).unwrap().options();
        assert_eq!(options["client.RegisterOption"], BTreeMap::from([("ttl".to_owned(), true)]));
    }
}
