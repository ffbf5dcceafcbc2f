//! A network by URL, as settings name it.

use std::sync::Arc;

use super::{Memory, Network, Tcp};
use crate::error::{Error, Result};
use crate::spelling::{nearest, quoted};

/// Schemes that [`connect`] knows.
const SCHEMES: [&str; 2] = ["tcp", "memory"];

/// The network that `url` names.
///
/// | URL | network |
/// |---|---|
/// | `tcp://` | [`Tcp`], the default |
/// | `memory://`, `memory://name` | [`Memory::named`]: shared within this process |
///
/// A scheme alone, `memory`, does as well. A network of one's own needs no URL: implement
/// [`Network`] and hand it over as `Arc<dyn Network>`.
///
/// ```
/// # fn main() -> micro::Result<()> {
/// let network = micro::network::connect("memory://orders")?;
/// let client = micro::Client::builder().network(network);
/// # Ok(()) }
/// ```
///
/// # Errors
/// `INVALID_ARGUMENT` for an unknown scheme, or `tcp://` with an address: those belong to services
/// and calls.
pub fn connect(url: &str) -> Result<Arc<dyn Network>> {
    match url.split_once("://").unwrap_or((url, "")) {
        ("memory", name) => Ok(Arc::new(Memory::named(name))),
        ("tcp", "") => Ok(Arc::new(Tcp)),
        ("tcp", rest) => Err(Error::invalid_argument(format!(
            "network {}: write tcp:// alone; addresses belong to services and calls",
            quoted(&format!("tcp://{rest}"))
        ))),
        (scheme, _) => {
            let hint = match nearest(scheme, SCHEMES) {
                Some(known) => format!(": did you mean {known}://?"),
                None => String::new(),
            };
            Err(Error::invalid_argument(format!(
                "unknown network {}{hint} (known: tcp://, memory://)",
                quoted(scheme)
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[tokio::test]
    async fn memory_of_one_name_is_one_network() {
        let name = format!("memory://{}", uuid::Uuid::new_v4());
        let near = connect(&name).unwrap();
        let _listening = near.bind("greeter:80").await.unwrap();
        assert!(connect(&name).unwrap().connect("greeter:80").await.is_ok());
        let other = connect(&format!("{name}-other")).unwrap();
        assert!(other.connect("greeter:80").await.is_err());
    }

    #[test]
    fn a_scheme_alone_is_enough() {
        assert_eq!(format!("{:?}", connect("tcp").unwrap()), "Tcp");
        assert_eq!(format!("{:?}", connect("tcp://").unwrap()), "Tcp");
        assert!(connect("memory").is_ok());
    }

    #[test]
    fn unknown_networks_are_told_the_known_ones() {
        for (url, hint) in [
            ("memry://x", "did you mean memory://?"),
            ("udp://", "did you mean tcp://?"),
            ("", "known: tcp://, memory://"),
            ("tcp://127.0.0.1:80", "write tcp:// alone"),
        ] {
            let error = connect(url).map(|_| ()).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(error.detail().contains(hint), "{url}: {error}");
        }
    }
}
