//! A record as a value of etcd: its place in its batch, which is a part of its version, in two bytes; its time to live in eight, in
//! milliseconds, 0 without one; the length of its metadata in four; the metadata as JSON; and the value.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use micro::store::Record;
use micro::{Code, Error, Result};
use serde_json::{Map, Value};

use super::version::version;
use crate::proto::KeyValue;

const PLACE: usize = 2;
const HEAD: usize = PLACE + 8 + 4;

/// A record that was read.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) record: Record,
    /// Of the whole life, where it has an end.
    pub(super) life: Option<Duration>,
    pub(super) lease: i64,
}

pub(super) fn pack(
    place: u16,
    value: &[u8],
    metadata: &Map<String, Value>,
    life: Option<Duration>,
) -> Result<Bytes> {
    let metadata = match metadata.is_empty() {
        true => Vec::new(),
        false => serde_json::to_vec(metadata).map_err(Error::unexpected)?,
    };
    let mut packed = BytesMut::with_capacity(HEAD + metadata.len() + value.len());
    packed.put_u16(place);
    let life = life.map_or(0, |life| u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
    packed.put_u64(life);
    packed.put_u32(u32::try_from(metadata.len()).map_err(Error::unexpected)?);
    packed.put_slice(&metadata);
    packed.put_slice(value);
    Ok(packed.freeze())
}

/// How the values of all records of this place in a batch begin.
pub(super) fn begin(place: u16) -> Bytes {
    Bytes::copy_from_slice(&place.to_be_bytes())
}

/// The version of a record.
pub(super) fn version_of(kv: &KeyValue) -> u64 {
    let place = kv.value.first_chunk::<PLACE>().map_or(0, |place| u16::from_be_bytes(*place));
    version(kv.mod_revision, place)
}

/// # Errors
/// `DATA_LOSS` for what is no record.
pub(super) fn unpack(key: &str, kv: &KeyValue) -> Result<Packed> {
    read(key, kv).ok_or_else(|| {
        let text = format!(
            "the record `{key}` in etcd cannot be read: another program has changed it: delete or write it again"
        );
        Error::new(Code::DataLoss, text)
    })
}

fn read(key: &str, kv: &KeyValue) -> Option<Packed> {
    let mut rest = kv.value.clone();
    if rest.len() < HEAD {
        return None;
    }
    let place = rest.get_u16();
    let life = Some(rest.get_u64()).filter(|life| *life > 0).map(Duration::from_millis);
    let length = usize::try_from(rest.get_u32()).ok()?;
    if rest.len() < length {
        return None;
    }
    let metadata = match rest.split_to(length) {
        text if text.is_empty() => Map::new(),
        text => serde_json::from_slice(&text).ok()?,
    };
    let version = version(kv.mod_revision, place);
    let record = Record { key: key.to_owned(), value: rest, metadata, version, expires_in: None };
    Some(Packed { record, life, lease: kv.lease })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_packed() {
        let metadata = Map::from_iter([("a".to_owned(), Value::from("ü"))]);
        let life = Some(Duration::from_millis(1500));
        for (metadata, value) in [(Map::new(), &b""[..]), (metadata, &[0, 255][..])] {
            let packed = pack(3, value, &metadata, life).unwrap();
            assert!(packed > begin(3) && packed < begin(4));
            let kv = KeyValue { value: packed, mod_revision: 7, lease: 9, ..KeyValue::default() };
            let read = unpack("k", &kv).unwrap();
            assert_eq!((&*read.record.value, &read.record.metadata), (value, &metadata));
            assert_eq!((read.record.version, read.life, read.lease), (version(7, 3), life, 9));
            assert_eq!(version_of(&kv), version(7, 3));
        }
        for broken in [&b""[..], &[0; HEAD - 1], &[1; HEAD]] {
            let kv = KeyValue { value: Bytes::from_static(broken), ..KeyValue::default() };
            assert_eq!(unpack("k", &kv).unwrap_err().code(), Code::DataLoss, "{broken:?}");
        }
    }
}
