//! The table of one area: what opens a URL, by its scheme.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::guard::caught;
use crate::error::{Error, Result};
use crate::spelling::{nearest, quoted};

/// Opens what a URL names, given what follows `://`.
type Opener<T> = Arc<dyn Fn(&str) -> Result<Arc<T>> + Send + Sync>;

/// The openers of one area by scheme. Copied at each change and read without a lock, so that a child of a fork can go on with
/// it whatever other threads were doing.
pub(crate) struct Schemes<T: ?Sized> {
    area: &'static str,
    openers: ArcSwap<BTreeMap<String, Opener<T>>>,
}

/// A scheme that a program added to one of the tables. It stays when this is dropped, for as long as
/// the process runs.
pub struct Provided {
    scheme: String,
    withdraw: Box<dyn FnOnce() + Send + Sync>,
}

impl Provided {
    /// The scheme, for example `etcd`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Makes the scheme unknown again, so that another may provide it. What it has opened lives on.
    pub fn withdraw(self) {
        (self.withdraw)();
    }
}

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provided").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl<T: ?Sized + 'static> Schemes<T> {
    /// A table without schemes. `area` is what messages call its implementations, such as `registry`.
    pub(crate) fn new(area: &'static str) -> Self {
        Self { area, openers: ArcSwap::default() }
    }

    /// With a scheme of this crate's own; one that is taken stays as it is.
    pub(crate) fn with(self, scheme: &str, open: fn(&str) -> Result<Arc<T>>) -> Self {
        let added = self.add(scheme, open);
        debug_assert!(added.is_ok(), "{added:?}", added = added.map(|_| ()));
        self
    }

    /// Adds a scheme to a table of the process.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what cannot be a scheme, `ALREADY_EXISTS` for one that is taken.
    pub(crate) fn provide(
        &'static self,
        scheme: &str,
        open: impl Fn(&str) -> Result<Arc<T>> + Send + Sync + 'static,
    ) -> Result<Provided> {
        let opener = self.add(scheme, open)?;
        let ours = scheme.to_owned();
        let withdraw = move || self.remove(&ours, &opener);
        Ok(Provided { scheme: scheme.to_owned(), withdraw: Box::new(withdraw) })
    }

    fn add(
        &self,
        scheme: &str,
        open: impl Fn(&str) -> Result<Arc<T>> + Send + Sync + 'static,
    ) -> Result<Opener<T>> {
        if !is_scheme(scheme) {
            return Err(Error::invalid_argument(format!(
                "{} scheme {}: use a lowercase letter, then lowercase letters, digits, `+`, `.` and `-`, \
                 for example `etcd`",
                self.area,
                quoted(scheme)
            )));
        }
        let opener: Opener<T> = Arc::new(open);
        let before = self.openers.rcu(|openers| {
            let mut openers = BTreeMap::clone(openers);
            openers.entry(scheme.to_owned()).or_insert_with(|| Arc::clone(&opener));
            openers
        });
        if before.contains_key(scheme) {
            return Err(Error::already_exists(format!(
                "{} scheme {} is taken: choose another, or withdraw the one that has it",
                self.area,
                quoted(scheme)
            )));
        }
        Ok(opener)
    }

    fn remove(&self, scheme: &str, opener: &Opener<T>) {
        self.openers.rcu(|openers| {
            let mut openers = BTreeMap::clone(openers);
            if openers.get(scheme).is_some_and(|known| Arc::ptr_eq(known, opener)) {
                openers.remove(scheme);
            }
            openers
        });
    }

    /// Whether something opens what `url` names.
    pub(crate) fn knows(&self, url: &str) -> bool {
        let scheme = url.split_once("://").map_or(url, |(scheme, _)| scheme);
        self.openers.load().contains_key(scheme)
    }

    /// Opens what `url` names; a scheme alone does as well.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for an unknown scheme, `INTERNAL` when its opener panics; whatever else it
    /// failed with.
    pub(crate) fn open(&self, url: &str) -> Result<Arc<T>> {
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        let openers = self.openers.load_full();
        let open = openers.get(scheme).ok_or_else(|| self.unknown(scheme, &openers))?;
        caught(&format!("opening {scheme}://"), || open(rest))?
    }

    fn unknown(&self, scheme: &str, openers: &BTreeMap<String, Opener<T>>) -> Error {
        let known = openers.keys().map(String::as_str);
        let hint = match nearest(scheme, known.clone()) {
            Some(known) => format!(": did you mean {known}://?"),
            None => String::new(),
        };
        let known: Vec<String> = known.map(|known| format!("{known}://")).collect();
        Error::invalid_argument(format!(
            "unknown {} {}{hint} (known: {})",
            self.area,
            quoted(scheme),
            known.join(", ")
        ))
    }
}

