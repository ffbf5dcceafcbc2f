//! go-micro's error as a text: recognised by all that go-micro writes, not by a key that others use too.
//!
//! Any gRPC server may put JSON of its own into an error's text, and `code` is a common key. go-micro's text is what Go makes
//! of its struct (wire reference 8): the keys `id`, `code`, `detail` and `status` in this order and none twice, empty ones left
//! out, no space between them.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

use crate::error::{Code, Error};

const KEYS: [&str; 4] = ["id", "code", "detail", "status"];

/// The error that go-micro wrote as `text` beside gRPC's `code`; `None` for any other text.
pub(super) fn told_in(text: &str, code: Code) -> Option<Error> {
    if !text.starts_with("{\"") || !is_compact(text) {
        return None;
    }
    let Fields(fields) = serde_json::from_str(text).ok()?;
    let mut error = Error::from_http("", "", 0);
    let (mut number, mut told, mut after) = (0, None, 0);
    for (key, value) in &fields {
        let at = KEYS.iter().position(|known| known == key).filter(|at| *at >= after)?;
        after = at + 1;
        let words = value.as_str().filter(|words| !words.is_empty()).map(str::to_owned);
        match key.as_str() {
            "code" => {
                number = value.as_i64().and_then(|n| i32::try_from(n).ok()).filter(|n| *n > 0)?;
                error = Error::from_http(error.id().to_owned(), "", number);
            }
            "id" => error = error.with_id(words?),
            "detail" => error = Error::from_http(error.id().to_owned(), words?, number),
            _ => told = Some(words?),
        }
    }
    let usual = told.as_deref().is_some_and(|told| told == error.status());
    // A handler that passes on the text of another error sends it as `UNKNOWN`.
    let agrees = code == Code::Unknown || code == error.code();
    let known = number > 0 && agrees && (!error.id().is_empty() || usual);
    known.then(|| error.with_status(told.unwrap_or_default()))
}

/// True when nothing stands between the parts of a JSON text.
fn is_compact(text: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().all(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ => return quoted || !byte.is_ascii_whitespace(),
        }
        true
    })
}

/// The fields of an object in their order, the same key perhaps twice.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;

        impl<'de> Visitor<'de> for Ordered {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_micro_writes_is_read() {
        for (text, code, id, detail, status) in [
            (
                r#"{"id":"my.id","code":404,"detail":"nope w","status":"Not Found"}"#,
                Code::NotFound,
                "my.id",
                "nope w",
                "Not Found",
            ),
            (r#"{"code":404,"status":"Not Found"}"#, Code::NotFound, "", "", "Not Found"),
            (
                r#"{"id":"a","code":1042,"detail":"\u003ca b\u003e\n"}"#,
                Code::Unknown,
                "a",
                "<a b>\n",
                "",
            ),
            (r#"{"id":"a","code":503}"#, Code::Unknown, "a", "", ""),
        ] {
            let error = told_in(text, code).expect(text);
            assert_eq!(
                (error.id(), error.detail(), error.status()),
                (id, detail, status),
                "{text}"
            );
        }
        let error = Error::from_http("x", "50 % \"off\"\u{2028}", 500);
        assert!(told_in(&error.to_json(), Code::Internal).is_some());
    }

    #[test]
    fn foreign_json_is_a_text() {
        for text in [
            r#"{"code": 1042, "msg": "card declined"}"#,
            r#"{"code":1042,"msg":"card declined"}"#,
            r#"{"code":404,"detail":"x"}"#,
            r#"{"code":404}"#,
            r#"{"id":"x","code":404,"reason":{"field":"id"}}"#,
            r#"{"id":"x","code":1042,"detail":"declined"}"#,
            r#"{"id":"x","code":404,"detail":""}"#,
            r#"{"id":"x","code":404.5}"#,
            r#"{"id":7,"code":404}"#,
            r#"{"id":"x","code":-404}"#,
            r#"{"id":"x"}"#,
            r#"{"code":404,"id":"x","status":"Not Found"}"#,
            r#"{"id":"x","id":"x","code":404}"#,
            r#"{"id":"x", "code":404,"status":"Not Found"}"#,
            r#"{"Id":"x","Code":404,"Status":"Not Found"}"#,
            r#"{"id":"x","code":404,"status":"Not Found"} "#,
            r#"[1]"#,
            r#"{}"#,
            "",
            "{\"",
        ] {
            assert!(told_in(text, Code::FailedPrecondition).is_none(), "{text}");
            let lenient = ["x\",\"code\":1042"].iter().any(|known| text.contains(known));
            assert!(lenient || told_in(text, Code::Unknown).is_none(), "{text}");
        }
    }
}
