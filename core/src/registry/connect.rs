//! A registry by URL, as options, flags and `MICRO_REGISTRY` name it.

use std::sync::Arc;

use super::{Auto, Local, Mdns, Memory, Registry};
use crate::error::{Error, Result};
use crate::spelling::{nearest, quoted};

type Open = fn(&str) -> Result<Arc<dyn Registry>>;

/// Where the environment names the registry of every service and client that sets none.
const VARIABLE: &str = "MICRO_REGISTRY";

/// Registries by the scheme of their URL. What follows `://` is theirs to read.
const SCHEMES: &[(&str, Open)] = &[
    ("memory", |name| Ok(Arc::new(Memory::named(name)))),
    ("local", |path| Ok(Arc::new(Local::from_url_path(path)?))),
    ("mdns", |rest| {
        let url = url::Url::parse(&format!("mdns://{rest}"))
            .map_err(|e| Error::invalid_argument(format!("mdns://{rest}: {e}")))?;
        Ok(Arc::new(Mdns::from_url(&url)?))
    }),
    ("auto", |_| Ok(Arc::new(Auto::new()))),
];

/// The registry that `url` names.
///
/// | URL | registry |
/// |---|---|
/// | `memory://`, `memory://name` | [`Memory::named`]: shared within this process |
/// | `local://`, `local:///var/run/fleet` | [`Local`]: shared on this machine, in a folder |
/// | `mdns://`, `mdns://lo?domain=micro&timeout=100ms` | [`Mdns`]: shared on this network segment |
/// | `auto://` | [`Auto`]: mDNS where multicast works, else `local`; the default |
///
/// A scheme alone, `memory`, does as well. A registry of one's own needs no URL: implement
/// [`Registry`] and hand it over as `Arc<dyn Registry>`.
///
/// ```
/// # fn main() -> micro::Result<()> {
/// let registry = micro::registry::connect("memory://orders")?;
/// assert_eq!(registry.name(), "memory");
/// # Ok(()) }
/// ```
///
/// # Errors
/// `INVALID_ARGUMENT` for an unknown scheme or a URL its registry cannot read; whatever opening
/// the registry failed with.
pub fn connect(url: &str) -> Result<Arc<dyn Registry>> {
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    match SCHEMES.iter().find(|(known, _)| *known == scheme) {
        Some((_, open)) => open(rest),
        None => Err(unknown(scheme)),
    }
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

fn unknown(scheme: &str) -> Error {
    let known = SCHEMES.iter().map(|(known, _)| *known);
    let hint = match nearest(scheme, known.clone()) {
        Some(known) => format!(": did you mean {known}://?"),
        None => String::new(),
    };
    let known: Vec<String> = known.map(|known| format!("{known}://")).collect();
    Error::invalid_argument(format!(
        "unknown registry {}{hint} (known: {})",
        quoted(scheme),
        known.join(", ")
    ))
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
        for (scheme, _) in SCHEMES {
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