/// True for `[a-z][a-z0-9+.-]*`, the schemes of RFC 3986 in lowercase.
fn is_scheme(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+.-".contains(&byte)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    /// A table of a process, as the real ones are.
    fn table() -> &'static Schemes<str> {
        Box::leak(Box::new(Schemes::new("store")))
    }

    #[test]
    fn a_scheme_opens_what_follows_it() {
        let stores = table();
        let count = Arc::new(());
        let held = Arc::clone(&count);
        stores
            .provide("etcd", move |rest| {
                let _held = &held;
                Ok(rest.to_uppercase().into())
            })
            .unwrap();
        assert_eq!(&*stores.open("etcd://here/x://y").unwrap(), "HERE/X://Y");
        assert_eq!(&*stores.open("etcd").unwrap(), "");
        assert_eq!(Arc::strong_count(&count), 2, "a scheme stays when its `Provided` is dropped");
    }

    #[test]
    fn a_scheme_has_one_owner_until_it_is_withdrawn() {
        let stores = table();
        let first = stores.provide("etcd", |_| Ok("first".into())).unwrap();
        let error = stores.provide("etcd", |_| Ok("second".into())).unwrap_err();
        assert_eq!(error.code(), Code::AlreadyExists);
        assert!(error.detail().contains("store scheme \"etcd\" is taken"), "{error}");
        assert_eq!(&*stores.open("etcd").unwrap(), "first");
        assert_eq!(first.scheme(), "etcd");
        first.withdraw();
        assert_eq!(stores.open("etcd").unwrap_err().code(), Code::InvalidArgument);
        stores.provide("etcd", |_| Ok("second".into())).unwrap();
        assert_eq!(&*stores.open("etcd").unwrap(), "second");
    }

    #[test]
    fn only_names_that_urls_can_have_are_schemes() {
        let stores = table();
        for scheme in ["e", "etcd", "svn+ssh", "a.b-c2"] {
            stores.provide(scheme, |_| Ok("".into())).unwrap();
        }
        for scheme in ["", "2etcd", "Etcd", "et cd", "etcd:", "etcd://", "étcd", "a_b", "+a"] {
            let error = stores.provide(scheme, |_| Ok("".into())).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{scheme}");
            assert!(error.detail().contains("store scheme"), "{error}");
        }
    }

    #[test]
    fn an_unknown_scheme_is_told_the_known_ones_and_the_likeliest() {
        let stores = table();
        for scheme in ["file", "redis"] {
            stores.provide(scheme, |_| Ok("".into())).unwrap();
        }
        let error = stores.open("reddis://x").unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(
            error.detail(),
            "unknown store \"reddis\": did you mean redis://? (known: file://, redis://)"
        );
        let error = stores.open("postgres://x").unwrap_err();
        assert!(!error.detail().contains("did you mean"), "{error}");
    }

    #[test]
    fn an_opener_that_panics_is_an_error() {
        let stores = table();
        stores.provide("etcd", |rest| panic!("no {rest}")).unwrap();
        let error = stores.open("etcd://disk").unwrap_err();
        assert_eq!(error.code(), Code::Internal);
        assert!(error.detail().contains("opening etcd:// panicked: no disk"), "{error}");
    }

    #[test]
    fn schemes_provided_at_once_are_all_known() {
        let stores = table();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for number in 0..50 {
                        stores.provide(&format!("s{thread}-{number}"), |_| Ok("".into())).unwrap();
                        let _ = stores.provide("wanted-by-all", |_| Ok("".into()));
                    }
                });
            }
        });
        assert_eq!(stores.openers.load().len(), 8 * 50 + 1);
    }
}
