//! What is expected of values.

use serde::Deserialize;
use serde_json::Value;

/// One of several texts; written as a text or a list. Empty expects nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Texts")]
pub(super) struct OneOf(pub(super) Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

impl From<Texts> for OneOf {
    fn from(texts: Texts) -> Self {
        match texts {
            Texts::One(text) => Self(vec![text]),
            Texts::Several(texts) => Self(texts),
        }
    }
}

/// A number: `7`, `"7"`, `">=7"`, `"<=7"` or `"7..9"`, both included.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Number {
    least: u64,
    most: u64,
}

/// Bytes: `7`, or `"7"` where a variable says how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Size(pub(super) u64);

impl TryFrom<Written> for Size {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Exactly(size) => Ok(Self(size)),
            Written::Text(text) if text.contains('$') => Ok(Self(0)),
            Written::Text(text) => {
                text.parse().map(Self).map_err(|_| format!("`{text}` is no size"))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Exactly(u64),
    Text(String),
}

impl TryFrom<Written> for Number {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let text = match written {
            Written::Exactly(number) => return Ok(Self { least: number, most: number }),
            Written::Text(text) => text,
        };
        // Variables are filled in when the scenario is played.
        if text.contains('$') {
            return Ok(Self { least: 0, most: 0 });
        }
        let number = |text: &str| {
            text.parse::<u64>().map_err(|_| format!("`{text}` is no number, bound or range"))
        };
        let (least, most) = if let Some(bound) = text.strip_prefix(">=") {
            (number(bound)?, u64::MAX)
        } else if let Some(bound) = text.strip_prefix("<=") {
            (0, number(bound)?)
        } else if let Some((least, most)) = text.split_once("..") {
            (number(least)?, number(most)?)
        } else {
            (number(&text)?, number(&text)?)
        };
        Ok(Self { least, most })
    }
}

impl Number {
    /// Complains about a number that is not as expected.
    pub(super) fn check(&self, what: &str, got: Option<u64>) -> Result<(), String> {
        match got {
            Some(got) if (self.least..=self.most).contains(&got) => Ok(()),
            got => {
                let got = got.map_or("nothing".to_owned(), |got| got.to_string());
                Err(format!("expected {what} in {}..{}, got {got}", self.least, self.most))
            }
        }
    }
}

/// Complains about JSON that does not hold what is expected: an object has at least the given fields, a list as many items,
/// each as one of those given, whatever their order. A text that is expected of a number says its range.
pub(super) fn holds(expected: &Value, got: &Value) -> Result<(), String> {
    let differs = || format!("expected {expected}, got {got}");
    match (expected, got) {
        (Value::Object(fields), Value::Object(_)) => {
            fields.iter().try_for_each(|(name, expected)| {
                holds(expected, &got[name]).map_err(|error| format!("{name}: {error}"))
            })
        }
        (Value::Array(items), Value::Array(found)) if items.len() == found.len() => {
            let there = |item| found.iter().any(|found| holds(item, found).is_ok());
            if items.iter().all(there) { Ok(()) } else { Err(differs()) }
        }
        (Value::String(range), Value::Number(number)) => {
            Number::try_from(Written::Text(range.clone()))?.check("it", number.as_u64())
        }
        _ if expected == got => Ok(()),
        _ => Err(differs()),
    }
}

/// Complains about a text that is not the expected one.
pub(super) fn same(what: &str, expected: &str, got: &str) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("expected {what} `{expected}`, got `{got}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<Number, String> {
        Written::Text(text.to_owned()).try_into()
    }

    #[test]
    fn numbers_are_exact_or_bounded() {
        for (text, fits, fails) in [("7", 7, 8), (">=7", 9, 6), ("<=7", 0, 8), ("7..9", 8, 10)] {
            let number = number(text).unwrap();
            assert_eq!(number.check("it", Some(fits)), Ok(()), "{text}");
            assert!(number.check("it", Some(fails)).is_err(), "{text}");
            assert!(number.check("it", None).is_err(), "{text}");
        }
        assert!(number("some").is_err());
    }

    #[test]
    fn json_holds_what_is_expected_and_may_hold_more() {
        let got = serde_json::json!({ "nodes": [{ "id": "a", "load": 7 }, { "id": "b" }], "x": 1 });
        let fits = |expected| holds(&expected, &got).is_ok();
        assert!(fits(
            serde_json::json!({ "nodes": [{ "id": "b" }, { "id": "a", "load": ">=7" }] })
        ));
        assert!(!fits(serde_json::json!({ "nodes": [{ "id": "a" }] })), "a node is missing");
        assert!(!fits(serde_json::json!({ "nodes": [{ "id": "a" }, { "id": "c" }] })));
        assert!(!fits(serde_json::json!({ "x": "<=0" })));
        assert!(!fits(serde_json::json!({ "y": 1 })));
    }
}
