//! What each option can be: one table for the builders, the documents and, through them, every language.
//!
//! A value out of its range would make a service that answers no call, or a client that waits for ever, without a word about
//! why. It is refused where it is read, or else at the start, by the same check.

use std::fmt;
use std::time::Duration;

use super::duration::LONGEST;
use crate::error::{Error, Result};
use crate::spelling::quoted;

/// An option, by the name it has in every language, and what it can be.
#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) name: &'static str,
    pub(crate) of: Bounds,
}

/// What it can be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bounds {
    /// A whole number.
    Number(u64, u64),
    /// So many bytes.
    Bytes(u64, u64),
    /// A duration.
    Time(Duration, Duration),
    /// So many bytes of text, without control characters, and without blanks at its ends.
    Text(usize, usize),
    /// Such a text in ASCII, because it travels in a header.
    Header(usize),
}

const fn number(name: &'static str, least: u64, most: u64) -> Range {
    Range { name, of: Bounds::Number(least, most) }
}

const fn bytes(name: &'static str, least: u64, most: u64) -> Range {
    Range { name, of: Bounds::Bytes(least, most) }
}

const fn time(name: &'static str, least: Duration, most: Duration) -> Range {
    Range { name, of: Bounds::Time(least, most) }
}

const fn header(name: &'static str, most: usize) -> Range {
    Range { name, of: Bounds::Header(most) }
}

const fn text(name: &'static str, least: usize, most: usize) -> Range {
    Range { name, of: Bounds::Text(least, most) }
}

/// The shortest time that does something.
const SHORTEST: Duration = Duration::from_millis(1);
/// More of anything is no limit but a mistake.
const MANY: u64 = 1_000_000;
/// A message's length travels in four bytes.
const LARGEST: u64 = u32::MAX as u64;

macro_rules! ranges {
    ($($option:ident = $range:expr;)*) => {
        $(pub(crate) const $option: Range = $range;)*
        /// All of them.
        #[cfg(test)]
        pub(crate) const ALL: &[&Range] = &[$(&$option),*];
    };
}

ranges! {
    VERSION = text("version", 1, 200);
    ID = text("id", 1, 200);
    MAX_CONCURRENT_CALLS = number("max_concurrent_calls", 1, MANY);
    MAX_CONNECTIONS = number("max_connections", 1, MANY);
    CALLS_PER_CONNECTION = number("calls_per_connection", 1, MANY);
    MAX_CONNECTIONS_PER_NODE = number("max_connections_per_node", 1, MANY);
    MAX_CONCURRENT_STREAMS = number("max_concurrent_streams", 1, MANY);
    MAX_MESSAGE_SIZE = bytes("max_message_size", 1, LARGEST);
    // The headers of an ordinary call take about a thousand.
    MAX_HEADER_SIZE = bytes("max_header_size", 4 * 1024, 16 * 1024 * 1024);
    MAX_UNSENT_REPLIES = bytes("max_unsent_replies", 64 * 1024, 1 << 40);
    MAX_BUFFERED = bytes("max_buffered", 64 * 1024, 1 << 40);
    MAX_CACHED = bytes("max_cached", 0, 1 << 40);
    MAX_BUFFERED_PER_CONNECTION = bytes("max_buffered_per_connection", 64 * 1024, 1 << 40);
    PROPAGATION = time("propagation", Duration::ZERO, LONGEST);
    KEEPALIVE = time("keepalive", SHORTEST, LONGEST);
    MAX_CONNECTION_AGE = time("max_connection_age", SHORTEST, LONGEST);
    HANDSHAKE_TIMEOUT = time("handshake_timeout", SHORTEST, LONGEST);
    BODY_TIMEOUT = time("body_timeout", SHORTEST, LONGEST);
    IDLE_TIMEOUT = time("idle_timeout", SHORTEST, LONGEST);
    AT_LEAST = number("at_least", 1, MANY);
    PATIENCE = time("patience", SHORTEST, LONGEST);
    NAME = header("name", 200);
    NAMESPACE = header("namespace", 200);
    DIAL_TIMEOUT = time("dial_timeout", SHORTEST, LONGEST);
    KEEPALIVE_TIMEOUT = time("keepalive_timeout", SHORTEST, LONGEST);
    RETRIES = number("retries", 0, 100);
}

