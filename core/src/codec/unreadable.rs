//! Messages that cannot be read: which type was expected, and where it went wrong.

use std::fmt::Display;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed};

use super::fitting::Fitting;
use super::schema::short_name;
use crate::error::{Error, Result};

/// Most that is told of a cause: it may repeat what was sent.
const MAX_CAUSE: usize = 512;

/// The error of bytes that are no `T`, in go-micro's words.
pub(super) fn undecodable<T>(cause: impl Display) -> Error {
    undecodable_as(short_name(std::any::type_name::<T>()), cause)
}

/// The same of a type that is called `name`.
pub(super) fn undecodable_as(name: &str, cause: impl Display) -> Error {
    let mut cause = cause.to_string();
    if cause.len() > MAX_CAUSE {
        let end = (0..=MAX_CAUSE).rev().find(|end| cause.is_char_boundary(*end));
        cause.truncate(end.unwrap_or_default());
        cause.push('…');
    }
    Error::invalid_argument(format!(
        "grpc: failed to unmarshal the received message as {name}: {cause}"
    ))
}

/// A value of JSON.
///
/// # Errors
/// `INVALID_ARGUMENT` with the path of the field and what was expected there.
pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    from_json_by::<T, _>(|| Fitting(PhantomData::<T>), bytes)
}

/// As [`from_json`], for what `seed` knows how to read. `T` is what it is called.
pub(super) fn from_json_by<'a, T, S>(seed: impl Fn() -> S, bytes: &'a [u8]) -> Result<S::Value>
where
    S: DeserializeSeed<'a>,
{
    read_by(seed, utf8::<T>(bytes)?).map_err(undecodable::<T>)
}

/// The same of text, with what is wrong with it.
pub(super) fn read_by<'a, S: DeserializeSeed<'a>>(
    seed: impl Fn() -> S,
    text: &'a str,
) -> Result<S::Value, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = seed().deserialize(&mut deserializer);
    let read = read.and_then(|value| deserializer.end().map(|()| value));
    read.or_else(|_| seeded(text, seed()))
}

fn utf8<T>(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| undecodable::<T>(format!("it is no UTF-8: {error}")))
}

/// Reads once more what could not be read, and keeps the path this time.
#[cold]
fn seeded<'a, S: DeserializeSeed<'a>>(text: &'a str, seed: S) -> Result<S::Value, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    match seed.deserialize(tracked) {
        Ok(value) => match deserializer.end() {
            Ok(()) => Ok(value),
            Err(error) => Err(error.to_string()),
        },
        Err(error) => Err(match track.path().to_string().as_str() {
            "." => error.to_string(),
            path => format!("field `{path}`: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cause_repeats_is_cut_between_characters() {
        let error = undecodable::<String>("é".repeat(100_000));
        assert!(error.detail().len() < MAX_CAUSE + 100 && error.detail().ends_with('…'));
    }
}
