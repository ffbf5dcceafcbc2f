//! JSON text laid out anew without reading values: numbers keep their digits, fields their order.

use serde::de::IgnoredAny;

/// Whether `text` is one JSON value.
pub(crate) fn check(text: &str) -> serde_json::Result<()> {
    serde_json::from_str::<IgnoredAny>(text).map(drop)
}

/// Valid JSON on one line.
pub(crate) fn compact(text: &str) -> String {
    lay_out(text, false)
}

/// Valid JSON, one field to a line.
pub(crate) fn indented(text: &str) -> String {
    lay_out(text, true)
}

/// Depth from which on nothing is indented: a deep value would be more spaces than anything else.
const DEEP: usize = 64;

fn lay_out(text: &str, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut depth = 0;
    let mut in_string = false;
    let mut escaped = false;
    let mut characters = text.chars().filter(|c| !matches!(c, '\n' | '\r' | '\t')).peekable();
    while let Some(character) = characters.next() {
        if in_string {
            out.push(character);
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        match character {
            ' ' => {}
            '{' | '[' => {
                out.push(character);
                while characters.next_if_eq(&' ').is_some() {}
                if let Some(close) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    break_line(&mut out, depth, lines);
                }
            }
            '}' | ']' => {
                depth -= 1;
                break_line(&mut out, depth, lines);
                out.push(character);
            }
            ',' => {
                out.push(character);
                break_line(&mut out, depth, lines);
            }
            ':' => out.push_str(if lines { ": " } else { ":" }),
            _ => {
                in_string = character == '"';
                out.push(character);
            }
        }
    }
    out
}

fn break_line(out: &mut String, depth: usize, lines: bool) {
    if lines && depth <= DEEP {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_changes_and_nothing_else_does() {
        let text = "{ \"b\" : [ 1.10 ,\n 12345678901234567890123 ], \"a\": { } , \"c\": \"x, {\\\"y\\\\\" }";
        assert_eq!(compact(text), r#"{"b":[1.10,12345678901234567890123],"a":{},"c":"x, {\"y\\"}"#);
        let expected = "{\n  \"b\": [\n    1.10,\n    12345678901234567890123\n  ],\n  \"a\": {},\n  \"c\": \"x, {\\\"y\\\\\"\n}";
        assert_eq!(indented(text), expected);
    }

    #[test]
    fn a_deep_value_stays_about_as_long_as_it_was() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        let shown = indented(&deep);
        assert!(shown.len() < deep.len() + 4 * DEEP * DEEP, "{} bytes", shown.len());
        assert_eq!(compact(&shown), deep);
    }

    #[test]
    fn single_values_stay_as_they_are() {
        for text in ["null", "\"Hello, Ada!\"", "-1.5e3", "[]"] {
            assert_eq!(indented(text), text);
        }
    }

    #[test]
    fn two_values_are_not_one() {
        assert!(check("{} {}").is_err() && check("").is_err() && check("{a:1}").is_err());
        assert!(check(" {\"a\":1} ").is_ok());
    }
}
