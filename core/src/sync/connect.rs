//! Locks by URL.

use std::sync::{Arc, LazyLock};

use super::{Locks, over};
use crate::error::Result;
use crate::plugin::{Provided, Schemes};
use crate::store;

/// Locks without a store, by scheme.
static SCHEMES: LazyLock<Schemes<dyn Locks>> = LazyLock::new(|| Schemes::new("locks"));

/// Makes what locks share in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    LazyLock::force(&SCHEMES);
    super::names::warm_up();
}

/// The locks that `url` names: those that were [provided](provide), or [over] the [store](store::connect) of this URL.
///
/// # Errors
/// `INVALID_ARGUMENT` for an unknown scheme or a URL that cannot be read, `INTERNAL` when opening it panics.
pub fn connect(url: &str) -> Result<Arc<dyn Locks>> {
    match SCHEMES.knows(url) {
        true => SCHEMES.open(url),
        false => Ok(over(store::connect(url)?)),
    }
}

/// Makes locks that stand on no store known to this process by the scheme of their URL, as
/// [`registry::provide`](crate::registry::provide) does for registries. It goes before a store of the same scheme.
///
/// # Errors
/// `INVALID_ARGUMENT` for what cannot be a scheme, `ALREADY_EXISTS` for one that is taken.
pub fn provide(
    scheme: &str,
    open: impl Fn(&str) -> Result<Arc<dyn Locks>> + Send + Sync + 'static,
) -> Result<Provided> {
    SCHEMES.provide(scheme, open)
}
