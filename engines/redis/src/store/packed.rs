//! A record as a text of Redis: its version in 16 digits, `t` for one that has an end and `-` for one without, the length of its
//! metadata in 8 digits, the metadata as JSON, and the value.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use micro::store::Record;
use micro::{Code, Error, Result};
use serde_json::{Map, Value};

const VERSION: usize = 16;
const FLAG: usize = VERSION + 1;
const HEAD: usize = FLAG + 8;

/// All behind the version, which the server puts before it.
pub(super) fn pack(value: &[u8], metadata: &Map<String, Value>, ends: bool) -> Result<Vec<u8>> {
    let metadata = match metadata.is_empty() {
        true => Vec::new(),
        false => serde_json::to_vec(metadata).map_err(Error::unexpected)?,
    };
    let flag = if ends { 't' } else { '-' };
    let mut packed = format!("{flag}{:08}", metadata.len()).into_bytes();
    packed.reserve_exact(metadata.len() + value.len());
    packed.extend_from_slice(&metadata);
    packed.extend_from_slice(value);
    Ok(packed)
}

/// Whether the record has an end.
pub(super) fn ends(packed: &[u8]) -> bool {
    packed.get(VERSION) == Some(&b't')
}

/// Before what [`pack`] made, so that [`unpack`] can read it.
pub(super) fn with_version(version: u64, rest: &[u8]) -> Bytes {
    let mut packed = BytesMut::with_capacity(VERSION + rest.len());
    packed.put_slice(format!("{version:016}").as_bytes());
    packed.put_slice(rest);
    packed.freeze()
}

/// A record that was packed; of one that is cut off behind its first letter after the version, value and metadata are missing.
///
/// # Errors
/// `DATA_LOSS` for what is none.
pub(super) fn unpack(key: &str, packed: Bytes, left: Option<Duration>) -> Result<Record> {
    read(key, packed, left).ok_or_else(|| {
        let text = format!(
            "the record `{key}` in Redis cannot be read: another program has changed it: delete or write it again"
        );
        Error::new(Code::DataLoss, text)
    })
}

fn read(key: &str, packed: Bytes, left: Option<Duration>) -> Option<Record> {
    let number = |from: usize, to: usize| -> Option<u64> {
        std::str::from_utf8(packed.get(from..to)?).ok()?.parse().ok()
    };
    let version = number(0, VERSION)?;
    let (mut metadata, mut value) = (Map::new(), Bytes::new());
    match packed.get(VERSION)? {
        b't' | b'-' => {}
        _ => return None,
    }
    if packed.len() > FLAG {
        let length = usize::try_from(number(FLAG, HEAD)?).ok()?;
        let text = packed.get(HEAD..HEAD.checked_add(length)?)?;
        if !text.is_empty() {
            metadata = serde_json::from_slice(text).ok()?;
        }
        value = packed.slice(HEAD + length..);
    }
    Some(Record { key: key.to_owned(), value, metadata, version, expires_in: left })
}

/// What `PTTL` answers.
pub(super) fn left(millis: i64) -> Option<Duration> {
    u64::try_from(millis).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_packed() {
        let metadata = Map::from_iter([("a".to_owned(), Value::from("ü"))]);
        for (metadata, value) in [(Map::new(), &b""[..]), (metadata, &[0, 255][..])] {
            let packed =
                with_version(1_700_000_000_000_007, &pack(value, &metadata, true).unwrap());
            assert!(ends(&packed));
            let read = unpack("k", packed.clone(), left(5)).unwrap();
            assert_eq!((read.version, &*read.value), (1_700_000_000_000_007, value));
            assert_eq!((read.metadata, read.expires_in), (metadata, left(5)));
            let short = unpack("k", packed.slice(..FLAG), None).unwrap();
            assert_eq!((short.version, &*short.value), (1_700_000_000_000_007, &b""[..]));
        }
        for broken in
            ["", "1", "000000000000000x-", "0000000000000001?", "0000000000000001-0000000"]
        {
            let error = unpack("k", Bytes::from_static(broken.as_bytes()), None).unwrap_err();
            assert_eq!(error.code(), Code::DataLoss, "{broken}");
        }
        let beyond = "0000000000000001-00000002x";
        assert!(unpack("k", Bytes::from_static(beyond.as_bytes()), None).is_err());
    }
}
