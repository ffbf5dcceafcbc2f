//! Façades: what each language makes of the operations that are asked, held to the arguments in the bridge.
//!
//! A language is one file here that reads its sources, and one arm in `by_key.rs`.

mod by_key;
mod c;
mod go;
mod node;
mod python;

use std::collections::BTreeMap;

pub(super) use by_key::of;

use super::operation::Operation;
use super::table::{Argument, ArgumentKind, Question};

/// How the façade of one language is read.
pub(super) trait Facade {
    /// What the language has of the operation under `name`: one signature for each place that declares it.
    fn signatures(&self, name: &str, question: &Question) -> Vec<Signature>;

    /// Options by type: their names, and whether they are durations. Empty where a language has no types for them.
    fn options(&self) -> BTreeMap<String, BTreeMap<String, bool>> {
        BTreeMap::new()
    }
}

/// An operation as one place declares it.
#[derive(Debug, Default)]
pub(super) struct Signature {
    /// Where, for people.
    pub(super) place: String,
    pub(super) parameters: Vec<Parameter>,
    /// What is wrong with it beside its parameters.
    pub(super) wrong: Vec<String>,
}

/// An argument as a language declares it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: String,
    /// What its type may stand for.
    pub(super) kinds: Vec<ArgumentKind>,
    pub(super) is_optional: bool,
}

/// Where the façade differs from the operations.
pub(super) fn differences(
    facade: &dyn Facade,
    language: &str,
    operations: &[Operation],
) -> Vec<String> {
    let mut wrong = Vec::new();
    for operation in operations {
        let Some(question) = &operation.question else { continue };
        let renamed = operation.arguments.get(language);
        let named = |argument: &Argument| {
            let name = renamed.and_then(|names| names.get(&argument.name));
            name.unwrap_or(&argument.name).clone()
        };
        for name in operation.names(language) {
            for signature in facade.signatures(name, question) {
                let place = &signature.place;
                wrong.extend(signature.wrong.iter().map(|what| format!("{place}: {what}")));
                wrong.extend(parameters(&signature, question, &named));
            }
        }
    }
    wrong
}

fn parameters(
    signature: &Signature,
    question: &Question,
    named: &dyn Fn(&Argument) -> String,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let (place, operation) = (&signature.place, &question.name);
    for argument in &question.arguments {
        let name = named(argument);
        let found = signature.parameters.iter().find(|parameter| parameter.name == name);
        let Some(parameter) = found else {
            wrong.push(format!("{place}: {operation} takes {argument}: add it"));
            continue;
        };
        if parameter.is_optional != argument.is_optional {
            let should = if argument.is_optional { "optional" } else { "required" };
            wrong.push(format!("{place}: `{name}` is {should} in {operation}: make it so"));
        }
        if !parameter.kinds.contains(&argument.kind) {
            wrong.push(format!(
                "{place}: `{name}` is a {} in {operation}: give it a type for that",
                argument.kind
            ));
        }
    }
    let known = |name: &String| question.arguments.iter().any(|other| named(other) == *name);
    let more = signature.parameters.iter().filter(|parameter| !known(&parameter.name));
    wrong.extend(more.map(|parameter| {
        format!("{place}: {operation} takes no `{}`: leave it out", parameter.name)
    }));
    wrong
}
