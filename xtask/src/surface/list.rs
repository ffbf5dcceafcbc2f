//! The list of what is not by rule, `ffi/bridge/surface.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(rename = "language")]
    pub(super) languages: Vec<Language>,
    #[serde(rename = "document", default)]
    pub(super) documents: Vec<Document>,
    #[serde(rename = "inside", default)]
    pub(super) inside: Vec<Inside>,
    #[serde(rename = "object")]
    pub(super) objects: Vec<Object>,
}

/// A column of the page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Language {
    pub(super) key: String,
    pub(super) title: String,
    /// A file, or a folder, that declares the names.
    pub(super) sources: String,
    /// How it spells a function of an object: `{Object}.{name}`, `{Object}.{camelName}` or `{Object}.{Name}`.
    pub(super) rule: String,
    /// How it spells what is asked, where that is another rule.
    pub(super) asked: Option<String>,
    /// Its sources are not there yet.
    #[serde(default)]
    pub(super) planned: bool,
}

/// A document of options of the core, and the type for it in each language.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) types: BTreeMap<String, OptionsType>,
}

/// How a language's type of options differs from the document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OptionsType {
    #[serde(rename = "type")]
    pub(super) name: String,
    /// Options that the document does not have, each with a reason.
    #[serde(default)]
    pub(super) adds: BTreeMap<String, String>,
    /// Keys that the type does not have, each with a reason.
    #[serde(default)]
    pub(super) lacks: BTreeMap<String, String>,
}

/// Functions of the bridge that no host sees.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inside {
    pub(super) why: String,
    pub(super) names: Vec<String>,
}

/// Something that hosts have, with what they do with it.
#[derive(Debug, Deserialize)]
pub(super) struct Object {
    pub(super) name: String,
    /// The area of its operations in the table, where that is not its name.
    pub(super) area: Option<String>,
    /// What it is called in the bridge, where that is not its name.
    pub(super) bridge: Option<String>,
    #[serde(default)]
    pub(super) operations: Vec<Entry>,
    /// Its name in a language, or why it is missing there.
    #[serde(flatten)]
    pub(super) spelled: BTreeMap<String, Spelling>,
}

/// An operation that is not in the table, or one that breaks a rule.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    /// What the table says of an operation that is asked.
    pub(super) does: Option<String>,
    /// The version of the C ABI, of what C does not have.
    pub(super) since: Option<String>,
    pub(super) events: Option<Vec<String>>,
    /// Functions of the bridge beside `Object::name`.
    #[serde(default)]
    pub(super) bridge: Vec<String>,
    /// By language, what an argument is called there.
    #[serde(default)]
    pub(super) arguments: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(flatten)]
    pub(super) spelled: BTreeMap<String, Spelling>,
}

/// How a language spells something.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Spelling {
    One(String),
    Several(Vec<String>),
    Missing { none: String },
}

impl Spelling {
    pub(super) fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
            Self::Missing { .. } => &[],
        }
    }
}

impl Object {
    pub(super) fn area(&self) -> String {
        self.area.clone().unwrap_or_else(|| self.name.to_lowercase())
    }

    pub(super) fn bridge(&self) -> &str {
        self.bridge.as_deref().unwrap_or(&self.name)
    }

    /// How `language` spells the operation `name` by rule; `asked` is whether the table has it.
    pub(super) fn by_rule(&self, language: &Language, name: &str, asked: bool) -> Spelling {
        let object = match self.spelled.get(&language.key) {
            Some(Spelling::One(object)) => object,
            Some(other) => return other.clone(),
            None => &self.name,
        };
        let rule = language.asked.as_ref().filter(|_| asked).unwrap_or(&language.rule);
        Spelling::One(
            rule.replace("{Object}", object)
                .replace("{object}", &object.to_lowercase())
                .replace("{AREA}", &self.area().to_uppercase())
                .replace("{name}", name)
                .replace("{camelName}", &camel(name))
                .replace("{Name}", &pascal(name))
                .replace("{NAME}", &name.to_uppercase()),
        )
    }
}

/// A name as JavaScript spells it.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, rest) = word.split_at(word.len().min(1));
        name + &head.to_uppercase() + rest
    })
}

/// `setHealth` as `set_health`.
pub(super) fn snake(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// `set_health` as `SetHealth`.
pub(super) fn pascal(name: &str) -> String {
    let mut begins = true;
    let mut out = String::new();
    for letter in name.chars() {
        if letter == '_' || letter == '.' {
            begins = true;
        } else {
            out.extend(if begins { letter.to_uppercase().next() } else { Some(letter) });
            begins = false;
        }
    }
    out
}
