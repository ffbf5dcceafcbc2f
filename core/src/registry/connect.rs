//! A registry by URL, as options, flags and `MICRO_REGISTRY` name it.

use std::sync::{Arc, LazyLock};

use super::{Auto, Local, Mdns, Memory, Registry, memory};
use crate::error::{Error, Result};
use crate::plugin::{Provided, Schemes};

/// Where the environment names the registry of every service and client that sets none.
const VARIABLE: &str = "MICRO_REGISTRY";

/// The registries of this process by scheme.
static SCHEMES: LazyLock<Schemes<dyn Registry>> = LazyLock::new(|| {
    Schemes::<dyn Registry>::new("registry")
        .with("memory", |name| Ok(Arc::new(Memory::named(name))))
        .with("local", |path| Ok(Arc::new(Local::from_url_path(path)?)))
        .with("mdns", |rest| {
            let url = url::Url::parse(&format!("mdns://{rest}"))
                .map_err(|e| Error::invalid_argument(format!("mdns://{rest}: {e}")))?;
            Ok(Arc::new(Mdns::from_url(&url)?))
        })
        .with("auto", |_| Ok(Arc::new(Auto::new())))
});

/// Makes what registries share in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    LazyLock::force(&SCHEMES);
    memory::warm_up();
}

/// The registry that `url` names.
///
/// | URL | registry |
/// |---|---|
/// | `memory://`, `memory://name` | [`Memory::named`]: shared within this process |
/// | `local://`, `local:///var/run/fleet` | [`Local`]: shared on this machine, in a folder |
/// | `mdns://`, `mdns://lo?domain=micro&timeout=100ms` | [`Mdns`]: shared on this network segment |
/// | `auto://` | [`Auto`]: mDNS where multicast works, else `local`; the default |
///
/// A scheme alone, `memory`, does as well. A registry of one's own is named by the scheme that it was
/// [provided](provide) as, or handed over as `Arc<dyn Registry>` without any.
///
/// ```
/// # fn main() -> micro::Result<()> {
/// let registry = micro::registry::connect("memory://orders")?;
/// assert_eq!(registry.name(), "memory");
/// # Ok(()) }
/// ```
///
/// # Errors
/// `INVALID_ARGUMENT` for an unknown scheme or a URL its registry cannot read, `INTERNAL` when opening
/// it panics; whatever else opening the registry failed with.
pub fn connect(url: &str) -> Result<Arc<dyn Registry>> {
    SCHEMES.open(url)
}

/// Makes a registry of one's own known to this process by the scheme of its URL. From then on
/// [`connect`], `MICRO_REGISTRY`, [settings](crate::settings) and flags find it as they find those of
/// this crate.
///
/// `open` is given what follows `://`, and is called for every service and client that names the
/// scheme: one that wants to share a connection keeps it. It returns at once; what takes time belongs to
/// [`Registry::ready`]. A scheme is `[a-z][a-z0-9+.-]*`.
///
/// ```
/// use std::sync::Arc;
///
/// use micro::registry::{self, Memory};
/// use micro::settings::ClientSettings;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
/// // Any type that implements `Registry`; here one for each host of the URL.
/// registry::provide("fleet", |host| Ok(Arc::new(Memory::named(host))))?;
///
/// let registry = registry::connect("fleet://10.0.0.1:2379")?;
/// let client = ClientSettings::from_json(r#"{"registry": "fleet://10.0.0.1:2379"}"#)?.builder()?;
/// # let _ = (registry, client.build()?);
/// # Ok(()) }
/// ```
///
/// # Errors
/// `INVALID_ARGUMENT` for what cannot be a scheme, `ALREADY_EXISTS` for one that is taken, also by a
/// registry of this crate.
pub fn provide(
    scheme: &str,
    open: impl Fn(&str) -> Result<Arc<dyn Registry>> + Send + Sync + 'static,
) -> Result<Provided> {
    SCHEMES.provide(scheme, open)
}

/// The registry that the variable `MICRO_REGISTRY` names, [`Auto`] when it is unset or empty.
///
/// # Errors
/// As [`connect`], naming the variable.
pub fn from_environment() -> Result<Arc<dyn Registry>> {
    match std::env::var(VARIABLE) {
        Ok(url) if !url.is_empty() => connect(&url).map_err(|error| {
            Error::new(error.code(), format!("{VARIABLE}={url}: {}", error.detail()))
        }),
        _ => connect("auto"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::registry::{Node, Service};

    #[tokio::test]
    async fn memory_of_one_name_is_one_registry() {
        let name = uuid::Uuid::new_v4().to_string();
        let first = connect(&format!("memory://{name}")).unwrap();
        let node = Node { id: "a".into(), ..Node::default() };
        let greeter = Service { nodes: vec![node], ..Service::new("greeter", "1") };
        first.register(&greeter, None).await.unwrap();
        let second = connect(&format!("memory://{name}")).unwrap();
        assert_eq!(second.get("greeter").await.unwrap(), [greeter]);
        let other = connect(&format!("memory://{name}-other")).unwrap();
        assert_eq!(other.get("greeter").await.unwrap_err().code(), Code::NotFound);
    }

    #[test]
    fn scheme_alone_is_enough() {
        assert_eq!(connect("memory").unwrap().name(), "memory");
    }

    #[test]
    fn unknown_scheme_names_the_known_ones_and_the_likeliest() {
        let error = connect("memry://x").unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.detail().contains("did you mean memory://?"), "{error}");
        let error = connect("zookeeper://x").unwrap_err();
        assert!(!error.detail().contains("did you mean"), "{error}");
        for scheme in ["auto", "local", "mdns", "memory"] {
            assert!(error.detail().contains(&format!("{scheme}://")), "{error}");
        }
    }

    #[test]
    fn folder_of_a_local_registry_is_absolute() {
        let error = connect("local://fleet").unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.detail().contains("local:///"), "{error}");
    }
}
