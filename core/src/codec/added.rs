//! Codecs that a program adds to the table of content types.
//!
//! The table is one of the process, because a content type means the same in all of it. It only grows, and is read without a
//! lock.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::OnceLock;

use bytes::BytesMut;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _};

use crate::error::{Error, Result};
use crate::fork::hold;
use crate::spelling::quoted;

/// Codecs that a process may add.
const MAX: usize = 12;
/// Longest name of one, in bytes.
const MAX_NAME: usize = 32;
/// Names that mean something already.
const TAKEN: [&str; 6] = ["proto", "protobuf", "json", "bytes", "text", "octet-stream"];
/// Beginnings of the names of protocols.
const PROTOCOLS: [&str; 2] = ["grpc", "connect"];

/// Whatever went wrong, in the words of what it went wrong in.
pub type FormatError = Box<dyn std::error::Error + Send + Sync>;

/// A format for values of serde, such as MessagePack or CBOR: what [`provide`](super::provide) adds to the table.
///
/// ```
/// use bytes::{BufMut as _, BytesMut};
/// use micro::codec::{Format, FormatError};
/// use serde::Serialize;
/// use serde::de::DeserializeSeed;
///
/// struct MessagePack;
///
/// impl Format for MessagePack {
///     fn write<T>(&self, value: &T, buffer: &mut BytesMut) -> Result<(), FormatError>
///     where
///         T: Serialize + ?Sized,
///     {
///         let mut writer = rmp_serde::Serializer::new(buffer.writer()).with_struct_map();
///         Ok(value.serialize(&mut writer)?)
///     }
///
///     fn read<'de, S>(&self, bytes: &'de [u8], seed: S) -> Result<S::Value, FormatError>
///     where
///         S: DeserializeSeed<'de>,
///     {
///         Ok(seed.deserialize(&mut rmp_serde::Deserializer::from_read_ref(bytes))?)
///     }
/// }
///
/// let msgpack = micro::codec::provide("msgpack", MessagePack)?;
/// assert_eq!(msgpack.grpc_content_type(), "application/grpc+msgpack");
/// # Ok::<(), micro::Error>(())
/// ```
pub trait Format: Send + Sync + 'static {
    /// Appends `value` to `buffer`.
    ///
    /// # Errors
    /// What the format has no way to say.
    fn write<T>(&self, value: &T, buffer: &mut BytesMut) -> Result<(), FormatError>
    where
        T: Serialize + ?Sized;

    /// Reads all of `bytes` as the one value that `seed` knows how to read.
    ///
    /// # Errors
    /// Why they are no such value. The text is told to the sender.
    fn read<'de, S>(&self, bytes: &'de [u8], seed: S) -> Result<S::Value, FormatError>
    where
        S: DeserializeSeed<'de>;
}

/// A codec that the program has added: see [`provide`](super::provide) and [`declare`](super::declare).
#[derive(Clone, Copy)]
pub struct Added(&'static Slot);

impl Added {
    /// Place in the table, below 12: the same for as long as the process runs.
    pub fn number(self) -> u8 {
        self.0.number
    }

    /// The one at a place of the table.
    pub fn numbered(number: u8) -> Option<Self> {
        TABLE.get(usize::from(number))?.get().map(Self)
    }

    /// The one of a subtype, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut known = TABLE.iter().map_while(OnceLock::get);
        known.find(|slot| slot.name().eq_ignore_ascii_case(name)).map(Self)
    }

    pub(super) fn name(self) -> &'static str {
        self.0.name()
    }

    /// What it is called in each protocol.
    pub(crate) fn content_types(self) -> &'static ContentTypes {
        &self.0.types
    }

    /// Appends a value; `None` without a format.
    pub(super) fn write(
        self,
        value: &dyn erased_serde::Serialize,
        buffer: &mut BytesMut,
    ) -> Option<Result<(), FormatError>> {
        Some(self.0.format.get()?.write(value, buffer))
    }

    /// Reads what `seed` knows how to read; `None` without a format.
    pub(super) fn read<'de, S: DeserializeSeed<'de>>(
        self,
        bytes: &'de [u8],
        seed: S,
    ) -> Option<Result<S::Value, FormatError>> {
        let (mut seed, mut value) = (Some(seed), None);
        let read = self.0.format.get()?.read(bytes, &mut |deserializer| {
            let seed = seed.take().ok_or_else(|| erased_serde::Error::custom("read twice"))?;
            value = Some(seed.deserialize(deserializer)?);
            Ok(())
        });
        Some(read.and_then(|()| value.ok_or_else(|| "the format read nothing".into())))
    }

    /// The codec of a name, with a format.
    ///
    /// # Errors
    /// As [`provide`](super::provide).
    pub(super) fn provide(name: &str, format: impl Format) -> Result<Self> {
        let added = Self::declare(name)?;
        added.0.format.set(Box::new(format)).map_err(|_| {
            let name = quoted(name);
            Error::already_exists(format!("the codec {name} has a format: choose another name"))
        })?;
        Ok(added)
    }

    /// The codec of a name, added unless it is there.
    ///
    /// # Errors
    /// As [`declare`](super::declare).
    pub(super) fn declare(name: &str) -> Result<Self> {
        entry(&TABLE, name)
    }
}

