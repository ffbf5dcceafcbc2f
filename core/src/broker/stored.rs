//! How a message is written down: its head as protobuf, then its body as it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use prost::Message as _;

use super::Message;
use crate::error::{Code, Error, Result};
use crate::metadata::append;

/// All of a message but topic and body.
#[derive(Clone, PartialEq, prost::Message)]
struct Head {
    #[prost(message, repeated, tag = "1")]
    headers: Vec<Header>,
    #[prost(string, optional, tag = "2")]
    key: Option<String>,
    /// Milliseconds since 1970.
    #[prost(uint64, optional, tag = "3")]
    due: Option<u64>,
    /// Milliseconds since 1970.
    #[prost(uint64, optional, tag = "4")]
    expires: Option<u64>,
    #[prost(string, optional, tag = "5")]
    content_type: Option<String>,
    #[prost(string, optional, tag = "6")]
    id: Option<String>,
    #[prost(uint32, tag = "7")]
    priority: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// A message in two pieces, of which the second is its body.
pub(super) fn write(message: &Message) -> [Bytes; 2] {
    let headers = message.headers.headers().iter().map(|(name, value)| Header {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    });
    let head = Head {
        headers: headers.collect(),
        key: message.key.clone(),
        due: message.due.map(millis),
        expires: message.expires.map(millis),
        content_type: message.content_type.clone(),
        id: message.id.clone(),
        priority: message.priority.into(),
    };
    [head.encode_length_delimited_to_vec().into(), message.body.clone()]
}

/// The message that [`write`] wrote for `topic`.
pub(super) fn read(topic: &str, mut bytes: Bytes) -> Result<Message> {
    let lost = |_| Error::new(Code::DataLoss, format!("a message of {topic} cannot be read"));
    let length = prost::decode_length_delimiter(&mut bytes).map_err(lost)?;
    if length > bytes.remaining() {
        return Err(Error::new(Code::DataLoss, format!("a message of {topic} is cut short")));
    }
    let head = Head::decode(bytes.split_to(length)).map_err(lost)?;
    let mut message = Message::new(topic, bytes);
    let mut headers = HeaderMap::new();
    for Header { name, value } in head.headers {
        let lost = || Error::new(Code::DataLoss, format!("a header of {topic} cannot be read"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| lost())?;
        let value = HeaderValue::from_bytes(&value).map_err(|_| lost())?;
        append(&mut headers, name, value)?;
    }
    message.headers = headers.into();
    message.content_type = head.content_type;
    message.key = head.key;
    message.due = head.due.and_then(time);
    message.expires = head.expires.and_then(time);
    message.id = head.id;
    message.priority = head.priority.min(9) as u8;
    Ok(message)
}

/// The key of a message that [`write`] wrote, and when it is of no use any more, in milliseconds since 1970.
pub(super) fn terms(mut bytes: &[u8]) -> Result<(Option<String>, Option<u64>)> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Terms {
        #[prost(string, optional, tag = "2")]
        key: Option<String>,
        #[prost(uint64, optional, tag = "4")]
        expires: Option<u64>,
    }
    let lost = || Error::new(Code::DataLoss, "the terms of a message cannot be read");
    let length = prost::decode_length_delimiter(&mut bytes).map_err(|_| lost())?;
    let Terms { key, expires } =
        Terms::decode(bytes.get(..length).ok_or_else(lost)?).map_err(|_| lost())?;
    Ok((key, expires))
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// The time of milliseconds since 1970.
pub(super) fn time(millis: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_as_it_was_written() {
        let mut message = Message::new("orders", &b"\x00\xff body"[..]);
        message.content_type = Some("application/json".into());
        message.headers.append("tags", "a").unwrap();
        message.headers.append("tags", "b").unwrap();
        message.key = Some("7".into());
        message.due = time(1_700_000_000_123);
        message.expires = time(1_800_000_000_456);
        message.id = Some("order 7".into());
        message.priority = 9;
        let bytes = write(&message).concat();
        assert_eq!(terms(&bytes), Ok((message.key.clone(), message.expires.map(millis))));
        assert_eq!(read("orders", bytes.clone().into()), Ok(message));
        for cut in 0..4 {
            let error = read("orders", bytes[..cut].to_vec().into()).unwrap_err();
            assert_eq!(error.code(), Code::DataLoss, "cut at {cut}: {error}");
            assert_eq!(terms(&bytes[..cut]).unwrap_err().code(), Code::DataLoss, "cut at {cut}");
        }
        // As it was written before messages had ids and priorities.
        let mut keyed = Message::new("a", "x");
        keyed.key = Some("k".into());
        assert_eq!(read("a", Bytes::from_static(b"\x03\x12\x01kx")), Ok(keyed));
        assert_eq!(
            read("a", write(&Message::new("a", "")).concat().into()),
            Ok(Message::new("a", ""))
        );
    }
}
