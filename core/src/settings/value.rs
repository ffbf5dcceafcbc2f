//! Values of a document that know where they stand, so that every mistake names its field.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::duration::{self, LONGEST, duration};
use super::path::FieldPath;
use super::range::{self, Range};
use crate::error::{Error, Result};
use crate::spelling::{nearest, quoted};

const LONGEST_MS: u64 = LONGEST.as_secs() * 1000;

/// A value, and where it stands. Never `null`, but for the whole of a document.
#[derive(Debug, Clone)]
pub struct Value {
    pub(super) path: FieldPath,
    json: Json,
}

impl Value {
    pub(super) fn new(path: FieldPath, json: Json) -> Self {
        Self { path, json }
    }

    /// That something else was expected. The value is not repeated: it may be secret.
    pub(super) fn expected(&self, what: &str) -> Error {
        let got = match &self.json {
            Json::Null => "null".to_owned(),
            Json::Bool(flag) => flag.to_string(),
            Json::Number(number) => number.to_string(),
            Json::String(_) => "a text".to_owned(),
            Json::Array(_) => "a list".to_owned(),
            Json::Object(_) => "an object".to_owned(),
        };
        self.path.wrong(format!("{got} is not {what}"))
    }

    pub(super) fn is_object(&self) -> bool {
        self.json.is_object()
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        self.json.as_str()
    }

    /// A text.
    pub fn text(self) -> Result<String> {
        match self.json {
            Json::String(text) => Ok(text),
            _ => Err(self.expected("a text")),
        }
    }

    /// A text in its range.
    pub(super) fn text_in(self, range: &Range) -> Result<String> {
        let path = self.path.clone();
        let text = self.text()?;
        path.unless(range.refuses_text(&text), text)
    }

    /// An origin of web pages.
    pub(super) fn origin(self) -> Result<String> {
        let path = self.path.clone();
        let text = self.text()?;
        path.unless(range::origin(&text).err(), text)
    }

    /// True or false.
    pub fn flag(self) -> Result<bool> {
        self.json.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// A whole number.
    pub fn count<T: TryFrom<u64>>(self) -> Result<T> {
        let number = self.json.as_u64().and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| self.expected("a whole number"))
    }

    /// A whole number in its range.
    pub(super) fn number_in<T: TryFrom<u64>>(self, range: &Range) -> Result<T> {
        let expected = || self.expected(&format!("a whole number: give {range}"));
        let number = self.json.as_u64().ok_or_else(expected)?;
        let refused = range.refuses_number(number);
        // A range has only numbers of its option.
        let value = T::try_from(number).map_err(|_| expected());
        self.path.unless(refused, ())?;
        value
    }

    /// A duration in its range.
    pub(super) fn time_in(self, range: &Range) -> Result<Duration> {
        let path = self.path.clone();
        let time = self.duration()?;
        path.unless(range.refuses_time(time), time)
    }

    /// A duration, perhaps of no length.
    pub fn duration(self) -> Result<Duration> {
        const EXAMPLES: &str =
            "a duration: write for example \"250ms\", \"1.5s\", \"1m\" or 1500 for milliseconds";
        match &self.json {
            Json::String(text) => duration(text).map_err(|error| self.path.found(&error)),
            Json::Number(number) => {
                let length = number.as_u64().map(Duration::from_millis);
                length.filter(|length| *length <= LONGEST).ok_or_else(|| self.expected(EXAMPLES))
            }
            _ => Err(self.expected(EXAMPLES)),
        }
    }

    /// How long to wait at most: a duration, and [`Duration::MAX`] for `none` or more than clocks
    /// can say.
    pub(super) fn limit(self) -> Result<Duration> {
        match &self.json {
            Json::String(text) if text == "none" => Ok(Duration::MAX),
            Json::String(text) => match duration::bounded(text) {
                Ok(limit) => Ok(limit.unwrap_or(Duration::MAX)),
                Err(error) => Err(self.path.found(&error)),
            },
            Json::Number(number) if number.as_u64().is_some_and(|ms| ms > LONGEST_MS) => {
                Ok(Duration::MAX)
            }
            _ => self.duration(),
        }
    }

    /// A duration of some length.
    pub fn period(self) -> Result<Duration> {
        let path = self.path.clone();
        match self.duration()? {
            Duration::ZERO => Err(path.wrong("no time at all is not enough: write at least 1ms")),
            period => Ok(period),
        }
    }

    /// What `read` says, or nothing where there is nothing or `none`.
    pub(super) fn unless_none<T>(
        value: Option<Self>,
        read: impl FnOnce(Self) -> Result<T>,
    ) -> Result<Option<T>> {
        value.filter(|value| value.as_text() != Some("none")).map(read).transpose()
    }

