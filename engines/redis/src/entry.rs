//! A message as an entry of a stream: the field `body`, and a field for each of the rest.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use micro::broker::Message;
use micro::{Error, Result};

/// Fields that are no headers.
const BODY: &str = "body";
const CONTENT_TYPE: &str = "content-type";
const DUE: &str = "due";
const EXPIRES: &str = "expires";
const ID: &str = "id";
const NAMES: [&str; 5] = [BODY, CONTENT_TYPE, DUE, EXPIRES, ID];
/// Before the name of a header that would be taken for something else.
const ESCAPE: &str = "header:";
/// Fields of an entry: a script has room for no more.
const MOST: usize = 3000;
/// Bits of a sequence that tell entries of one millisecond apart.
const BITS: u32 = 20;

/// What the server answers: an entry, or one that is not there any more.
pub(crate) type Raw = (String, Option<Vec<Vec<u8>>>);

/// Names and values, one after the other.
///
/// # Errors
/// `INVALID_ARGUMENT` for more headers than fit.
pub(crate) fn write(message: &Message) -> Result<Vec<Vec<u8>>> {
    let mut fields = vec![BODY.into(), message.body.to_vec()];
    let mut put = |name: &str, value: &str| {
        fields.push(name.into());
        fields.push(value.into());
    };
    if let Some(content_type) = &message.content_type {
        put(CONTENT_TYPE, content_type);
    }
    for (name, time) in [(DUE, message.due), (EXPIRES, message.expires)] {
        if let Some(time) = time {
            put(name, &millis(time).to_string());
        }
    }
    if let Some(id) = &message.id {
        put(ID, id);
    }
    for (name, value) in message.headers.iter() {
        match NAMES.contains(&name) || name.starts_with(ESCAPE) {
            true => put(&format!("{ESCAPE}{name}"), value),
            false => put(name, value),
        }
    }
    match fields.len() <= MOST {
        true => Ok(fields),
        false => Err(Error::invalid_argument(format!(
            "a message to {} has too many headers: at most {} go over Redis",
            message.topic,
            MOST / 2 - NAMES.len()
        ))),
    }
}

/// The message of `topic` that [`write`] or any other client wrote. What is neither text nor a header is left out.
pub(crate) fn read(topic: &str, fields: Vec<Vec<u8>>) -> Message {
    let mut message = Message::new(topic, "");
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let Ok(name) = String::from_utf8(name) else { continue };
        if name == BODY {
            message.body = value.into();
            continue;
        }
        let Ok(value) = String::from_utf8(value) else { continue };
        match name.as_str() {
            CONTENT_TYPE => message.content_type = Some(value),
            DUE => message.due = value.parse().ok().and_then(time),
            EXPIRES => message.expires = value.parse().ok().and_then(time),
            ID => message.id = Some(value),
            name => {
                let _ = message.headers.append(name.strip_prefix(ESCAPE).unwrap_or(name), &value);
            }
        }
    }
    message
}

