//! Options of the bridge's own, which stand in documents beside those of the core.

use std::borrow::Cow;

use micro::Error;
use serde_json::Value;

use crate::failure::Result;

/// Takes the option `name` out of a document. What is no document is left for its reader to complain of.
pub(crate) fn take<'a>(options: &'a str, name: &str) -> (Option<Value>, Cow<'a, str>) {
    let Ok(Value::Object(mut document)) = serde_json::from_str(options) else {
        return (None, options.into());
    };
    match document.remove(name) {
        None => (None, options.into()),
        own => (own.filter(|own| !own.is_null()), Value::Object(document).to_string().into()),
    }
}

/// The same for one that is true or false, and false unless it is there.
///
/// # Errors
/// `INVALID_ARGUMENT` for anything else.
pub(crate) fn flag<'a>(
    options: &'a str,
    document: &str,
    name: &str,
) -> Result<(bool, Cow<'a, str>)> {
    // Most have none, and are read once.
    if !options.contains(name) {
        return Ok((false, options.into()));
    }
    match take(options, name) {
        (None, options) => Ok((false, options)),
        (Some(Value::Bool(flag)), options) => Ok((flag, options)),
        _ => wrong(document, name, "write true or false"),
    }
}

/// What stands where an option of the bridge's own is not what it should be.
pub(crate) fn wrong<T>(document: &str, name: &str, why: &str) -> Result<T> {
    Err(Error::invalid_argument(format!("{document}: {name}: {why}")).into())
}

/// Puts the arguments of a program into the document of a service, as `args`, where there is a list of them.
///
/// # Errors
/// `INVALID_ARGUMENT` where the document is none, or has `args` already.
pub fn with_args(options: &str, args: Option<Vec<String>>) -> Result<Cow<'_, str>> {
    const DOCUMENT: &str = "service settings";
    let Some(args) = args else { return Ok(options.into()) };
    let document = match options.trim() {
        "" => Value::Object(serde_json::Map::new()),
        // The reader of the whole says what is wrong with it.
        text => serde_json::from_str(text).unwrap_or_default(),
    };
    let Value::Object(mut document) = document else {
        return wrong(DOCUMENT, ARGS, "no JSON object stands beside them");
    };
    if document.insert(ARGS.to_owned(), args.into()).is_some() {
        return wrong(DOCUMENT, ARGS, "they are given twice: leave them out of the document");
    }
    Ok(Value::Object(document).to_string().into())
}

/// The command line of the program, without its name.
pub(crate) const ARGS: &str = "args";

/// That a message has an answer that can be asked for, and that a subscriber gives such answers.
pub(crate) const TASK: &str = "task";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_the_bridge_is_taken_out_of_the_document() {
        let (own, rest) = take(r#"{"args": ["--quiet"], "grace": 1}"#, ARGS);
        assert_eq!((own, &*rest), (Some(Value::from(vec!["--quiet"])), r#"{"grace":1}"#));
        for left in ["", "{", "[]", r#"{"grace": 1}"#] {
            assert_eq!(take(left, ARGS), (None, left.into()));
        }
        assert_eq!(take(r#"{"args": null}"#, ARGS), (None, "{}".into()));
    }

    #[test]
    fn arguments_join_a_document_once() {
        let args = || Some(vec!["--grace=1s".to_owned()]);
        let joined = with_args(r#"{"id": "a"}"#, args()).expect("a document");
        assert_eq!(joined, r#"{"args":["--grace=1s"],"id":"a"}"#);
        assert_eq!(with_args("", args()).expect("none"), r#"{"args":["--grace=1s"]}"#);
        assert_eq!(with_args("", Some(Vec::new())).expect("no flags"), r#"{"args":[]}"#);
        assert_eq!(with_args("{", None).expect("left alone"), "{");
        for wrong in ["{", "[]", &*joined] {
            with_args(wrong, args()).expect_err("no such document");
        }
    }
}
