//! XML, with the line of each value.

use std::sync::Arc;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::bounds::Place;
use super::lines::Lines;
use crate::config::node::{Data, Map, Node};
use crate::error::Result;

/// The text of an element that has others in it, or attributes.
const TEXT: &str = "#text";

pub(super) fn parse(text: &str, mut place: Place<'_>) -> Result<Arc<Node>> {
    let lines = Lines::new(text);
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let line = lines.at(usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX));
        let event = reader.read_event().map_err(|error| {
            let at = usize::try_from(reader.error_position()).unwrap_or(usize::MAX);
            place.wrong(lines.at(at), error)
        })?;
        match event {
            Event::Start(start) => {
                // The place itself refuses what is too deep.
                place.count(0, line, open.len())?;
                let depth = open.len();
                open.push(Element::new(&start, line, depth, &mut place)?);
            }
            Event::Empty(start) => {
                let depth = open.len();
                let element = Element::new(&start, line, depth, &mut place)?;
                close(element, &mut open, &mut root, &mut place)?;
            }
            Event::End(_) => {
                if let Some(element) = open.pop() {
                    close(element, &mut open, &mut root, &mut place)?;
                }
            }
            Event::Text(text) => add(&mut open, &text.xml10_content()),
            Event::CData(text) => add(&mut open, &text.xml10_content()),
            Event::GeneralRef(reference) => {
                let character =
                    reference.resolve_char_ref().map_err(|error| place.wrong(line, error))?;
                match (character, resolve_predefined_entity(&reference.xml10_content())) {
                    (Some(character), _) => add(&mut open, character.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => add(&mut open, text),
                    (None, None) => {
                        return Err(place.wrong(line, "entities are not read: write the text"));
                    }
                }
            }
            Event::DocType(_) => {
                return Err(place.wrong(line, "document types are not read: remove <!DOCTYPE …>"));
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    match (open.pop(), root) {
        (Some(element), _) => {
            Err(place.wrong(element.line, format!("<{}> is not closed", element.name)))
        }
        (None, Some(root)) => Ok(root),
        (None, None) => Err(place.wrong(1, "there is no element: write <config>…</config>")),
    }
}

fn add(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

/// An element that is open.
struct Element {
    name: String,
    line: usize,
    depth: usize,
    values: Map,
    text: String,
}

impl Element {
    fn new(
        start: &BytesStart<'_>,
        line: usize,
        depth: usize,
        place: &mut Place<'_>,
    ) -> Result<Self> {
        let mut values = Map::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| place.wrong(line, error))?;
            let key = attribute.key.as_ref();
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|error| place.wrong(line, error))?;
            let node = place.node(Data::Loose(value.into_owned()), line, depth + 1)?;
            place.insert(&mut values, key, node, line)?;
        }
        let name = start.name().as_ref().to_owned();
        Ok(Self { name, line, depth, values, text: String::new() })
    }
}

/// Gives an element that has ended to the one around it.
fn close(
    mut element: Element,
    open: &mut [Element],
    root: &mut Option<Arc<Node>>,
    place: &mut Place<'_>,
) -> Result<()> {
    let text = element.text.trim().to_owned();
    let data = match (element.values.is_empty(), text.is_empty()) {
        // The root is a map whatever is in it.
        (true, true) if element.depth == 0 => Data::Map(element.values),
        (true, _) => Data::Loose(text),
        (false, true) => Data::Map(element.values),
        (false, false) => {
            let node = place.node(Data::Loose(text), element.line, element.depth + 1)?;
            place.insert(&mut element.values, TEXT, node, element.line)?;
            Data::Map(element.values)
        }
    };
    let node = place.node(data, element.line, element.depth)?;
    let Some(around) = open.last_mut() else {
        if root.is_some() {
            return Err(place.wrong(element.line, "there is a second root element: keep one"));
        }
        *root = Some(node);
        return Ok(());
    };
    let key: Arc<str> = element.name.into();
    let joined = match around.values.get(&key) {
        None => node,
        Some(before) => match &before.data {
            Data::List(elements) => {
                let mut elements = elements.clone();
                elements.push(node);
                Node::new(Data::List(elements), before.origin.clone())
            }
            _ => {
                let elements = vec![Arc::clone(before), node];
                Node::new(Data::List(elements), before.origin.clone())
            }
        },
    };
    around.values.insert(key, joined);
    Ok(())
}
