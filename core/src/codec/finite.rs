//! Refuses numbers that JSON does not have. serde_json writes NaN and infinities as `null`, which readers take for a value that
//! is missing; other languages write what no reader takes, or refuse, as this does.

use std::fmt::Display;

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// A value whose numbers are all looked at when it is written.
pub(super) struct Finite<'a, T: ?Sized>(pub(super) &'a T);

/// What looks at them.
struct Checked<S>(S);

impl<T: Serialize + ?Sized> Serialize for Finite<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Checked(serializer))
    }
}

/// Passes on what holds no other values.
macro_rules! plain {
    ($($method:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $method(self, $($argument: $kind),*) -> Result<S::Ok, S::Error> {
            self.0.$method($($argument),*)
        })*
    };
}

/// Begins what holds several values.
macro_rules! begins {
    ($($method:ident($($argument:ident: $kind:ty),*) -> $several:ident;)*) => {
        $(fn $method(self, $($argument: $kind),*) -> Result<Checked<S::$several>, S::Error> {
            self.0.$method($($argument),*).map(Checked)
        })*
    };
}

impl<S: Serializer> Serializer for Checked<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Checked<S::SerializeSeq>;
    type SerializeTuple = Checked<S::SerializeTuple>;
    type SerializeTupleStruct = Checked<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Checked<S::SerializeTupleVariant>;
    type SerializeMap = Checked<S::SerializeMap>;
    type SerializeStruct = Checked<S::SerializeStruct>;
    type SerializeStructVariant = Checked<S::SerializeStructVariant>;

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        check(value.into())?;
        self.0.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        check(value)?;
        self.0.serialize_f64(value)
    }

    plain! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    begins! {
        serialize_seq(length: Option<usize>) -> SerializeSeq;
        serialize_tuple(length: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, length: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, length: usize) -> SerializeTupleVariant;
        serialize_map(length: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, length: usize) -> SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, length: usize) -> SerializeStructVariant;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Finite(value))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &Finite(value))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_variant(name, index, variant, &Finite(value))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Values without names.
macro_rules! several {
    ($($several:ident::$method:ident;)*) => {
        $(impl<S: $several> $several for Checked<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.0.$method(&Finite(value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        })*
    };
}

/// Values with names, which an error tells.
macro_rules! fields {
    ($($several:ident;)*) => {
        $(impl<S: $several> $several for Checked<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let written = self.0.serialize_field(name, &Finite(value));
                written.map_err(|error| S::Error::custom(format_args!("{name}: {error}")))
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                self.0.skip_field(name)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        })*
    };
}

several! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}

impl<S: SerializeMap> SerializeMap for Checked<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.0.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&Finite(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

fn check<E: serde::ser::Error>(value: f64) -> Result<(), E> {
    if value.is_finite() {
        return Ok(());
    }
    Err(E::custom(format_args!("{value} is no number in JSON: leave it out, or send it as text")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(serde::Serialize)]
    struct Everything {
        text: &'static str,
        numbers: (i64, f32, Option<f64>),
        list: Vec<Shape>,
        map: BTreeMap<u8, f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<u8>,
        raw: serde_json::Value,
    }

    #[derive(serde::Serialize)]
    enum Shape {
        Point,
        Circle(f64),
        Line(f64, f64),
        Box { width: f64 },
    }

    fn everything(number: f64) -> Everything {
        Everything {
            text: "a \"b\"",
            numbers: (-1, 0.5, Some(number)),
            list: vec![
                Shape::Point,
                Shape::Circle(1e300),
                Shape::Line(0.0, -0.0),
                Shape::Box { width: 2.0 },
            ],
            map: BTreeMap::from([(1, 1.0)]),
            left_out: None,
            raw: serde_json::json!({"a": [1, null, 1.5]}),
        }
    }

    #[test]
    fn what_json_has_is_written_as_ever() {
        let value = everything(3.25);
        let written = serde_json::to_string(&Finite(&value)).expect("finite");
        assert_eq!(written, serde_json::to_string(&value).expect("plain"));
    }

    #[test]
    fn what_json_has_not_is_refused_wherever_it_stands() {
        let refused = |value: &dyn Fn() -> serde_json::Result<String>, at: &str| {
            let text = value().expect_err(at).to_string();
            assert!(text.starts_with(at) && text.contains("is no number in JSON"), "{text}");
        };
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            refused(&|| serde_json::to_string(&Finite(&number)), &number.to_string());
            refused(&|| serde_json::to_string(&Finite(&(number as f32))), &number.to_string());
            refused(&|| serde_json::to_string(&Finite(&everything(number))), "numbers: ");
            let shapes = [Shape::Circle(number), Shape::Line(0.0, number)];
            for shape in shapes {
                refused(&|| serde_json::to_string(&Finite(&shape)), "");
            }
            refused(&|| serde_json::to_string(&Finite(&Shape::Box { width: number })), "width: ");
            refused(&|| serde_json::to_string(&Finite(&BTreeMap::from([("a", number)]))), "");
        }
    }
}
