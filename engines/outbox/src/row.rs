//! A message as a row.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use micro::broker::Message;
use micro::{Error, Result};

/// Columns of a message, as all statements name them.
pub(crate) const COLUMNS: &str =
    "topic, key, headers, content_type, body, due_ms, expires_ms, priority, message_id";

/// A message as it is kept: what [`COLUMNS`] has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    /// A list of pairs, as JSON.
    pub(crate) headers: String,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
    /// Milliseconds since 1970.
    pub(crate) due_ms: Option<i64>,
    pub(crate) expires_ms: Option<i64>,
    pub(crate) priority: i16,
    /// As the caller set it. Without, its row is its id.
    pub(crate) message_id: Option<String>,
}

/// A row that is to be published.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: i64,
    /// How often it failed while others did not.
    pub(crate) attempts: i32,
    pub(crate) kept: Kept,
}

impl Kept {
    pub(crate) fn new(message: &Message) -> Result<Self> {
        let headers: Vec<(&str, &str)> = message.headers.iter().collect();
        let headers = serde_json::to_string(&headers)
            .map_err(|error| Error::invalid_argument(format!("headers: {error}")))?;
        Ok(Self {
            topic: message.topic.clone(),
            key: message.key.clone(),
            headers,
            content_type: message.content_type.clone(),
            body: message.body.to_vec(),
            due_ms: message.due.map(millis),
            expires_ms: message.expires.map(millis),
            priority: message.priority.into(),
            message_id: message.id.clone(),
        })
    }
}

impl Row {
    /// The message of this row of the outbox that is called `identity`; `has_id` where its broker knows messages by their ids.
    pub(crate) fn message(&self, identity: &str, has_id: bool) -> Result<Message> {
        let kept = &self.kept;
        let wrong = |what: String| Error::invalid_argument(format!("row {}: {what}", self.id));
        let mut message = Message::new(&kept.topic, kept.body.clone());
        let headers: Vec<(String, String)> = serde_json::from_str(&kept.headers)
            .map_err(|error| wrong(format!("headers are no list of pairs: {error}")))?;
        for (name, value) in headers {
            message.headers.append(&name, &value)?;
        }
        message.key.clone_from(&kept.key);
        message.content_type.clone_from(&kept.content_type);
        message.due = kept.due_ms.and_then(time);
        message.expires = kept.expires_ms.and_then(time);
        message.priority = u8::try_from(kept.priority)
            .map_err(|_| wrong(format!("priority {} is not 0 to 9", kept.priority)))?;
        if has_id {
            let own = || format!("{identity}.{}", self.id);
            message.id = Some(kept.message_id.clone().unwrap_or_else(own));
        }
        Ok(message)
    }
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

fn time(millis: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(millis).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kept: Kept) -> Row {
        Row { id: 7, attempts: 0, kept }
    }

    #[test]
    fn a_message_is_what_it_was_but_for_its_id() {
        let mut message = Message::new("orders", vec![0, 255, 10]);
        message.headers.append("tag", "a").unwrap();
        message.headers.append("tag", "b").unwrap();
        message.headers.insert_bin("trace-bin", &[0, 1, 255]).unwrap();
        message.key = Some("k".into());
        message.content_type = Some("application/json".into());
        message.due = time(1_700_000_000_123);
        message.expires = time(1_800_000_000_456);
        message.priority = 9;
        let row = row(Kept::new(&message).unwrap());
        assert_eq!(row.message("box", false).unwrap(), message);
        message.id = Some("box.7".into());
        assert_eq!(row.message("box", true).unwrap(), message);
        message.id = Some("own".into());
        let row = Row { kept: Kept::new(&message).unwrap(), ..row };
        assert_eq!(row.message("box", true).unwrap(), message);
    }

    #[test]
    fn what_others_wrote_wrongly_is_named() {
        let kept = Kept::new(&Message::new("orders", "")).unwrap();
        for (kept, hint) in [
            (Kept { headers: "{}".into(), ..kept.clone() }, "no list of pairs"),
            (Kept { headers: r#"[["a\nb","c"]]"#.into(), ..kept.clone() }, "a"),
            (Kept { priority: -1, ..kept }, "priority -1"),
        ] {
            let error = row(kept).message("box", true).unwrap_err();
            assert!(error.detail().contains(hint), "{error}");
        }
    }
}
