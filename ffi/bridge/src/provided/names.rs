//! What is provided in this process, by area and name.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use micro::Error;

use super::abilities::are_abilities;
use super::area;
use crate::failure::{Failure, Result};
use crate::inbound::Host;

/// The scheme of what hosts provide.
pub(super) const SCHEME: &str = "host";
/// Longest name, in bytes.
const LONGEST: usize = 128;

/// What is provided in this process, by area and name. Copied at each change and read without a lock, so that a child of a fork
/// can go on with it whatever other threads were doing.
static PROVIDED: ArcSwapOption<Names> = ArcSwapOption::const_empty();

type Names = BTreeMap<(u32, String), Arc<Entry>>;

/// Something that is provided: what answers for it, and what it can do.
pub(super) struct Entry {
    pub(super) host: Host,
    pub(super) abilities: u32,
}

/// Provides something of `area` by a name until what this returns is dropped; questions go to `host`.
///
/// # Errors
/// [`Status::ARG`](crate::Status::ARG) for an area that cannot be provided and for a wrong name, `ALREADY_EXISTS` for one that
/// is taken.
pub(crate) fn provide(area: u32, name: &str, host: Host) -> Result<Guard> {
    let (area, abilities) = (area & 0xff, area & !0xff);
    let is_known = match area {
        area::REGISTRY => abilities == 0,
        area::BROKER => are_abilities(abilities),
        _ => false,
    };
    if !is_known {
        return Err(Failure::argument(format!(
            "nothing can be provided in area {:#04x}: there are {:#04x} for registries, and {:#04x} for brokers with what they can do",
            area | abilities,
            area::REGISTRY,
            area::BROKER
        )));
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > LONGEST || !name.bytes().all(good) {
        return Err(Failure::argument(format!(
            "{name:?} is no name: use 1 to {LONGEST} letters, digits, `-`, `_` and `.`"
        )));
    }
    Guard::new((area, name.to_owned()), Arc::new(Entry { host, abilities }))
}

/// What answers for a name.
///
/// # Errors
/// `UNAVAILABLE` for what is not provided in this process.
pub(super) fn find(area: u32, name: &str) -> micro::Result<Arc<Entry>> {
    let provided = PROVIDED.load();
    let names = provided.as_deref();
    if let Some(entry) = names.and_then(|names| names.get(&(area, name.to_owned()))) {
        entry.host.shared.check().map_err(Failure::into_core)?;
        return Ok(entry.clone());
    }
    let known: Vec<String> = names
        .into_iter()
        .flat_map(BTreeMap::keys)
        .filter(|(of, _)| *of == area)
        .map(|(_, name)| format!("{SCHEME}://{name}"))
        .collect();
    let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
    Err(Error::unavailable(format!(
        "{SCHEME}://{name} is not provided in this process: provide it first (provided: {known})"
    )))
}

/// False for one that a parent of this process has left, or that is told nothing any more.
fn is_there(entry: &Entry) -> bool {
    entry.host.shared.check().is_ok() && entry.host.queue.is_open()
}

/// Keeps a name until it is dropped.
pub(crate) struct Guard {
    key: (u32, String),
    entry: Arc<Entry>,
}

impl Guard {
    fn new(key: (u32, String), entry: Arc<Entry>) -> Result<Self> {
        let before = PROVIDED.rcu(|names| {
            let mut names = names.as_deref().cloned().unwrap_or_default();
            let taken = names.get(&key).is_some_and(|other| is_there(other));
            if !taken {
                names.insert(key.clone(), entry.clone());
            }
            Some(Arc::new(names))
        });
        let taken = before.and_then(|names| names.get(&key).cloned());
        if taken.is_some_and(|other| is_there(&other)) {
            let (_, name) = key;
            return Err(Error::already_exists(format!(
                "{SCHEME}://{name} is provided already: choose another name, or withdraw that one"
            ))
            .into());
        }
        Ok(Self { key, entry })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        PROVIDED.rcu(|names| {
            let mut names = names.as_deref().cloned().unwrap_or_default();
            if names.get(&self.key).is_some_and(|entry| Arc::ptr_eq(entry, &self.entry)) {
                names.remove(&self.key);
            }
            Some(Arc::new(names))
        });
    }
}
