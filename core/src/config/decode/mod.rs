//! Reads a tree into types.

mod failure;
mod words;

use std::sync::Arc;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value as Json;

use self::failure::Failure;
use self::words::{Word, Words, number_into};
use super::node::{Data, Map, Node, guess};
use super::path::Path;
use crate::error::{Code, Error, Result};

/// Reads the value at `path`; `node` is `None` where nothing sets it, and `near` is the last value on the way.
///
/// # Errors
/// `INVALID_ARGUMENT` with the path, the origin and what was expected; `NOT_FOUND` where a value is needed and nothing sets it.
pub(super) fn decode<T: DeserializeOwned>(path: &Path, node: Option<&Node>) -> Result<T> {
    T::deserialize(Reader { node }).map_err(|failure| {
        let keys: Vec<String> = failure.path.into_iter().rev().collect();
        let path = path.join(keys);
        match failure.origin {
            Some(origin) => Error::invalid_argument(format!("{path} ({origin}): {}", failure.why)),
            None if failure.is_missing => {
                Error::new(Code::NotFound, format!("{path}: {}", failure.why))
            }
            None => Error::invalid_argument(format!("{path}: {}", failure.why)),
        }
    })
}

/// The truth values that Go reads.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[derive(Clone, Copy)]
struct Reader<'de> {
    node: Option<&'de Node>,
}

impl<'de> Reader<'de> {
    fn node(&self) -> Result<&'de Node, Failure> {
        self.node.ok_or_else(|| Failure {
            is_missing: true,
            ..Failure::custom("nothing sets it: add it to a source, or read it with a default")
        })
    }

    /// Texts that may be something else.
    fn text(&self) -> Option<&'de str> {
        match &self.node?.data {
            Data::Text(text) | Data::Loose(text) => Some(text),
            Data::Secret(text) => Some(text.expose()),
            _ => None,
        }
    }

    fn integer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let node = self.node()?;
        let visited = match (&node.data, self.text()) {
            (Data::Number(number), _) if number.is_f64() => match number.as_f64() {
                // 5.0 is 5, up to where floats have every integer.
                Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => {
                    visitor.visit_i64(float as i64)
                }
                float => visitor.visit_f64(float.unwrap_or_default()),
            },
            (_, Some(text)) => match (text.trim().parse::<u64>(), text.trim().parse::<i64>()) {
                (Ok(number), _) => visitor.visit_u64(number),
                (_, Ok(number)) => visitor.visit_i64(number),
                _ => Err(Failure::invalid_type(Unexpected::Str(text), &visitor)),
            },
            _ => return self.deserialize_any(visitor),
        };
        visited.map_err(|failure| failure.at(node))
    }
}

macro_rules! integers {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            self.integer(visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let node = self.node()?;
        let visited = match &node.data {
            Data::Null | Data::Deleted => visitor.visit_unit(),
            Data::Bool(value) => visitor.visit_bool(*value),
            Data::Number(number) => number_into(number, visitor),
            Data::Text(text) => visitor.visit_borrowed_str(text),
            Data::Loose(text) => match guess(text) {
                Json::Bool(value) => visitor.visit_bool(value),
                Json::Number(number) => number_into(&number, visitor),
                _ => visitor.visit_borrowed_str(text),
            },
            Data::Secret(text) => visitor.visit_borrowed_str(text.expose()),
            Data::List(values) => visitor.visit_seq(Elements { values: values.iter(), index: 0 }),
            Data::Map(values) => visitor.visit_map(Entries::new(values)),
        };
        visited.map_err(|failure| failure.at(node))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let node = self.node()?;
        match self.text().map(|text| (text, truth(text.trim()))) {
            Some((_, Some(value))) => visitor.visit_bool(value),
            Some((text, None)) => Err(Failure::invalid_type(Unexpected::Str(text), &visitor)),
            None => return self.deserialize_any(visitor),
        }
        .map_err(|failure| failure.at(node))
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let node = self.node()?;
        match self.text().map(|text| (text, text.trim().parse::<f64>())) {
            Some((_, Ok(value))) => visitor.visit_f64(value),
            Some((text, Err(_))) => Err(Failure::invalid_type(Unexpected::Str(text), &visitor)),
            None => return self.deserialize_any(visitor),
        }
        .map_err(|failure| failure.at(node))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let node = self.node()?;
        match self.text() {
            Some(text) => {
                visitor.visit_borrowed_str(text).map_err(|failure: Failure| failure.at(node))
            }
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let node = self.node()?;
        match self.text() {
            Some(text) => visitor
                .visit_borrowed_bytes(text.as_bytes())
                .map_err(|failure: Failure| failure.at(node)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.map(|node| &node.data) {
            None | Some(Data::Null | Data::Deleted) => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let node = self.node()?;
        match &node.data {
            // As in a variable: `a, b`; one word is a list of one.
            Data::Text(text) | Data::Loose(text) => {
                visitor.visit_seq(Words::new(text)).map_err(|failure| failure.at(node))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        // A type all of whose fields have defaults needs nothing.
        let Some(_) = self.node else { return visitor.visit_map(Entries::new(&EMPTY)) };
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let node = self.node()?;
        let visited = match (&node.data, self.text()) {
            (Data::Map(values), _) => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries::new(values)))
            }
            (_, Some(text)) => {
                BorrowedStrDeserializer::new(text).deserialize_enum(name, variants, visitor)
            }
            _ => return self.deserialize_any(visitor),
        };
        visited.map_err(|failure: Failure| failure.at(node))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { unit unit_struct }
}

static EMPTY: Map = Map::new();

struct Elements<'de> {
    values: std::slice::Iter<'de, Arc<Node>>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        let Some(node) = self.values.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        let read = seed.deserialize(Reader { node: Some(node) });
        read.map(Some).map_err(|failure| failure.within(&index.to_string()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len())
    }
}

struct Entries<'de> {
    values: std::collections::btree_map::Iter<'de, Arc<str>, Arc<Node>>,
    next: Option<(&'de str, &'de Node)>,
}

impl<'de> Entries<'de> {
    fn new(values: &'de Map) -> Self {
        Self { values: values.iter(), next: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        let Some((key, node)) = self.values.next() else { return Ok(None) };
        self.next = Some((key, node));
        let read = seed.deserialize(Word(key));
        read.map(Some).map_err(|failure| failure.at(node))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let Some((key, node)) = self.next.take() else {
            return Err(Failure::custom("a value was asked for before its key"));
        };
        seed.deserialize(Reader { node: Some(node) }).map_err(|failure| failure.within(key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len())
    }
}
