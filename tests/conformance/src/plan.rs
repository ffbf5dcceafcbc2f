//! What a handler is told to do, in the request's metadata `do`: `action=value;action=value`.

use std::fmt;

use crate::line::{Unreadable, escape, unescape};

/// Actions of a handler, in the order they are taken. The README lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(Vec<(String, String)>);

impl Plan {
    /// Reads the metadata.
    ///
    /// # Errors
    /// When a value is not percent-encoded text.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let actions = text.split(';').filter(|action| !action.is_empty()).map(|action| {
            let (name, value) = action.split_once('=').unwrap_or((action, ""));
            let value = String::from_utf8_lossy(&unescape(value)?).into_owned();
            Ok((name.to_owned(), value))
        });
        actions.collect::<Result<_, _>>().map(Self)
    }

    /// Adds an action after those that are there.
    #[must_use]
    pub fn then(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The actions.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&name[..], &value[..]))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.iter().enumerate() {
            let between = if index == 0 { "" } else { ";" };
            write!(f, "{between}{name}")?;
            if !value.is_empty() {
                write!(f, "={}", escape(value.as_bytes()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_nest_in_values() {
        let inner = Plan::default().then("detail", "a;b=c").then("fail", "5");
        let outer =
            Plan::default().then("next", &inner.to_string()).then("call", "there").then("tag", "");
        let text = outer.to_string();
        assert!(text.ends_with(";call=there;tag"), "{text}");
        let read = Plan::parse(&text).unwrap();
        assert_eq!(read, outer);
        assert_eq!(Plan::parse(read.iter().next().unwrap().1), Ok(inner));
    }
}
