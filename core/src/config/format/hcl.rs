//! HCL, with the line of each value.

use std::sync::Arc;

use hcl_edit::Span;
use hcl_edit::expr::{Expression, ObjectKey, UnaryOperator};
use hcl_edit::structure::{Body, Structure};
use hcl_edit::template::Element;
use serde_json::Number;

use super::bounds::Place;
use super::lines::Lines;
use crate::config::node::{Data, Map, Node};
use crate::error::{Error, Result};

pub(super) fn parse(text: &str, place: Place<'_>) -> Result<Arc<Node>> {
    let body = hcl_edit::parser::parse_body(text).map_err(|error| {
        let why = format!("column {}: {}", error.location().column(), error.message());
        place.wrong(error.location().line(), why)
    })?;
    Reader { lines: Lines::new(text), place }.body(&body, 1, 0)
}

struct Reader<'a> {
    place: Place<'a>,
    lines: Lines,
}

impl Reader<'_> {
    fn line(&self, of: &impl Span, otherwise: usize) -> usize {
        of.span().map_or(otherwise, |span| self.lines.at(span.start))
    }

    fn body(&mut self, body: &Body, line: usize, depth: usize) -> Result<Arc<Node>> {
        let mut values = Map::new();
        for structure in body.iter() {
            match structure {
                Structure::Attribute(attribute) => {
                    let on = self.line(&attribute.key, line);
                    let value = self.value(&attribute.value, on, depth + 1)?;
                    self.place.insert(&mut values, attribute.key.as_str(), value, on)?;
                }
                Structure::Block(block) => {
                    let on = self.line(&block.ident, line);
                    let inner = depth + 1 + block.labels.len();
                    let mut node = self.body(&block.body, on, inner)?;
                    for (index, label) in block.labels.iter().enumerate().rev() {
                        let map = Map::from([(label.as_str().into(), node)]);
                        node = self.place.node(Data::Map(map), on, depth + 1 + index)?;
                    }
                    self.add_block(
                        &mut values,
                        block.ident.as_str(),
                        node,
                        block.is_labeled(),
                        depth,
                    )?;
                }
            }
        }
        self.place.node(Data::Map(values), line, depth)
    }

    /// Blocks of one name: those with labels go together, others are a list.
    fn add_block(
        &mut self,
        values: &mut Map,
        name: &str,
        node: Arc<Node>,
        labelled: bool,
        depth: usize,
    ) -> Result<()> {
        let line = node.origin.line().unwrap_or(1) as usize;
        let Some(before) = values.get(name).cloned() else {
            return self.place.insert(values, name, node, line);
        };
        let joined = match (&before.data, &node.data) {
            (Data::Map(_), Data::Map(_)) if labelled => self.joined(&before, &node)?,
            (Data::List(blocks), _) if !labelled => {
                let mut blocks = blocks.clone();
                blocks.push(node);
                self.place.node(Data::List(blocks), line, depth + 1)?
            }
            (Data::Map(_), _) if !labelled => {
                self.place.node(Data::List(vec![before, node]), line, depth + 1)?
            }
            _ => return self.place.insert(values, name, node, line),
        };
        values.insert(name.into(), joined);
        Ok(())
    }

    fn joined(&mut self, before: &Arc<Node>, more: &Arc<Node>) -> Result<Arc<Node>> {
        let (Data::Map(first), Data::Map(second)) = (&before.data, &more.data) else {
            let line = more.origin.line().unwrap_or(1) as usize;
            return Err(self.place.wrong(line, "a block of this name is there: rename one"));
        };
        let mut all = first.clone();
        for (key, node) in second {
            let line = node.origin.line().unwrap_or(1) as usize;
            match first.get(key) {
                Some(old) if matches!((&old.data, &node.data), (Data::Map(_), Data::Map(_))) => {
                    let joined = self.joined(old, node)?;
                    all.insert(Arc::clone(key), joined);
                }
                _ => self.place.insert(&mut all, key, Arc::clone(node), line)?,
            }
        }
        Ok(Node::new(Data::Map(all), before.origin.clone()))
    }

    fn value(&mut self, value: &Expression, line: usize, depth: usize) -> Result<Arc<Node>> {
        self.place.count(0, line, depth)?;
        let data = match value {
            Expression::Null(_) => Data::Null,
            Expression::Bool(value) => Data::Bool(*value.value()),
            Expression::Number(number) => Data::Number(self.number(number.value(), line)?),
            Expression::String(text) => Data::Text(text.value().clone()),
            Expression::Parenthesis(inner) => return self.value(inner.inner(), line, depth),
            Expression::UnaryOp(operation) => match &operation.expr {
                Expression::Number(number) if *operation.operator.value() == UnaryOperator::Neg => {
                    Data::Number(self.number(&-*number.value(), line)?)
                }
                _ => return Err(self.computed(line)),
            },
            Expression::StringTemplate(template) => {
                Data::Text(self.template(template.iter(), line)?)
            }
            Expression::HeredocTemplate(heredoc) => {
                Data::Text(self.template(heredoc.template.iter(), line)?)
            }
            Expression::Array(values) => {
                let mut elements = Vec::new();
                for value in values {
                    let on = self.line(value, line);
                    elements.push(self.value(value, on, depth + 1)?);
                }
                Data::List(elements)
            }
            Expression::Object(values) => {
                let mut map = Map::new();
                for (key, value) in values {
                    let name = match key {
                        ObjectKey::Ident(name) => name.as_str().to_owned(),
                        ObjectKey::Expression(Expression::String(name)) => name.value().clone(),
                        ObjectKey::Expression(_) => return Err(self.computed(line)),
                    };
                    let on = self.line(value.expr(), line);
                    let node = self.value(value.expr(), on, depth + 1)?;
                    self.place.insert(&mut map, &name, node, on)?;
                }
                Data::Map(map)
            }
            _ => return Err(self.computed(line)),
        };
        self.place.node(data, line, depth)
    }

    /// A text with `${NAME}` in it, which is for later.
    fn template<'a>(
        &self,
        elements: impl Iterator<Item = &'a Element>,
        line: usize,
    ) -> Result<String> {
        let mut text = String::new();
        for element in elements {
            match element {
                Element::Literal(literal) => text.push_str(literal.value()),
                Element::Interpolation(inner) => match &inner.expr {
                    Expression::Variable(name) => {
                        text.push_str(&format!("${{{}}}", name.as_str()));
                    }
                    _ => return Err(self.computed(line)),
                },
                Element::Directive(_) => return Err(self.computed(line)),
            }
        }
        Ok(text)
    }

    fn number(&self, number: &hcl_edit::Number, line: usize) -> Result<Number> {
        let read = match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Some(number.into()),
            (_, Some(number)) => Some(number.into()),
            _ => number.as_f64().and_then(Number::from_f64),
        };
        read.ok_or_else(|| self.place.wrong(line, format!("{number} is too large a number")))
    }

    fn computed(&self, line: usize) -> Error {
        let why = "expressions are not computed: write the value; of templates, `${NAME}` for a variable of the environment";
        self.place.wrong(line, why)
    }
}
