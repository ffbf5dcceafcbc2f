//! Who decides a setting: a flag over a variable over a document over code over the default.
//!
//! Code gives the defaults of a program. Its operator has the last word, by a file, the environment and the command line;
//! what they say is put together here, and read as one document.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::document::{self, Document as _};
use super::flags;
use super::foreign::Foreign;
use super::gathered::Gathered;
use super::given::{Given, Source};
use super::operator::Operator;
use super::path::FieldPath;
use super::table::{self, Form, Setting};
use super::value::Value;
use super::{ClientSettings, ServiceSettings};
use crate::error::{Error, Result};

/// Largest document, in bytes; what is longer is read no further.
const MAX_FILE: u64 = 1024 * 1024;

/// Whose settings are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Service,
    Client,
}

impl Operator {
    /// Adds the flags in `arguments`. `name` and `version` are what help and version say.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a wrong one; `CANCELLED`, with the text to print, where help or the version is asked for.
    pub(crate) fn add_flags(
        &mut self,
        arguments: impl IntoIterator<Item = String>,
        name: &str,
        version: &str,
    ) -> Result<()> {
        self.flags.extend(flags::read(arguments, name, version)?);
        // What a flag says alone is refused at once; what needs another setting beside it, later.
        let told = self.flags.iter().filter(|given| !given.setting.key().contains("tls."));
        let told = Gathered::new(told.cloned());
        told.service().map(|_| ())
    }

    /// What the operator says of a service.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for whatever is wrong, naming its source.
    pub(crate) fn service(&self) -> Result<Gathered> {
        self.gather(Scope::Service, &variable)
    }

    /// The same of a client that belongs to no service.
    ///
    /// # Errors
    /// As [`Self::service`].
    pub(crate) fn client(&self) -> Result<Gathered> {
        self.gather(Scope::Client, &variable)
    }

    /// Says which variables of go-micro have no effect: one is for every program around, so that it is no mistake.
    pub(crate) fn warn(&self) {
        if self.environment {
            for (name, foreign) in Foreign::variables() {
                if let Some(why) = variable(&name).and_then(|value| foreign.refuses(&value)) {
                    tracing::warn!(variable = name, why, "a variable of go-micro has no effect");
                }
            }
        }
    }

    pub(super) fn gather(
        &self,
        scope: Scope,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Gathered> {
        let concerns =
            |setting: &Setting| scope == Scope::Service || setting.client_key().is_some();
        let mut given = Vec::new();
        if self.environment {
            for setting in table::all().filter(|setting| concerns(setting)) {
                let names = [setting.go_micro_variable(), setting.variable()];
                let mut last = None;
                for name in names.into_iter().flatten() {
                    if last.as_ref() != Some(&name)
                        && let Some(text) = variable(&name)
                    {
                        given.extend(Given::read(setting, &text, &Source::Variable(name.clone()))?);
                    }
                    last = Some(name);
                }
            }
        }
        given.extend(self.flags.iter().cloned());
        let file = given.iter().rfind(|given| given.setting.key() == "settings");
        let file = file.and_then(|given| given.value.as_str().map(PathBuf::from));
        given.retain(|given| given.setting.key() != "settings");
        if let Some(file) = file.or_else(|| self.document.clone()) {
            given.extend(from_file(&file, scope)?);
        }
        Ok(Gathered::new(given))
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Gathered {
    /// The settings of a service in it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for whatever is wrong, naming its source.
    pub(crate) fn service(&self) -> Result<ServiceSettings> {
        let value = self.value(ServiceSettings::NAME, |setting| Some(setting.key()));
        ServiceSettings::read(value)
    }

    /// The settings of a client in it.
    ///
    /// # Errors
    /// As [`Self::service`].
    pub(crate) fn client(&self) -> Result<ClientSettings> {
        ClientSettings::read(self.value(ClientSettings::NAME, Setting::client_key))
    }
}

/// What the document in a file says.
fn from_file(file: &Path, scope: Scope) -> Result<Vec<Given>> {
    let name = file.display().to_string();
    let wrong = |why: String| Error::invalid_argument(format!("{name}: {why}"));
    let mut text = String::new();
    File::open(file)
        .and_then(|open| open.take(MAX_FILE + 1).read_to_string(&mut text))
        .map_err(|error| wrong(format!("the settings cannot be read: {error}")))?;
    let told = |error: &Error| wrong(error.detail().to_owned());
    let json = match scope {
        Scope::Service => document::json(ServiceSettings::NAME, &text),
        Scope::Client => document::json(ClientSettings::NAME, &text),
    };
    let mut json = json.map_err(|error| told(&error))?;
    // Whatever is wrong is said of the whole document, with the keys that it knows.
    let path = |document| Value::new(FieldPath::new(document), json.clone());
    match scope {
        Scope::Service => ServiceSettings::read(path(ServiceSettings::NAME)).map(|_| ()),
        Scope::Client => ClientSettings::read(path(ClientSettings::NAME)).map(|_| ()),
    }
    .map_err(|error| told(&error))?;
    for key in ["environment", "settings"] {
        if json.get(key).is_some() {
            return Err(wrong(format!("{key}: only the program says that: leave it out")));
        }
    }
    if let Some(tls) = json.pointer_mut("/client/tls").filter(|tls| tls.is_string()) {
        *tls = serde_json::json!({ "authority": tls.take() });
    }
    let mut given = Vec::new();
    for setting in table::all() {
        let key = match scope {
            Scope::Service => Some(setting.key()),
            Scope::Client => setting.client_key(),
        };
        let Some(key) = key else { continue };
        let pointer = format!("/{}", key.replace('.', "/"));
        let Some(value) = json.pointer(&pointer) else { continue };
        let source = Source::Document(name.clone());
        match (setting.form(), value) {
            // Its parts are settings of their own.
            (Form::Choice(_), Json::Object(_)) => {}
            (Form::TimeOrNone(_), Json::Null) => {
                given.push(Given { setting, name: None, value: "none".into(), source });
            }
            (Form::Limit, Json::Null)
                if key.ends_with("timeout") && setting.key() != "register_timeout" =>
            {
                given.push(Given { setting, name: None, value: "none".into(), source });
            }
            (_, Json::Null) => {}
            (Form::Labels, Json::Object(labels)) => {
                given.extend(labels.iter().map(|(label, value)| Given {
                    setting,
                    name: Some(label.clone()),
                    value: value.clone(),
                    source: source.clone(),
                }));
            }
            (_, value) => {
                given.push(Given { setting, name: None, value: value.clone(), source });
            }
        }
    }
    Ok(given)
}
