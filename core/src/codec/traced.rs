//! What a type of serde says of its fields: it is asked to read itself, told nothing, and listened to as it asks for the name of
//! a field, text or a number. Nothing is made of it: each look ends with the answer to one question.

use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};

use crate::registry::Value;

/// go-micro walks a type three levels deep (wire reference 1.10): the type, its fields, theirs.
pub(super) const DEPTH: usize = 3;
/// Fields described per level; a type with more is described by its first ones.
pub(super) const MAX_FIELDS: usize = 64;
/// Types within types, as in `Option<Vec<T>>`, that are looked through.
const MAX_WRAPPERS: usize = 32;
/// Fields that are told of a type, with those of its fields.
const MAX_ALL: usize = 512;

/// The name of a type as Go has it, and its fields.
pub(super) fn trace<T: DeserializeOwned>() -> (String, Vec<Value>) {
    let found = look::<T>(&[]);
    let mut left = MAX_ALL;
    let values = fields::<T>(&found, &mut Vec::new(), &mut left);
    (found.kind(), values)
}

/// The fields of what was found at `path`.
fn fields<T: DeserializeOwned>(
    found: &Found,
    path: &mut Vec<&'static str>,
    left: &mut usize,
) -> Vec<Value> {
    if found.lists > 0 || path.len() + 1 >= DEPTH {
        return Vec::new();
    }
    let mut values = Vec::new();
    for name in found.fields.iter().take(MAX_FIELDS) {
        let Some(less) = left.checked_sub(1) else { break };
        *left = less;
        path.push(name);
        let field = look::<T>(path);
        let inner = fields::<T>(&field, path, left);
        path.pop();
        values.push(Value { name: (*name).to_owned(), kind: field.kind(), values: inner });
    }
    values
}

/// What the type has for the field of a field, by their names.
fn look<T: DeserializeOwned>(path: &[&'static str]) -> Found {
    let mut found = Found::default();
    let _ = T::deserialize(Look { path, found: &mut found });
    found
}

#[derive(Debug, Default)]
struct Found {
    name: &'static str,
    fields: &'static [&'static str],
    lists: usize,
    wrappers: usize,
}

impl Found {
    fn kind(&self) -> String {
        format!("{}{}", "[]".repeat(self.lists), self.name)
    }
}

/// The end of a look.
#[derive(Debug)]
struct Seen;

impl Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the type has told what it is")
    }
}

impl std::error::Error for Seen {}

impl Error for Seen {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

/// What a type asks for its value.
struct Look<'a> {
    /// Fields that are still to be gone through.
    path: &'a [&'static str],
    found: &'a mut Found,
}

impl Look<'_> {
    fn is(self, name: &'static str, fields: &'static [&'static str]) -> Seen {
        if self.path.is_empty() {
            self.found.name = name;
            self.found.fields = fields;
        }
        Seen
    }

    /// Whether it is worth to look through one more wrapper.
    fn goes_on(&mut self) -> Result<(), Seen> {
        self.found.wrappers += 1;
        if self.found.wrappers > MAX_WRAPPERS { Err(Seen) } else { Ok(()) }
    }
}

macro_rules! plain {
    ($($method:ident = $name:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
            Err(self.is($name, &[]))
        })*
    };
}

