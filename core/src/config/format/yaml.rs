//! YAML, with the line of each value.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle};

use super::bounds::Place;
use crate::config::node::{Data, Map, Node};
use crate::error::Result;

/// The key whose maps are defaults for those around.
const MERGE: &str = "<<";

pub(super) fn parse(text: &str, mut place: Place<'_>) -> Result<Arc<Node>> {
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| place.wrong(error.marker().line().max(1), error.info()))?;
        let line = span.start.line().max(1);
        match event {
            Event::DocumentStart(..) => {
                if reader.documents > 0 {
                    let why = "there is a second document: keep one in a file";
                    return Err(place.wrong(line, why));
                }
                reader.documents += 1;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let plain = style == ScalarStyle::Plain && !is_text;
                reader.scalar(&text, plain, anchor, line, &mut place)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                reader.begin(Inner::List(Vec::new()), anchor, line, &mut place)?;
            }
            Event::MappingStart(_, anchor, _) => {
                let inner = Inner::Map { values: Map::new(), key: None, merged: Vec::new() };
                reader.begin(inner, anchor, line, &mut place)?;
            }
            Event::SequenceEnd | Event::MappingEnd => reader.end(&mut place)?,
            Event::Alias(anchor) => reader.alias(anchor, line, &mut place)?,
            _ => {}
        }
    }
    Ok(reader.root.unwrap_or_else(|| Node::empty(place.on_line(1))))
}

#[derive(Default)]
struct Reader {
    open: Vec<Frame>,
    anchors: HashMap<usize, Value>,
    root: Option<Arc<Node>>,
    documents: usize,
}

/// A value, how many there are in it, with itself, and how deep they are.
#[derive(Clone)]
struct Value {
    node: Arc<Node>,
    size: usize,
    height: usize,
}

/// A list or a map that is open.
struct Frame {
    inner: Inner,
    anchor: usize,
    line: usize,
    size: usize,
    height: usize,
}

enum Inner {
    List(Vec<Arc<Node>>),
    Map { values: Map, key: Option<(String, usize)>, merged: Vec<Arc<Node>> },
}

impl Reader {
    fn begin(
        &mut self,
        inner: Inner,
        anchor: usize,
        line: usize,
        place: &mut Place<'_>,
    ) -> Result<()> {
        place.count(0, line, self.open.len())?;
        self.no_key(line, place)?;
        self.open.push(Frame { inner, anchor, line, size: 1, height: 0 });
        Ok(())
    }

    /// What is no scalar is no key.
    fn no_key(&self, line: usize, place: &Place<'_>) -> Result<()> {
        match self.open.last() {
            Some(Frame { inner: Inner::Map { key: None, .. }, .. }) => {
                Err(place.wrong(line, "a list or a map is no key: write a text"))
            }
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        plain: bool,
        anchor: usize,
        line: usize,
        place: &mut Place<'_>,
    ) -> Result<()> {
        if let Some(Frame { inner: Inner::Map { key: key @ None, .. }, .. }) = self.open.last_mut()
        {
            *key = Some((text.to_owned(), line));
            return Ok(());
        }
        let data = match text {
            "" | "~" | "null" | "Null" | "NULL" if plain => Data::Null,
            _ if !plain => Data::Text(text.to_owned()),
            _ => match radix(text) {
                Some(number) => Data::Number(number.into()),
                // `1.10` may be a number or a version: its reader knows.
                None => Data::Loose(text.strip_prefix('+').unwrap_or(text).to_owned()),
            },
        };
        let node = place.node(data, line, self.open.len())?;
        self.add(Value { node, size: 1, height: 0 }, anchor, place)
    }

    fn alias(&mut self, anchor: usize, line: usize, place: &mut Place<'_>) -> Result<()> {
        self.no_key(line, place)?;
        let Some(value) = self.anchors.get(&anchor).cloned() else {
            return Err(place.wrong(line, "an alias stands within what it is an alias of"));
        };
        // As many values as it stands for.
        place.count(value.size, line, self.open.len() + value.height)?;
        self.add(value, 0, place)
    }

    fn end(&mut self, place: &mut Place<'_>) -> Result<()> {
        let Some(frame) = self.open.pop() else { return Ok(()) };
        let data = match frame.inner {
            Inner::List(values) => Data::List(values),
            Inner::Map { mut values, merged, .. } => {
                for defaults in merged {
                    let Data::Map(defaults) = &defaults.data else { continue };
                    for (key, value) in defaults {
                        values.entry(Arc::clone(key)).or_insert_with(|| Arc::clone(value));
                    }
                }
                Data::Map(values)
            }
        };
        let node = place.node(data, frame.line, self.open.len())?;
        self.add(Value { node, size: frame.size, height: frame.height }, frame.anchor, place)
    }

    /// Gives a value to what is around it.
    fn add(&mut self, value: Value, anchor: usize, place: &Place<'_>) -> Result<()> {
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(value.node);
            return Ok(());
        };
        frame.size = frame.size.saturating_add(value.size);
        frame.height = frame.height.max(value.height + 1);
        match &mut frame.inner {
            Inner::List(values) => values.push(value.node),
            Inner::Map { values, key, merged } => {
                let (key, line) = key.take().unwrap_or_default();
                if key != MERGE {
                    return place.insert(values, &key, value.node, line);
                }
                match &value.node.data {
                    Data::Map(_) => merged.push(value.node),
                    // Of several, the first ones come first.
                    Data::List(maps) if maps.iter().all(|map| matches!(map.data, Data::Map(_))) => {
                        merged.extend(maps.iter().cloned());
                    }
                    _ => return Err(place.wrong(line, "`<<` takes a map, or a list of maps")),
                }
            }
        }
        Ok(())
    }
}

/// Numbers as `0x1f` and `0o17`.
fn radix(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text.strip_prefix("0o")?, 8),
    };
    digits.bytes().next().filter(u8::is_ascii_hexdigit)?;
    u64::from_str_radix(digits, radix).ok()
}