impl Range {
    /// Why this number is refused; nothing when it is in its range.
    pub(super) fn refuses_number(&self, value: u64) -> Option<String> {
        let (Bounds::Number(least, most) | Bounds::Bytes(least, most)) = self.of else {
            return None;
        };
        (!(least..=most).contains(&value)).then(|| self.outside(&Spaced(value)))
    }

    /// The same for a time.
    pub(super) fn refuses_time(&self, value: Duration) -> Option<String> {
        let Bounds::Time(least, most) = self.of else { return None };
        (!(least..=most).contains(&value)).then(|| self.outside(&format_args!("{value:?}")))
    }

    /// The same for a text.
    pub(super) fn refuses_text(&self, value: &str) -> Option<String> {
        let (least, most, ascii) = match self.of {
            Bounds::Text(least, most) => (least, most, false),
            Bounds::Header(most) => (0, most, true),
            _ => return None,
        };
        let fits = (least..=most).contains(&value.len())
            && value.trim() == value
            && !value.contains(char::is_control)
            && (value.is_ascii() || !ascii);
        (!fits).then(|| self.outside(&quoted(value)))
    }

    fn outside(&self, value: &dyn fmt::Display) -> String {
        format!("{value} is out of range: give {self}")
    }

    /// Checks a number that a program has set.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` that names the option, the value and the range.
    pub(crate) fn number(&self, value: impl TryInto<u64>) -> Result<()> {
        self.told(self.refuses_number(value.try_into().unwrap_or(u64::MAX)))
    }

    /// The same for a time.
    ///
    /// # Errors
    /// As [`Self::number`].
    pub(crate) fn time(&self, value: impl Into<Option<Duration>>) -> Result<()> {
        self.told(value.into().and_then(|value| self.refuses_time(value)))
    }

    /// The same for a text.
    ///
    /// # Errors
    /// As [`Self::number`].
    pub(crate) fn text(&self, value: &str) -> Result<()> {
        self.told(self.refuses_text(value))
    }

    fn told(&self, refused: Option<String>) -> Result<()> {
        match refused {
            None => Ok(()),
            Some(why) => Err(Error::invalid_argument(format!("{}: {why}", self.name))),
        }
    }
}

/// Checks an origin of web pages, which browsers send as they are compared here: letter by letter.
///
/// # Errors
/// `INVALID_ARGUMENT` for what no browser sends.
pub(crate) fn origin(value: &str) -> std::result::Result<(), String> {
    let host = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    let host = host.or_else(|| Some(value.split_once("://")?.1));
    let whole = |host: &str| {
        let graphic =
            host.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase());
        !host.is_empty() && graphic && !host.contains(['/', '?', '#', '@'])
    };
    if matches!(value, "*" | "null") || host.is_some_and(whole) {
        return Ok(());
    }
    let value = quoted(value);
    Err(format!(
        "{value} is no origin: give for example \"https://app.example\", in small letters and without a path, or \"*\" for any"
    ))
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Bounds::Number(least, most) => write!(f, "{} to {}", Spaced(least), Spaced(most)),
            Bounds::Bytes(least, most) => write!(f, "{} to {} bytes", Spaced(least), Spaced(most)),
            Bounds::Time(least, most) => {
                let days = most.as_secs() / (24 * 3600);
                let least = if least.is_zero() { "0" } else { "1ms" };
                write!(f, "{least} to {days} days")
            }
            Bounds::Text(least, most) => write!(f, "{least} to {most} bytes of printable text"),
            Bounds::Header(most) => write!(f, "at most {most} printable ASCII characters"),
        }
    }
}

/// A number with a blank between thousands.
struct Spaced(u64);

impl fmt::Display for Spaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.char_indices() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) && digits.len() > 3 {
                f.write_str(" ")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}