impl fmt::Debug for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Added {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}

impl Eq for Added {}

impl Hash for Added {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number().hash(state);
    }
}

/// One codec of the table.
struct Slot {
    number: u8,
    types: ContentTypes,
    format: OnceLock<Box<dyn Erased>>,
}

/// The content types of a codec.
pub(crate) struct ContentTypes {
    pub(crate) grpc: Box<str>,
    pub(crate) web: Box<str>,
    pub(crate) web_text: Box<str>,
    pub(crate) connect: Box<str>,
    pub(crate) connect_stream: Box<str>,
}

const GRPC: &str = "application/grpc+";

impl Slot {
    fn new(number: u8, name: &str) -> Self {
        let types = ContentTypes {
            grpc: format!("{GRPC}{name}").into(),
            web: format!("application/grpc-web+{name}").into(),
            web_text: format!("application/grpc-web-text+{name}").into(),
            connect: format!("application/{name}").into(),
            connect_stream: format!("application/connect+{name}").into(),
        };
        Self { number, types, format: OnceLock::new() }
    }

    fn name(&self) -> &str {
        &self.types.grpc[GRPC.len()..]
    }
}

static TABLE: [OnceLock<Slot>; MAX] = [const { OnceLock::new() }; MAX];

/// The codec of a name in `table`, added unless it is there.
fn entry(table: &'static [OnceLock<Slot>], name: &str) -> Result<Added> {
    if !is_name(name) {
        return Err(Error::invalid_argument(format!(
            "codec {}: use up to {MAX_NAME} lowercase letters, digits, `.`, `_` and `-`, beginning with a letter, and none of \
             {}, nor what begins with {}: for example `msgpack`",
            quoted(name),
            TAKEN.join(", "),
            PROTOCOLS.join(" or ")
        )));
    }
    // A child of a fork finds every entry made or not there.
    let _making = hold();
    for (number, slot) in (0_u8..).zip(table) {
        let slot = slot.get_or_init(|| Slot::new(number, name));
        if slot.name() == name {
            return Ok(Added(slot));
        }
    }
    Err(Error::new(
        crate::Code::ResourceExhausted,
        format!("codec {}: a process may add {}, and has", quoted(name), table.len()),
    ))
}

fn is_name(name: &str) -> bool {
    let others = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(others)
        && !TAKEN.contains(&name)
        && !PROTOCOLS.iter().any(|protocol| name.starts_with(protocol))
}

/// Reads with the deserializer it is given.
type Read<'a, 'de> =
    &'a mut dyn FnMut(&mut dyn erased_serde::Deserializer<'de>) -> Result<(), erased_serde::Error>;

/// A [`Format`] as an object.
trait Erased: Send + Sync {
    fn write(
        &self,
        value: &dyn erased_serde::Serialize,
        buffer: &mut BytesMut,
    ) -> Result<(), FormatError>;

    fn read<'de>(&self, bytes: &'de [u8], read: Read<'_, 'de>) -> Result<(), FormatError>;
}

impl<F: Format> Erased for F {
    fn write(
        &self,
        value: &dyn erased_serde::Serialize,
        buffer: &mut BytesMut,
    ) -> Result<(), FormatError> {
        Format::write(self, value, buffer)
    }

    fn read<'de>(&self, bytes: &'de [u8], read: Read<'_, 'de>) -> Result<(), FormatError> {
        Format::read(self, bytes, Reading(read))
    }
}

/// What hands a deserializer on as an object.
struct Reading<'a, 'de>(Read<'a, 'de>);

impl<'de> DeserializeSeed<'de> for Reading<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let mut erased = <dyn erased_serde::Deserializer<'de>>::erase(deserializer);
        (self.0)(&mut erased).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn names_that_mean_something_else_are_refused_and_the_table_has_an_end() {
        static SMALL: [OnceLock<Slot>; 2] = [const { OnceLock::new() }; 2];
        let long = "x".repeat(MAX_NAME + 1);
        for name in
            ["", "Upper", "1st", "a b", "a+b", "json", "proto", "grpc-web", "connect", &long]
        {
            let error = entry(&SMALL, name).expect_err(name);
            assert_eq!(error.code(), Code::InvalidArgument, "{name}: {error}");
            assert!(error.detail().contains("for example `msgpack`"), "{error}");
        }
        assert_eq!(
            [entry(&SMALL, "a"), entry(&SMALL, "b")].map(|e| e.map(Added::number)),
            [Ok(0), Ok(1)]
        );
        assert_eq!(entry(&SMALL, "a").map(Added::number), Ok(0));
        let error = entry(&SMALL, "c").expect_err("it is full");
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert!(error.detail().contains("may add 2"), "{error}");
    }
}