    /// One of `choices`, by name.
    pub(super) fn choice<T: Clone>(self, choices: &[(&str, T)]) -> Result<T> {
        let names = choices.iter().map(|(name, _)| *name);
        let list = || names.clone().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let Some(text) = self.as_text() else {
            return Err(self.expected(&format!("one of {}", list())));
        };
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, chosen)) => Ok(chosen.clone()),
            None => Err(match nearest(text, names.clone()) {
                Some(meant) => {
                    self.path.wrong(format!("{} is unknown: did you mean {meant:?}?", quoted(text)))
                }
                None => {
                    self.path.wrong(format!("{} is unknown: write one of {}", quoted(text), list()))
                }
            }),
        }
    }

    /// The elements of a list, each with its path.
    pub(super) fn list(self) -> Result<Vec<Self>> {
        match self.json {
            Json::Array(elements) => {
                let path = self.path;
                let element = |(index, json)| Self::new(path.element(index), json);
                Ok(elements.into_iter().enumerate().map(element).collect())
            }
            _ => Err(self.expected("a list")),
        }
    }

    /// The origins of a list.
    pub(super) fn origins(self) -> Result<Vec<String>> {
        self.list()?.into_iter().map(Self::origin).collect()
    }

    /// The texts of a list.
    pub fn texts(self) -> Result<Vec<String>> {
        self.list()?.into_iter().map(Self::text).collect()
    }

    /// The entries of an object whose keys are the user's.
    pub(super) fn entries(self) -> Result<Vec<(String, Self)>> {
        match self.json {
            Json::Object(entries) => {
                let path = self.path;
                let entry = |(name, json): (String, Json)| {
                    let value = Self::new(path.field(&name), json);
                    (name, value)
                };
                Ok(entries.into_iter().map(entry).collect())
            }
            _ => Err(self.expected("an object")),
        }
    }

    /// Texts by keys that are the user's.
    pub(super) fn labels<C: FromIterator<(String, String)>>(self) -> Result<C> {
        let entries = self.entries()?.into_iter();
        entries.map(|(name, value)| Ok((name, value.text()?))).collect()
    }

    /// What serde makes of it; `what` is what messages call it.
    pub fn parse<T: DeserializeOwned>(self, what: &str) -> Result<T> {
        let path = self.path;
        serde_json::from_value(self.json)
            .map_err(|error| path.wrong(format!("this is not {what}: {error}")))
    }

    /// The fields of an object; none where `null` stands.
    pub(super) fn fields(self) -> Result<Fields> {
        let left = match self.json {
            Json::Null => Map::new(),
            Json::Object(fields) => fields,
            _ => return Err(self.expected("an object: write for example {\"timeout\": \"5s\"}")),
        };
        Ok(Fields { path: self.path, left, known: Vec::new() })
    }
}

/// The fields of an object, taken out one by one; what is left in the end is unknown.
#[derive(Debug)]
#[must_use = "unknown fields are found by `finish`"]
pub struct Fields {
    pub(super) path: FieldPath,
    left: Map<String, Json>,
    known: Vec<&'static str>,
}

impl Fields {
    /// The field called `name`, read by `read`; nothing when it is left out or `null`.
    pub fn read<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value) -> Result<T>,
    ) -> Result<Option<T>> {
        self.read_or_null(name, |value| value.map(read).transpose()).map(Option::flatten)
    }

    /// The same where `null` says something of its own: `read` is given nothing for it.
    pub(super) fn read_or_null<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Option<Value>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.known.push(name);
        match self.left.remove(name) {
            None => Ok(None),
            Some(Json::Null) => read(None).map(Some),
            Some(json) => read(Some(Value::new(self.path.field(name), json))).map(Some),
        }
    }

    /// The field called `name`, which may not be left out.
    pub fn require<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value) -> Result<T>,
    ) -> Result<T> {
        let missing = self.path.wrong(format!("`{name}` is missing"));
        self.read(name, read)?.ok_or(missing)
    }

    /// The error for a field that was not taken out.
    pub fn finish(self) -> Result<()> {
        let Some(unknown) = self.left.keys().next() else { return Ok(()) };
        let hint = match nearest(unknown, self.known.iter().copied()) {
            Some(meant) => format!(": did you mean `{meant}`?"),
            None => format!(" (known: {})", self.known.join(", ")),
        };
        Err(self.path.wrong(format!("unknown field {}{hint}", quoted(unknown))))
    }
}
