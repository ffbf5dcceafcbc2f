//! A broker by URL, as options, flags and `MICRO_BROKER` name it.

use std::sync::{Arc, LazyLock};

use super::{Broker, Http, Memory, Rpc};
use crate::error::Result;
use crate::plugin::{Provided, Schemes};

/// The brokers of this process by scheme.
static SCHEMES: LazyLock<Schemes<dyn Broker>> = LazyLock::new(|| {
    let schemes = Schemes::<dyn Broker>::new("broker")
        .with("memory", |name| Ok(Arc::new(Memory::named(name))))
        .with("http", |rest| Ok(Arc::new(Http::from_url_path(rest)?)))
        .with("service", |rest| Ok(Arc::new(Rpc::from_url_path(rest)?)));
    #[cfg(unix)]
    let schemes =
        schemes.with("durable", |rest| Ok(Arc::new(super::Durable::from_url_path(rest)?)));
    schemes
});

/// Makes what brokers share in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    LazyLock::force(&SCHEMES);
    super::warm_up_memory();
}

/// The broker that `url` names.
///
/// | URL | broker |
/// |---|---|
/// | `http://`, `http://0.0.0.0:9000` | [`Http`]: go-micro's, which posts messages to subscribers that the registry knows; the default |
/// | `service://`, `service://name`, `service://10.0.0.7:8001` | [`Rpc`]: go-micro's broker `service`, behind the service `go.micro.broker` |
/// | `memory://`, `memory://name` | [`Memory::named`]: shared within this process |
/// | `durable://`, `durable:///var/lib/shop` | [`Durable`](super::Durable): shared on this machine, in a data folder; Unix only |
/// | `durable://name` | [`Durable::named`](super::Durable::named): the one that the service `name` serves; Unix only |
///
/// The command and the bindings also know `nats://` and `jetstream://`, of the crate `micro-nats`, and `redis://` and `rediss://`, of
/// `micro-redis`; a program in Rust calls their `provide`.
///
/// A scheme alone, `memory`, does as well. A broker of one's own is named by the scheme that it was [provided](provide) as, or
/// handed over as `Arc<dyn Broker>` without any.
///
/// # Errors
/// `INVALID_ARGUMENT` for an unknown scheme or a URL its broker cannot read, `INTERNAL` when opening it panics.
pub fn connect(url: &str) -> Result<Arc<dyn Broker>> {
    SCHEMES.open(url)
}

/// Makes a broker of one's own known to this process by the scheme of its URL, as
/// [`registry::provide`](crate::registry::provide) does for registries.
///
/// # Errors
/// `INVALID_ARGUMENT` for what cannot be a scheme, `ALREADY_EXISTS` for one that is taken.
pub fn provide(
    scheme: &str,
    open: impl Fn(&str) -> Result<Arc<dyn Broker>> + Send + Sync + 'static,
) -> Result<Provided> {
    SCHEMES.provide(scheme, open)
}
