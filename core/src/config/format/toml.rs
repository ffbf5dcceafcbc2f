//! TOML, with the line of each value.

use std::sync::Arc;

use serde_json::Number;
use toml::de::{DeTable, DeValue};

use super::bounds::Place;
use super::lines::Lines;
use crate::config::node::{Data, Map, Node};
use crate::error::Result;

pub(super) fn parse(text: &str, place: Place<'_>) -> Result<Arc<Node>> {
    let lines = Lines::new(text);
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| lines.at(span.start));
        place.wrong(line, error.message())
    })?;
    let mut reader = Reader { place, lines };
    reader.table(table.get_ref(), 1, 0)
}

struct Reader<'a> {
    place: Place<'a>,
    lines: Lines,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, line: usize, depth: usize) -> Result<Arc<Node>> {
        let mut values = Map::new();
        for (key, value) in table {
            // A table is where its header is, a value where it stands.
            let on = self.lines.at(key.span().start);
            let value = self.value(value.get_ref(), on, depth + 1)?;
            values.insert(key.get_ref().as_ref().into(), value);
        }
        self.place.node(Data::Map(values), line, depth)
    }

    fn value(&mut self, value: &DeValue<'_>, line: usize, depth: usize) -> Result<Arc<Node>> {
        let data = match value {
            DeValue::String(text) => Data::Text(text.to_string()),
            DeValue::Boolean(value) => Data::Bool(*value),
            DeValue::Datetime(value) => Data::Text(value.to_string()),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                let parsed = parsed.map_err(|_| {
                    self.place.wrong(line, format!("{} is too large a number", number.as_str()))
                })?;
                Data::Number(parsed.into())
            }
            DeValue::Float(number) => {
                let parsed = number.as_str().parse().ok().and_then(Number::from_f64);
                let parsed = parsed.ok_or_else(|| {
                    let why = format!("{} is a number that nothing can read", number.as_str());
                    self.place.wrong(line, why)
                })?;
                Data::Number(parsed)
            }
            DeValue::Array(values) => {
                // Before the values are looked at, which are within it.
                self.place.count(0, line, depth)?;
                let mut elements = Vec::new();
                for value in values.iter() {
                    let on = self.lines.at(value.span().start);
                    elements.push(self.value(value.get_ref(), on, depth + 1)?);
                }
                Data::List(elements)
            }
            DeValue::Table(table) => {
                self.place.count(0, line, depth)?;
                return self.table(table, line, depth);
            }
        };
        self.place.node(data, line, depth)
    }
}
