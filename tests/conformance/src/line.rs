//! One line of the conversation between runner and adapter.
//!
//! A verb and fields, separated by single spaces; names and values are percent-encoded, so a space, an
//! `=` or a line break in them is never one of the line's own. A field may come several times.

use std::fmt;

/// A request to an adapter, or one of its answers.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Line {
    /// What is asked or told.
    pub verb: String,
    fields: Vec<(String, Vec<u8>)>,
}

/// Why a text is no line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl Line {
    /// A line without fields.
    pub fn new(verb: &str) -> Self {
        Self { verb: verb.to_owned(), fields: Vec::new() }
    }

    /// Adds a field after those that are there.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.fields.push((name.to_owned(), value.to_string().into_bytes()));
        self
    }

    /// As [`Line::with`], for bytes.
    #[must_use]
    pub fn with_bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.fields.push((name.to_owned(), value.to_vec()));
        self
    }

    /// Adds the fields of `other` after those that are there.
    #[must_use]
    pub fn followed(mut self, other: Self) -> Self {
        self.fields.extend(other.fields);
        self
    }

    /// First value under `name`, as text.
    pub fn get(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes(name)?).ok()
    }

    /// First value under `name`.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..])
    }

    /// First value under `name`, as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Fields whose name begins with `prefix`, without it, in order.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, String)> {
        self.fields.iter().filter_map(move |(name, value)| {
            Some((name.strip_prefix(prefix)?, String::from_utf8_lossy(value).into_owned()))
        })
    }

    /// Reads a line without its line break.
    ///
    /// # Errors
    /// When it has no verb, a field without `=`, or a `%` that is not followed by two hex digits.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut words = text.trim_end_matches(['\r', '\n']).split(' ');
        let verb = words.next().unwrap_or_default();
        if verb.is_empty() {
            return Err(Unreadable("a line begins with its verb".into()));
        }
        let mut line = Self::new(verb);
        for word in words.filter(|word| !word.is_empty()) {
            let (name, value) =
                word.split_once('=').ok_or_else(|| Unreadable(format!("`{word}` has no `=`")))?;
            let name = String::from_utf8(unescape(name)?)
                .map_err(|_| Unreadable(format!("the name `{name}` is no text")))?;
            line.fields.push((name, unescape(value)?));
        }
        Ok(line)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.verb)?;
        for (name, value) in &self.fields {
            write!(f, " {}={}", escape(name.as_bytes()), escape(value))?;
        }
        Ok(())
    }
}

/// Percent-encodes all but ASCII letters, digits and `-._~`.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Undoes [`escape`]; bytes that need no escape may stand for themselves.
///
/// # Errors
/// When a `%` is not followed by two hex digits.
pub fn unescape(text: &str) -> Result<Vec<u8>, Unreadable> {
    let broken = || Unreadable(format!("`{text}` has a % without two hex digits"));
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
            _ => return Err(broken()),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back_from_a_line() {
        let every: Vec<u8> = (0..=255).collect();
        let line = Line::new("call").with("id", 7).with("a b", "x=y").with_bytes("payload", &every);
        let text = line.to_string();
        assert!(!text.contains('\n') && text.matches(' ').count() == 3, "{text}");
        assert_eq!(Line::parse(&format!("{text}\n")), Ok(line));
    }

    #[test]
    fn fields_are_found_by_name_and_by_prefix() {
        let line = Line::parse("result id=3 h.a=1 h.a=2 h.b=%20").unwrap();
        assert_eq!(line.number("id"), Some(3));
        let under: Vec<_> = line.under("h.").collect();
        let owned = |text: &str| text.to_owned();
        assert_eq!(under, [("a", owned("1")), ("a", owned("2")), ("b", owned(" "))]);
        assert_eq!(line.get("nothing"), None);
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for text in ["", " a=1", "verb word", "verb a=%4", "verb a=%zz"] {
            assert!(Line::parse(text).is_err(), "{text:?}");
        }
    }
}
