//! What a URL says.

use micro::Result;

use crate::address::{Address, prefix};

const KNOWN: [&str; 2] = ["prefix", "eviction"];

/// Where the server is, and what it may do to records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) address: Address,
    /// Before every key.
    pub(super) prefix: String,
    /// A server that removes records when its memory is full is taken as well.
    pub(super) may_evict: bool,
}

impl Options {
    /// Reads what follows `scheme://`.
    pub(super) fn read(scheme: &'static str, rest: &str) -> Result<Self> {
        let (mut before, mut may_evict) = (String::new(), false);
        let address = Address::read(scheme, rest, &KNOWN, |name, value| {
            match (name, value) {
                ("prefix", value) => before = prefix(value)?,
                (_, "allowed") => may_evict = true,
                (_, "refused") => may_evict = false,
                (_, value) => return Err(format!("eviction={value}: use `refused` or `allowed`")),
            }
            Ok(())
        })?;
        Ok(Self { address, prefix: before, may_evict })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_on_which_terms() {
        let read = |rest| Options::read("redis", rest);
        let options = read("me:hunter2@h:1/3?prefix=shop%3A&eviction=allowed").unwrap();
        assert_eq!((options.prefix.as_str(), options.may_evict), ("shop:", true));
        assert_eq!(options.address.shown(), "redis://h:1/3");
        for (rest, hint) in
            [("h?eviction=yes", "`refused` or `allowed`"), ("h?max_len=1", "known: prefix")]
        {
            let error = read(rest).unwrap_err();
            assert!(error.detail().contains(hint), "{rest}: {error}");
        }
    }
}
