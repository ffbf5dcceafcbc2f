//! A store by URL, as options, flags and `MICRO_STORE` name it.

use std::sync::{Arc, LazyLock};

use super::{Memory, Store};
use crate::error::Result;
use crate::plugin::{Provided, Schemes};

/// The store of a service or client that is given none.
#[cfg(unix)]
pub(crate) const DEFAULT: &str = "file://";
/// The same where no process can own files for others.
#[cfg(not(unix))]
pub(crate) const DEFAULT: &str = "memory://";

/// The stores of this process by scheme.
static SCHEMES: LazyLock<Schemes<dyn Store>> = LazyLock::new(|| {
    let schemes =
        Schemes::<dyn Store>::new("store").with("memory", |name| Ok(Arc::new(Memory::named(name))));
    #[cfg(unix)]
    let schemes = schemes.with("file", |rest| Ok(Arc::new(super::File::from_url_path(rest)?)));
    schemes
});

/// Makes what stores share in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    LazyLock::force(&SCHEMES);
    super::warm_up_memory();
}

/// The store that `url` names.
///
/// | URL | store |
/// |---|---|
/// | `file://`, `file:///var/lib/shop` | [`File`](super::File): shared on this machine, in a data folder; the default; Unix only |
/// | `memory://`, `memory://name` | [`Memory::named`]: shared within this process |
///
/// A scheme alone, `memory`, does as well. A store of one's own is named by the scheme that it was [provided](provide) as, or handed over
/// as `Arc<dyn Store>` without any.
///
/// # Errors
/// `INVALID_ARGUMENT` for an unknown scheme or a URL its store cannot read, `INTERNAL` when opening it panics.
pub fn connect(url: &str) -> Result<Arc<dyn Store>> {
    SCHEMES.open(url)
}

/// Makes a store of one's own known to this process by the scheme of its URL, as
/// [`registry::provide`](crate::registry::provide) does for registries.
///
/// # Errors
/// `INVALID_ARGUMENT` for what cannot be a scheme, `ALREADY_EXISTS` for one that is taken.
pub fn provide(
    scheme: &str,
    open: impl Fn(&str) -> Result<Arc<dyn Store>> + Send + Sync + 'static,
) -> Result<Provided> {
    SCHEMES.provide(scheme, open)
}
