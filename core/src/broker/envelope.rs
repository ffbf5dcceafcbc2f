//! A message as go-micro's brokers carry it: JSON with its headers and its body in base64 (wire reference 6.1). Its HTTP and its
//! NATS broker do, and so does every broker of one's own that is to be understood by programs with go-micro.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::Message;
use crate::error::{Error, Result};
use crate::metadata::Metadata;

const CONTENT_TYPE: &str = "Content-Type";
const TOPIC: &str = "Micro-Topic";

#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    // Go reads keys whatever their case.
    #[serde(rename = "Header", alias = "header")]
    header: Option<BTreeMap<String, String>>,
    #[serde(rename = "Body", alias = "body")]
    body: Option<String>,
}

/// The message as it is sent, with its topic as the header `Micro-Topic`. Of a header that is there twice, Go has room for one:
/// both values, with a comma in between. Terms, such as a key, are not carried.
pub fn write(message: &Message) -> Bytes {
    let (header, body) = (Some(header(message)), Some(STANDARD.encode(&message.body)));
    // Maps of text and text do not fail.
    serde_json::to_vec(&Envelope { header, body }).unwrap_or_default().into()
}

/// Its headers as go-micro has them, its topic and its content type among them.
pub(super) fn header(message: &Message) -> BTreeMap<String, String> {
    let mut header = BTreeMap::new();
    for name in message.headers.headers().keys() {
        let values = message.headers.headers().get_all(name);
        let values: Vec<_> = values.iter().filter_map(|value| value.to_str().ok()).collect();
        header.insert(canonical(name.as_str()), values.join(", "));
    }
    if let Some(content_type) = &message.content_type {
        header.insert(CONTENT_TYPE.to_owned(), content_type.clone());
    }
    header.insert(TOPIC.to_owned(), message.topic.clone());
    header
}

/// The message that [`write()`] or a program with go-micro wrote. Its topic is `topic`, as a broker knows it, or else what its header
/// `Micro-Topic` says.
///
/// # Errors
/// `INTERNAL`, in go-micro's words, as its subscribers answer: for what is no such message, and for one without a topic.
pub fn read(bytes: &[u8], topic: Option<&str>) -> Result<Message> {
    let wrong = |why: String| {
        Error::from_http("go.micro.broker", format!("Error parsing request body: {why}"), 500)
    };
    let envelope: Envelope =
        serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    let body = STANDARD.decode(envelope.body.unwrap_or_default());
    let body = body.map_err(|error| wrong(error.to_string()))?;
    message(topic, envelope.header.unwrap_or_default(), body.into())
}

/// The message that go-micro has with this header, as [`read`] reads it.
pub(super) fn message(
    topic: Option<&str>,
    mut header: BTreeMap<String, String>,
    body: Bytes,
) -> Result<Message> {
    let said = header.remove(TOPIC).filter(|topic| !topic.is_empty());
    let topic = topic.map(str::to_owned).or(said);
    let topic = topic.ok_or_else(|| Error::from_http("go.micro.broker", "Topic not found", 500))?;
    let mut message = Message::new(topic, body);
    message.content_type = header.remove(CONTENT_TYPE);
    let mut headers = HeaderMap::new();
    for (name, value) in header {
        // What no header can be is none of ours either.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value))
        {
            crate::metadata::append(&mut headers, name, value)?;
        }
    }
    message.headers = Metadata::from(headers);
    Ok(message)
}

/// A name as Go writes it: `Micro-From-Service`.
fn canonical(name: &str) -> String {
    let mut is_first = true;
    let letters = name.chars().map(|letter| {
        let written = if is_first { letter.to_ascii_uppercase() } else { letter };
        is_first = letter == '-';
        written
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_as_go_micro_writes_it_and_read_in_any_case() {
        let mut message = Message::new("greetings", "hi");
        message.headers.append("a", "b").unwrap();
        message.headers.append("micro-id", "1").unwrap();
        message.content_type = Some("application/json".into());
        let written = r#"{"Header":{"A":"b","Content-Type":"application/json","Micro-Id":"1","Micro-Topic":"greetings"},"Body":"aGk="}"#;
        assert_eq!(write(&message), written);
        assert_eq!(read(written.as_bytes(), None), Ok(message.clone()));
        // Captured from Go, and what a program in another language may send.
        let captured = br#"{"Header":{"Content-Type":"application/json","Micro-Topic":"greetings"},"Body":"eyJhIjoxfQ=="}"#;
        assert_eq!(&read(captured, None).unwrap().body[..], br#"{"a":1}"#);
        let lower = br#"{"header":{"Micro-Topic":"greetings"},"body":null}"#;
        assert_eq!(read(lower, None), Ok(Message::new("greetings", "")));
        assert_eq!(read(br#"{"body":""}"#, Some("told")), Ok(Message::new("told", "")));
    }

    #[test]
    fn what_is_no_message_is_refused_in_go_micros_words() {
        for (text, detail) in [
            ("{", "Error parsing request body: "),
            (r#"{"Header":{"Micro-Topic":"a"},"Body":"*"}"#, "Error parsing request body: "),
            (r#"{"Header":{},"Body":""}"#, "Topic not found"),
            (r#"{"Body":""}"#, "Topic not found"),
        ] {
            let error = read(text.as_bytes(), None).unwrap_err();
            assert!(error.detail().starts_with(detail), "{text}: {error}");
            assert_eq!((error.id(), error.http_code()), ("go.micro.broker", 500));
        }
    }
}
