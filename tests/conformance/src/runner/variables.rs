//! Words that begin with `$` in a scenario, and what they stand for while it is played.

use std::collections::BTreeMap;

use toml::Value;

/// Values by name, without the `$`.
pub(super) type Variables = BTreeMap<String, String>;

/// `value` with every variable in its texts replaced; longer names come first, so `$key` does not eat
/// the beginning of `$keys`.
pub(super) fn fill(value: &Value, variables: &Variables) -> Value {
    match value {
        Value::String(text) => Value::String(fill_text(text, variables)),
        Value::Array(values) => {
            Value::Array(values.iter().map(|value| fill(value, variables)).collect())
        }
        Value::Table(table) => table
            .iter()
            .map(|(name, value)| (fill_text(name, variables), fill(value, variables)))
            .collect::<toml::Table>()
            .into(),
        other => other.clone(),
    }
}

/// As [`fill`], for one text.
pub(super) fn fill_text(text: &str, variables: &Variables) -> String {
    // Sorted backwards, a name comes before those that it begins with.
    variables
        .iter()
        .rev()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_everywhere() {
        let variables = [("key", "1"), ("keys", "2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let value: Value =
            toml::from_str::<toml::Table>(r#"a = ["$key", { b = "$keys-$key" }]"#).unwrap().into();
        let filled = fill(&value, &variables.into());
        assert_eq!(filled["a"][0].as_str(), Some("1"));
        assert_eq!(filled["a"][1]["b"].as_str(), Some("2-1"));
    }
}
