//! JSON, with the line of each value.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Read;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::bounds::Place;
use crate::config::node::{Data, Map, Node};
use crate::error::{Error, Result};

pub(super) fn parse(text: &str, place: Place<'_>) -> Result<Arc<Node>> {
    let line = Cell::new(1);
    let bytes = Bytes { left: text.as_bytes(), line: &line, ended: false };
    let reading = Reading { place: RefCell::new(place), line: &line, failed: RefCell::new(None) };
    let mut json = serde_json::Deserializer::from_reader(bytes);
    let read = Seed { reading: &reading, depth: 0 }.deserialize(&mut json);
    let read = read.and_then(|root| json.end().map(|()| root));
    read.map_err(|error| {
        if let Some(ours) = reading.failed.take() {
            return ours;
        }
        let text = error.to_string();
        let why = text.split(" at line ").next().unwrap_or_default();
        let why = format!("column {}: {why}", error.column());
        reading.place.borrow().wrong(error.line().max(1), why)
    })
}

/// Gives a byte at a time, as `serde_json` asks for them, and says on which line it was.
struct Bytes<'a> {
    left: &'a [u8],
    line: &'a Cell<usize>,
    /// The byte before ended a line. It counts when there is another, as numbers are ended by the byte behind them.
    ended: bool,
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (Some((first, left)), Some(to)) = (self.left.split_first(), buffer.first_mut()) else {
            return Ok(0);
        };
        if self.ended {
            self.line.set(self.line.get() + 1);
        }
        self.ended = *first == b'\n';
        (*to, self.left) = (*first, left);
        Ok(1)
    }
}

struct Reading<'a> {
    place: RefCell<Place<'a>>,
    line: &'a Cell<usize>,
    /// What is wrong, in our own words.
    failed: RefCell<Option<Error>>,
}

impl Reading<'_> {
    fn keep<T, E: serde::de::Error>(&self, result: Result<T>) -> Result<T, E> {
        result.map_err(|error| {
            let text = error.detail().to_owned();
            *self.failed.borrow_mut() = Some(error);
            E::custom(text)
        })
    }

    fn node<E: serde::de::Error>(
        &self,
        data: Data,
        line: usize,
        depth: usize,
    ) -> Result<Arc<Node>, E> {
        let node = self.place.borrow_mut().node(data, line, depth);
        self.keep(node)
    }
}

#[derive(Clone, Copy)]
struct Seed<'a, 'b> {
    reading: &'a Reading<'b>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Arc<Node>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Arc<Node>, D::Error> {
        from.deserialize_any(self)
    }
}

impl Seed<'_, '_> {
    fn here<E: serde::de::Error>(self, data: Data) -> Result<Arc<Node>, E> {
        self.reading.node(data, self.reading.line.get(), self.depth)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Arc<Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Arc<Node>, E> {
        self.here(Data::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Arc<Node>, E> {
        self.here(Data::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Arc<Node>, E> {
        self.here(Data::Number(value.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Arc<Node>, E> {
        self.here(Data::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Arc<Node>, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("no number"))?;
        self.here(Data::Number(number))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Arc<Node>, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Arc<Node>, E> {
        self.here(Data::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Arc<Node>, A::Error> {
        let line = self.reading.line.get();
        let mut values = Vec::new();
        while let Some(value) = from.next_element_seed(Seed { depth: self.depth + 1, ..self })? {
            values.push(value);
        }
        self.reading.node(Data::List(values), line, self.depth)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Arc<Node>, A::Error> {
        let line = self.reading.line.get();
        let mut values = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            let on = self.reading.line.get();
            let value = from.next_value_seed(Seed { depth: self.depth + 1, ..self })?;
            let inserted = self.reading.place.borrow().insert(&mut values, &key, value, on);
            self.reading.keep(inserted)?;
        }
        self.reading.node(Data::Map(values), line, self.depth)
    }
}