/// Whether it is of no use any more.
pub(crate) fn is_over(message: &Message) -> bool {
    message.expires.is_some_and(|expires| expires <= SystemTime::now())
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

fn time(millis: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

/// When the entry of this id, such as `1700000000123-0`, was added.
pub(crate) fn published(id: &str) -> SystemTime {
    parts(id).and_then(|(millis, _)| time(millis)).unwrap_or(UNIX_EPOCH)
}

fn parts(id: &str) -> Option<(u64, u64)> {
    let (millis, number) = id.split_once('-')?;
    Some((millis.parse().ok()?, number.parse().ok()?))
}

/// The id as a number that grows as ids do; `None` for those that some client chose so that they do not fit.
pub(crate) fn sequence(id: &str) -> Option<u64> {
    let (millis, number) = parts(id)?;
    let fits = millis < 1 << (u64::BITS - BITS) && number < 1 << BITS;
    fits.then_some((millis << BITS) | number)
}

/// The id before that of a sequence, so that what comes after it begins there.
pub(crate) fn before_sequence(sequence: u64) -> String {
    let (millis, number) = (sequence >> BITS, sequence & ((1 << BITS) - 1));
    match number {
        0 => before_millis(millis),
        number => format!("{millis}-{}", number - 1),
    }
}

/// The last id before this time.
pub(crate) fn before_millis(millis: u64) -> String {
    match millis {
        0 => "0-0".into(),
        millis => format!("{}-{}", millis - 1, u64::MAX),
    }
}

/// A message that is held back, for the set of those: something of its own, then each piece behind its length.
pub(crate) fn pack(own: u128, stream: &str, fields: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = own.to_be_bytes().to_vec();
    for piece in std::iter::once(stream.as_bytes()).chain(fields.iter().map(Vec::as_slice)) {
        // Redis takes no more than 512 MiB.
        packed.extend_from_slice(&u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes());
        packed.extend_from_slice(piece);
    }
    packed
}

/// Members of the answer of `XINFO`, by name.
pub(crate) fn members(answer: Vec<redis::Value>) -> HashMap<String, redis::Value> {
    let mut members = HashMap::new();
    let mut answer = answer.into_iter();
    while let (Some(name), Some(value)) = (answer.next(), answer.next()) {
        if let Ok(name) = redis::from_redis_value(name) {
            members.insert(name, value);
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_as_it_was_written() {
        let mut message = Message::new("orders", vec![0, 255, 13, 10]);
        for (name, value) in
            [("tags", "a"), ("tags", "b"), ("body", "no"), ("id", "no"), ("due", "1"), ("x", "")]
        {
            message.headers.append(name, value).unwrap();
        }
        message.content_type = Some("text/plain".into());
        message.id = Some("7 ü".into());
        message.due = time(1_700_000_000_123);
        message.expires = time(1_800_000_000_456);
        let fields = write(&message).unwrap();
        assert_eq!(read("orders", fields), message);
        let mut many = Message::new("orders", "");
        for number in 0..1500 {
            many.headers.append(&format!("h{number}"), "1").unwrap();
        }
        assert!(write(&many).unwrap_err().detail().contains("too many headers"));
    }

    #[test]
    fn what_other_clients_write_is_read_as_far_as_it_can_be() {
        let fields = ["body", "7", "tenant", "blue", "connection", "no header", "odd"];
        let mut fields: Vec<Vec<u8>> =
            fields.iter().map(|field| field.as_bytes().to_vec()).collect();
        fields.push(vec![255]);
        let message = read("orders", fields);
        assert_eq!(message.body, "7");
        assert_eq!(message.headers.iter().collect::<Vec<_>>(), [("tenant", "blue")]);
        assert_eq!(read("orders", Vec::new()), Message::new("orders", ""));
    }

    #[test]
    fn ids_are_numbers_that_grow_and_come_back() {
        let ids = ["1-0", "1-1", "1-1048575", "2-0", "1700000000123-0", "1700000000123-7"];
        let numbers: Vec<u64> = ids.iter().map(|id| sequence(id).unwrap()).collect();
        assert!(numbers.is_sorted());
        assert_eq!(before_sequence(numbers[1]), "1-0");
        assert_eq!(before_sequence(numbers[0]), "0-18446744073709551615");
        assert_eq!(before_sequence(0), "0-0");
        assert_eq!(before_millis(5), "4-18446744073709551615");
        for odd in ["1-1048576", "18446744073709551615-0", "1", "a-b"] {
            assert_eq!(sequence(odd), None, "{odd}");
        }
        assert_eq!(published("1700000000123-7"), time(1_700_000_000_123).unwrap());
    }

    #[test]
    fn what_is_held_back_is_packed_piece_by_piece() {
        let packed = pack(1, "ab", &[b"body".to_vec(), Vec::new()]);
        assert_eq!(packed[16..], *b"\0\0\0\x02ab\0\0\0\x04body\0\0\0\0");
    }
}
