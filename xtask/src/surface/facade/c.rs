//! C: the comment of each constant says what it is asked with, `args {"service": text, "ttl"?: duration}`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Facade, Parameter, Signature};
use crate::Outcome;
use crate::surface::table::{ArgumentKind, Question};

/// The constants of a header, each with its value and its comment.
pub(super) struct Header(BTreeMap<String, (String, String)>);

impl Header {
    pub(super) fn read(path: &Path) -> Outcome<Self> {
        let mut constants = BTreeMap::new();
        let mut comment = String::new();
        for line in fs::read_to_string(path)?.lines() {
            if let Some(said) = line.trim_start().strip_prefix("//") {
                comment = comment + said.trim() + " ";
                continue;
            }
            if let Some(defined) = line.strip_prefix("#define ")
                && let Some((name, value)) = defined.split_once(' ')
            {
                constants.insert(name.to_owned(), (value.trim().to_owned(), comment.clone()));
            }
            comment.clear();
        }
        Ok(Self(constants))
    }
}

impl Facade for Header {
    fn signatures(&self, name: &str, question: &Question) -> Vec<Signature> {
        let Some((value, comment)) = self.0.get(name) else { return Vec::new() };
        let mut signature = Signature { place: name.to_owned(), ..Signature::default() };
        if parsed(value) != Some(question.number) {
            signature.wrong.push(format!(
                "it is {value}, and {} is {:#06x} in the table: give it that number",
                question.name, question.number
            ));
        }
        let answer = format!("{}:", question.way.event());
        if !comment.contains(&answer) {
            signature
                .wrong
                .push(format!("its comment does not say what is told: write {answer} ..."));
        }
        match arguments(comment) {
            Ok(parameters) => signature.parameters = parameters,
            Err(why) => signature.wrong.push(why),
        }
        vec![signature]
    }
}

/// The number that a header writes, in any way that C has.
fn parsed(value: &str) -> Option<u32> {
    match value.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

/// What a comment says after `args`.
fn arguments(comment: &str) -> Result<Vec<Parameter>, String> {
    let within = comment.split_once("args {").and_then(|(_, rest)| rest.split_once('}'));
    let Some((within, _)) = within else {
        return Err(
            "its comment does not say what it takes: write args {\"name\": text}, or args {}"
                .to_owned(),
        );
    };
    let parts = within.split(',').map(str::trim).filter(|part| !part.is_empty());
    let read = parts.map(|part| {
        let (name, kind) = part.split_once(':').unwrap_or((part, ""));
        let is_optional = name.ends_with('?');
        let name = name.trim_end_matches('?').trim().trim_matches('"').to_owned();
        let kind = kind.trim();
        match ArgumentKind::ALL.into_iter().find(|known| known.to_string() == kind) {
            Some(kind) => Ok(Parameter { name, kinds: vec![kind], is_optional }),
            None => Err(format!(
                "`{name}` is \"{kind}\" in its comment: write text, number, flag, duration, record or list"
            )),
        }
    });
    read.collect()
}
