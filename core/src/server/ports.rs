//! Addresses with a range of ports, of which the first free one is taken.

use std::io::{Error, ErrorKind, Result};
use std::ops::RangeInclusive;

/// A host, which may be empty, and the ports to try at it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ports<'a> {
    pub(super) host: &'a str,
    pub(super) range: RangeInclusive<u16>,
}

impl<'a> Ports<'a> {
    /// The range in `host:8000-8010`; `None` for an address with one port.
    ///
    /// # Errors
    /// `InvalidInput` for a range that is none.
    pub(super) fn of(address: &'a str) -> Result<Option<Self>> {
        let Some((host, ports)) = address.rsplit_once(':') else { return Ok(None) };
        let Some((first, last)) = ports.split_once('-') else { return Ok(None) };
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => {
                Ok(Some(Self { host, range: first..=last }))
            }
            _ => Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "`{ports}` is no range of ports: write the first and the last one, from 1 to 65535, as 8000-8010"
                ),
            )),
        }
    }

    /// The error when none of them is free.
    pub(super) fn taken(&self) -> Error {
        let (first, last) = (self.range.start(), self.range.end());
        Error::new(
            ErrorKind::AddrInUse,
            format!("none of the ports from {first} to {last} is free"),
        )
    }
}

/// True when another port may do.
pub(super) fn is_taken(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::network::Memory;
    use crate::server::{Server, ServerBuilder};

    fn server(network: &Arc<Memory>) -> ServerBuilder {
        Server::builder("echo").network(network.clone()).address("127.0.0.1:8000-8001")
    }

    #[tokio::test]
    async fn the_first_free_port_of_a_range_is_taken() {
        let network = Arc::new(Memory::new());
        let first = server(&network).start().await.expect("a free port");
        let second = server(&network).start().await.expect("another one");
        assert_eq!((first.address().port(), second.address().port()), (8000, 8001));
        let error = server(&network).start().await.expect_err("both are taken");
        let detail = error.detail();
        assert!(detail.contains("none of the ports from 8000 to 8001 is free"), "{error}");
    }

    #[test]
    fn a_range_stands_after_the_last_colon() {
        let ports = |host, range| Ok::<_, ErrorKind>(Some(Ports { host, range }));
        for (address, expected) in [
            ("10.0.0.1:8000-8010", ports("10.0.0.1", 8000..=8010)),
            (":8000-8000", ports("", 8000..=8000)),
            ("[::1]:1-65535", ports("[::1]", 1..=65535)),
            ("my-host:80", Ok(None)),
            ("my-host", Ok(None)),
            (":0", Ok(None)),
            (":8010-8000", Err(ErrorKind::InvalidInput)),
            (":0-8000", Err(ErrorKind::InvalidInput)),
            (":8000-", Err(ErrorKind::InvalidInput)),
            (":8000-65536", Err(ErrorKind::InvalidInput)),
            (":a-b", Err(ErrorKind::InvalidInput)),
        ] {
            assert_eq!(Ports::of(address).map_err(|e| e.kind()), expected, "{address}");
        }
    }
}
