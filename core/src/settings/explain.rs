//! Which setting came from where.

use std::fmt;

use serde_json::Value as Json;

use super::gathered::Gathered;
use super::given::Source;
use super::table;

/// A setting, its value, and what set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Key in the document of a service, such as `client.timeout`; of labels, with their name, such as `metadata.zone`.
    pub key: String,
    /// The value as a document has it; secrets are left out.
    pub value: String,
    /// What set it.
    pub source: Source,
}

/// Every setting of a service, with its value and what set it, in the order of the documentation.
///
/// ```
/// use micro::Service;
///
/// # fn main() -> micro::Result<()> {
/// let builder = Service::builder("greeter").grace(std::time::Duration::from_secs(30)).args(["--address=:8080"])?;
/// let explained = builder.explain()?;
/// assert_eq!(explained.source("grace"), Some(&micro::settings::Source::Code));
/// assert_eq!(explained.source("address").unwrap().to_string(), "--address");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation(Vec<Explained>);

impl Explanation {
    /// `code` is what the program says, by key: what it set, and what it left as it is.
    pub(crate) fn new(code: &[(&'static str, Option<String>)], gathered: &Gathered) -> Self {
        let mut all = Vec::new();
        for setting in table::all().filter(|setting| setting.key() != "settings") {
            let key = setting.key();
            let given: Vec<_> =
                gathered.given().iter().filter(|given| given.setting.key() == key).collect();
            let said =
                code.iter().filter(|(of, _)| *of == key).filter_map(|(_, value)| value.as_ref());
            let said: Vec<&String> = said.collect();
            let (before, named) = (all.len(), given.iter().any(|given| given.name.is_some()));
            if given.is_empty() || named {
                all.extend(said.into_iter().map(|value| Explained {
                    key: key.to_owned(),
                    value: value.clone(),
                    source: Source::Code,
                }));
            }
            all.extend(given.into_iter().map(|given| Explained {
                key: match &given.name {
                    Some(name) => format!("{key}.{name}"),
                    None => key.to_owned(),
                },
                value: if setting.is_secret() { HIDDEN.to_owned() } else { shown(&given.value) },
                source: given.source.clone(),
            }));
            if all.len() == before {
                all.push(Explained {
                    key: key.to_owned(),
                    value: setting.default().to_owned(),
                    source: Source::Default,
                });
            }
        }
        Self(all)
    }

    /// What set the setting with this key.
    pub fn source(&self, key: &str) -> Option<&Source> {
        self.iter().find(|explained| explained.key == key).map(|explained| &explained.source)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Explained> {
        self.0.iter()
    }
}

/// A line for each setting that is not the default: `grace = 30s (code)`.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.iter().filter(|explained| explained.source != Source::Default);
        let line = |explained: &Explained| {
            let Explained { key, value, source } = explained;
            format!("{key} = {value} ({source})")
        };
        f.write_str(&set.map(line).collect::<Vec<_>>().join("\n"))
    }
}

/// What stands for a value that is not shown.
pub(crate) const HIDDEN: &str = "…";

/// A value as a document has it.
fn shown(value: &Json) -> String {
    match value {
        Json::String(text) if text.contains("-----BEGIN") => HIDDEN.to_owned(),
        Json::String(text) => text.clone(),
        Json::Object(object) if object.len() == 1 && object.contains_key("file") => {
            shown(&object["file"])
        }
        value => value.to_string(),
    }
}
