//! go-micro's text of an error, which is JSON.

use std::borrow::Cow;

use serde::Serialize;

use super::{Code, Error};

/// The wire form of go-micro's error: JSON in the order `id, code, detail, status`, zero values
/// omitted (`errors/errors.pb.go`).
#[derive(Serialize)]
struct Json<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    code: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    status: &'a str,
}

fn is_zero(value: &i32) -> bool {
    *value == 0
}

impl Error {
    /// go-micro's text of the error: its JSON, zero values omitted, HTML characters escaped.
    pub fn to_json(&self) -> String {
        let json =
            Json { id: self.id(), code: self.0.http, detail: self.detail(), status: self.status() };
        go_escape(&serde_json::to_string(&json).unwrap_or_default())
    }

    /// go-micro's `errors.Parse`: reads the JSON form; any other text becomes the detail of an
    /// error whose number is 0 and whose code is [`Code::Unknown`].
    pub fn parse(text: &str) -> Self {
        let mut error = Self::new(Code::Unknown, "");
        error.0.http = 0;
        error.0.status = Cow::Borrowed("");
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(serde_json::Value::Null) => {}
            Ok(serde_json::Value::Object(fields)) => {
                let mut whole = true;
                for (key, value) in fields {
                    let read = match key.to_ascii_lowercase().as_str() {
                        "id" => read_text(&value, &mut error.0.id),
                        "detail" => read_text(&value, &mut error.0.detail),
                        "status" => read_text(&value, &mut error.0.status),
                        "code" => match value {
                            serde_json::Value::Null => true,
                            other => match other.as_i64().and_then(|n| i32::try_from(n).ok()) {
                                Some(number) => {
                                    error.0.http = number;
                                    error.0.code = Code::from_http(number);
                                    true
                                }
                                None => false,
                            },
                        },
                        _ => true,
                    };
                    whole &= read;
                }
                if !whole {
                    error.0.detail = Cow::Owned(text.to_owned());
                }
            }
            _ => error.0.detail = Cow::Owned(text.to_owned()),
        }
        error
    }
}

fn read_text(value: &serde_json::Value, field: &mut Cow<'static, str>) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::String(text) => {
            *field = Cow::Owned(text.clone());
            true
        }
        _ => false,
    }
}

/// Go's `encoding/json` escapes these five inside strings; outside strings JSON has none of them.
fn go_escape(json: &str) -> String {
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        match character {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out
}
