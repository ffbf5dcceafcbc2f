//! A message as the server keeps it: its body as it is, the rest as headers.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use micro::broker::Message;

use crate::subject::published;

const CONTENT_TYPE: &str = "Content-Type";
const EXPECTED: &str = "Nats-Expected-Stream";
const ID: &str = "Nats-Msg-Id";
/// Milliseconds since 1970.
const EXPIRES: &str = "Micro-Expires";
/// Before the name of a header that would mean something else here.
const ESCAPE: &str = "micro-header-";
/// Begins the names that the server gives a meaning.
const OF_SERVER: &str = "nats-";

/// The headers of a message, for the stream of this name and none other. `once` is an id that holds for the whole stream, in place of
/// that of the message, which holds for its subject.
pub(super) fn write(
    message: &Message,
    stream: &str,
    subject: &str,
    once: Option<&str>,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str| {
        if let Ok(value) = value.parse::<HeaderValue>() {
            headers.append(name, value);
        }
    };
    for (name, value) in message.headers.iter() {
        match is_taken(name) {
            true => put(&format!("{ESCAPE}{name}"), value),
            false => put(name, value),
        }
    }
    put(EXPECTED, stream);
    match (once, &message.id) {
        (Some(once), _) => put(ID, once),
        (None, Some(id)) => put(ID, &format!("{subject}/{}", published(id))),
        (None, None) => {}
    }
    if let Some(content_type) = &message.content_type {
        put(CONTENT_TYPE, content_type);
    }
    if let Some(expires) = message.expires {
        let since = expires.duration_since(UNIX_EPOCH).unwrap_or_default();
        put(EXPIRES, &since.as_millis().to_string());
    }
    headers
}

/// Whether a header of this name in lower case, of a message, would be taken for something else.
fn is_taken(name: &str) -> bool {
    name.starts_with(OF_SERVER)
        || name.starts_with(ESCAPE)
        || name.eq_ignore_ascii_case(CONTENT_TYPE)
        || name.eq_ignore_ascii_case(EXPIRES)
}

/// The message of `topic` that [`write`] or any other client wrote to `subject`. A header that a message cannot have is left out.
pub(super) fn read(
    topic: &str,
    subject: &str,
    headers: Option<&HeaderMap>,
    body: Bytes,
) -> Message {
    let mut message = Message::new(topic, body);
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        let name = AsRef::<str>::as_ref(name).to_ascii_lowercase();
        for value in values {
            let value = value.as_str();
            if name.eq_ignore_ascii_case(CONTENT_TYPE) {
                message.content_type = Some(value.to_owned());
            } else if name.eq_ignore_ascii_case(EXPIRES) {
                let millis = value.parse().ok().map(Duration::from_millis);
                message.expires = millis.and_then(|since| UNIX_EPOCH.checked_add(since));
            } else if name.eq_ignore_ascii_case(ID) {
                let own = value.strip_prefix(subject).and_then(|rest| rest.strip_prefix('/'));
                let id = own.map_or(Some(value.into()), crate::subject::topic);
                message.id = id.map(Cow::into_owned);
            } else if !name.starts_with(OF_SERVER) {
                let name = name.strip_prefix(ESCAPE).unwrap_or(&name);
                let _ = message.headers.append(name, value);
            }
        }
    }
    message
}

/// Whether it is of no use any more.
pub(super) fn is_over(message: &Message) -> bool {
    message.expires.is_some_and(|expires| expires <= SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_as_it_was_written_and_means_nothing_to_the_server() {
        let mut message = Message::new("orders", "7");
        for (name, value) in [
            ("tags", "a"),
            ("tags", "b, c"),
            ("nats-rollup", "all"),
            ("nats-msg-id", "1"),
            ("micro-expires", "1"),
            ("micro-header-x", "1"),
            ("micro-header-nats-ttl", "1s"),
        ] {
            message.headers.append(name, value).unwrap();
        }
        message.content_type = Some("text/plain".into());
        message.expires = Some(UNIX_EPOCH + Duration::from_millis(1_800_000_000_123));
        message.id = Some(" a/ü.".into());
        let written = write(&message, "micro", "m.orders", None);
        for (name, _) in written.iter() {
            let name = AsRef::<str>::as_ref(name).to_ascii_lowercase();
            assert!(
                !name.starts_with("nats-")
                    || ["nats-expected-stream", "nats-msg-id"].contains(&&*name),
                "{name}"
            );
        }
        assert_eq!(read("orders", "m.orders", Some(&written), "7".into()), message);
        let once = write(&message, "micro", "m.orders", Some("dead:1"));
        assert_eq!(once.get(ID).map(HeaderValue::as_str), Some("dead:1"));
    }

    #[test]
    fn what_other_clients_write_is_read_as_far_as_it_can_be() {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", "7");
        headers.insert("content-type", "application/json");
        headers.insert("Tenant", "blue");
        headers.insert("Connection", "close");
        let message = read("orders", "orders", Some(&headers), "{}".into());
        assert_eq!(message.id.as_deref(), Some("7"));
        assert_eq!(message.content_type.as_deref(), Some("application/json"));
        assert_eq!(message.headers.iter().collect::<Vec<_>>(), [("tenant", "blue")]);
        assert_eq!(read("orders", "orders", None, "7".into()), Message::new("orders", "7"));
    }
}