impl<'de> Deserializer<'de> for Look<'_> {
    type Error = Seen;

    plain! {
        deserialize_any = "";
        deserialize_bool = "bool";
        deserialize_i8 = "int8";
        deserialize_i16 = "int16";
        deserialize_i32 = "int32";
        deserialize_i64 = "int64";
        deserialize_i128 = "int128";
        deserialize_u8 = "uint8";
        deserialize_u16 = "uint16";
        deserialize_u32 = "uint32";
        deserialize_u64 = "uint64";
        deserialize_u128 = "uint128";
        deserialize_f32 = "float32";
        deserialize_f64 = "float64";
        deserialize_char = "string";
        deserialize_str = "string";
        deserialize_string = "string";
        deserialize_bytes = "[]uint8";
        deserialize_byte_buf = "[]uint8";
        deserialize_unit = "";
        deserialize_map = "";
        deserialize_identifier = "";
        deserialize_ignored_any = "";
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Seen> {
        self.goes_on()?;
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Seen> {
        self.goes_on()?;
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Seen> {
        self.goes_on()?;
        // Of the items of a list only the type is told.
        if !self.path.is_empty() {
            return Err(Seen);
        }
        self.found.lists += 1;
        visitor.visit_seq(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: V,
    ) -> Result<V::Value, Seen> {
        Err(self.is(name, &[]))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Seen> {
        Err(self.is("", &[]))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        _: V,
    ) -> Result<V::Value, Seen> {
        Err(self.is(name, &[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Seen> {
        match self.path {
            [] => Err(self.is(name, fields)),
            [first, rest @ ..] => {
                let inner = Look { path: rest, found: self.found };
                visitor.visit_map(Field { name: Some(first), value: inner })
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Seen> {
        Err(self.is(name, &[]))
    }
}

impl<'de> SeqAccess<'de> for Look<'_> {
    type Error = Seen;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Seen> {
        seed.deserialize(Look { path: self.path, found: self.found })?;
        Err(Seen)
    }
}

/// An object with one field.
struct Field<'a> {
    name: Option<&'static str>,
    value: Look<'a>,
}

impl<'de> MapAccess<'de> for Field<'_> {
    type Error = Seen;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Seen> {
        let name = self.name.take().ok_or(Seen)?;
        let name: StrDeserializer<'_, Seen> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Seen> {
        seed.deserialize(Look { path: self.value.path, found: self.value.found })?;
        Err(Seen)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::*;

    /// The tree in one line, as in `Order{lines []Line}`.
    fn said(value: &Value) -> String {
        let fields: Vec<String> =
            value.values.iter().map(|field| format!("{} {}", field.name, said(field))).collect();
        match fields.is_empty() {
            true => value.kind.clone(),
            false => format!("{}{{{}}}", value.kind, fields.join(", ")),
        }
    }

    fn of<T: DeserializeOwned>() -> String {
        let (kind, values) = trace::<T>();
        said(&Value { name: String::new(), kind, values })
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "its fields are looked at by their types")]
    struct Order {
        id: u64,
        #[serde(rename = "buyerName")]
        buyer: Option<Person>,
        lines: Vec<Line>,
        grid: Vec<Vec<f32>>,
        labels: HashMap<String, u8>,
        place: (f64, f64),
        kind: Kind,
        no: Number,
        #[serde(deserialize_with = "picky")]
        picky: i64,
        anything: serde_json::Value,
        #[serde(skip)]
        secret: u8,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "its fields are looked at by their types")]
    struct Person {
        name: String,
        home: Box<Home>,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "its fields are looked at by their types")]
    struct Home {
        city: String,
        owner: Option<Box<Person>>,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "its fields are looked at by their types")]
    struct Line {
        part: i8,
    }

    #[derive(Deserialize)]
    enum Kind {
        Plain,
        Gift { _to: String },
    }

    #[derive(Deserialize)]
    struct Number(#[allow(dead_code, reason = "its type is looked at")] u16);

    #[derive(Deserialize)]
    struct Tree(#[allow(dead_code, reason = "its type is looked at")] Vec<Tree>);

    fn picky<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }

    #[test]
    fn a_type_of_serde_tells_its_fields_as_go_names_them() {
        assert_eq!(
            of::<Order>(),
            "Order{id uint64, buyerName Person{name string, home Home}, lines []Line, grid [][]float32, labels , place , \
             kind Kind, no uint16, picky string, anything }"
        );
        assert_eq!(of::<Person>(), "Person{name string, home Home{city string, owner Person}}");
        let kinds = [of::<String>(), of::<Vec<Line>>(), of::<Option<bool>>(), of::<Kind>()];
        assert_eq!(kinds, ["string", "[]Line", "bool", "Kind"]);
        assert_eq!([of::<serde_json::Value>(), of::<()>(), of::<(u8, u8)>()], ["", "", ""]);
    }

    #[test]
    fn a_type_within_itself_and_one_of_many_fields_have_an_end() {
        assert_eq!(of::<Tree>().matches("[]").count(), MAX_WRAPPERS / 2);
    }
}
