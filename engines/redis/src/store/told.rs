//! Changes as entries of the stream, whose ids are versions.

use std::time::Duration;

use bytes::Bytes;

/// What the server answers: an id, with names and values.
pub(super) type Raw = (String, Vec<Bytes>);

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) version: u64,
    pub(super) what: What,
    /// `database/table/key`
    pub(super) name: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// Versions began again after this one.
    Begin(u64),
    Delete,
    /// All of the record behind its version.
    Write(Bytes),
    /// The record was written, and is to be looked at. It may have a time to live, in milliseconds.
    Look(Option<u64>),
}

impl Told {
    /// None for what no store wrote.
    pub(super) fn read((id, fields): Raw) -> Option<Self> {
        let version = version(&id)?;
        let [kind, name, _, text] = <[Bytes; 4]>::try_from(fields).ok()?;
        let number = || std::str::from_utf8(&text).ok()?.parse().ok();
        let what = match &*kind {
            b"begin" => What::Begin(number()?),
            b"delete" => What::Delete,
            b"write" => What::Write(text),
            b"look" => What::Look(number()),
            _ => return None,
        };
        Some(Self { version, what, name })
    }

    /// How long the record of this change lives, where that has an end.
    pub(super) fn ends_after(&self) -> Option<Duration> {
        match self.what {
            What::Look(Some(ttl)) => Some(Duration::from_millis(ttl)),
            _ => None,
        }
    }

    /// The version before it, of which it is the next.
    pub(super) fn before(&self) -> u64 {
        match self.what {
            What::Begin(before) => before,
            _ => self.version.saturating_sub(1),
        }
    }
}

fn version(id: &str) -> Option<u64> {
    id.strip_suffix("-0")?.parse().ok()
}

/// The id of a version.
pub(super) fn id(version: u64) -> String {
    format!("{version}-0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_what_it_comes_after() {
        let raw = |id: &str, kind: &'static str, text: &'static str| {
            let fields = [kind, "a/b/c", "text", text];
            (id.to_owned(), fields.map(|field| Bytes::from_static(field.as_bytes())).to_vec())
        };
        let told = Told::read(raw("70-0", "begin", "12")).unwrap();
        assert_eq!((told.version, told.before()), (70, 12));
        let told = Told::read(raw("71-0", "look", "5000")).unwrap();
        assert_eq!((told.before(), &told.what), (70, &What::Look(Some(5000))));
        assert_eq!(Told::read(raw("71-0", "look", "")).unwrap().what, What::Look(None));
        for (id, kind) in [("71-1", "delete"), ("x-0", "delete"), ("71-0", "other")] {
            assert_eq!(Told::read(raw(id, kind, "")), None);
        }
    }
}
