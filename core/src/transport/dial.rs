//! How a client comes by its connections: address, socket, TLS, and the beginning of HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::network::{Network, race};
use super::state::{Idling, Probing};
use super::tls::{ClientTls, Side, refused};
use crate::error::{Code, Error, Reach, Result};

/// How connections are made.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) timeout: Duration,
    /// A connection whose peer acknowledges nothing for this long is given up.
    pub(crate) unacknowledged: Duration,
    pub(crate) keepalive: Option<Duration>,
    /// Time a probed peer has to answer.
    pub(crate) keepalive_timeout: Duration,
    pub(crate) max_headers: u32,
    /// A connection without calls for so long is closed.
    pub(crate) idle: Option<Duration>,
    /// A connection that is as old takes no more calls.
    pub(crate) age: Option<Duration>,
}

impl Dial {
    /// Connects to `host:port`, or to one of several that are separated by commas and all belong to one node: each has a head
    /// start before the next, and the first that answers is taken. The connection keeps `place` for as long as it lasts, and
    /// goes when it is idle and the node has `left`. Addresses that begin with `https://`, have port 443 or no port use
    /// TLS even when none is configured, as in go-micro (wire reference 1.7), and so do nodes that the registry says speak it.
    /// What is behind `#` is the name to verify, unless the client has one of its own.
    pub(crate) async fn connect(
        &self,
        address: &str,
        left: watch::Receiver<bool>,
        place: OwnedSemaphorePermit,
    ) -> Result<Connection> {
        let unreached = |code, text: String| {
            Error::new(code, text).with_id("go.micro.client").with_reach(Reach::Never)
        };
        let (address, told) = match address.split_once('#') {
            Some((address, name)) => (address, Some(name)),
            None => (address, None),
        };
        let targets: Vec<_> = address
            .split(',')
            .map(|one| Target::parse(one.trim()))
            .collect::<Result<_>>()
            .map_err(|error| error.with_id("go.micro.client").with_reach(Reach::Never))?;
        let connect = race(&targets, |target| async move {
            let stream = self.network.connect(&target.address()).await?;
            stream.set_nodelay()?;
            stream.set_unacknowledged(self.unacknowledged)?;
            Ok((stream, target))
        });
        let idling =
            Idling { after: self.idle, age: self.age, left: Some(left), ..Idling::default() };
        let kept = (idling, place);
        let open = async {
            let (stream, target) = connect.await.map_err(|e| {
                unreached(Code::Unavailable, format!("cannot connect to {address}: {e}"))
            })?;
            let tls = match &self.tls {
                Some(tls) => tls.is_for(target.tls).then(|| tls.clone()),
                // Some hundred thousand bytes of authorities are read.
                None if target.tls => {
                    let system = tokio::task::spawn_blocking(ClientTls::system).await;
                    Some(system.unwrap_or_else(|_| ClientTls::system())?)
                }
                None => None,
            };
            let Some(tls) = tls else {
                return self.handshake(stream, Scheme::HTTP, target, kept).await;
            };
            let name = tls
                .name_for(&target.host, told)
                .map_err(|e| unreached(Code::InvalidArgument, format!("{address}: {e}")))?;
            let connector = TlsConnector::from(tls.current().await);
            let stream = connector.connect(name, stream).await.map_err(|e| {
                let why = refused(&e, Side::Client);
                unreached(Code::Unavailable, format!("TLS handshake with {address}: {why}"))
            })?;
            // A go-micro server with a plain TLS listener offers no ALPN at all; that is HTTP/2
            // by prior knowledge. Only a peer that insists on something else is refused.
            if stream.get_ref().1.alpn_protocol().is_some_and(|protocol| protocol != b"h2") {
                return Err(unreached(
                    Code::Unavailable,
                    format!("{address} speaks no HTTP/2 over TLS"),
                ));
            }
            self.handshake(stream, Scheme::HTTPS, target, kept).await
        };
        timeout(self.timeout, open).await.unwrap_or_else(|_| {
            Err(unreached(
                Code::Unavailable,
                format!("cannot connect to {address} within {:?}", self.timeout),
            ))
        })
    }

    async fn handshake<T>(
        &self,
        io: T,
        scheme: Scheme,
        target: &Target,
        (idling, place): (Idling, OwnedSemaphorePermit),
    ) -> Result<Connection>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let probing =
            self.keepalive.map(|every| Probing { every, patience: self.keepalive_timeout });
        let origin = (scheme, target.authority.clone());
        Connection::open(io, origin, self.max_headers, probing, idling, place).await
    }
}

struct Target {
    host: String,
    port: u16,
    authority: Authority,
    tls: bool,
}

impl Target {
    fn parse(address: &str) -> Result<Self> {
        let (tls, rest) = match address.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some((scheme, _)) => {
                return Err(Error::invalid_argument(format!(
                    "address `{address}`: scheme `{scheme}` is not known, use host:port"
                )));
            }
            None => (false, address),
        };
        let authority: Authority = rest.parse().map_err(|e| {
            Error::invalid_argument(format!("address `{address}` is not host:port: {e}"))
        })?;
        let port = authority.port_u16();
        if port.is_none() && authority.as_str().len() > authority.host().len() {
            return Err(Error::invalid_argument(format!(
                "address `{address}` is not host:port: ports go from 0 to 65535"
            )));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(Error::invalid_argument(format!("address `{address}` has no host")));
        }
        Ok(Self {
            tls: tls || port.is_none_or(|port| port == 443),
            port: port.unwrap_or(443),
            host,
            authority,
        })
    }

    /// `host:port`, with a port in any case.
    fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_follows_go_micros_rule_for_addresses() {
        for (address, tls, host, connected) in [
            ("127.0.0.1:80", false, "127.0.0.1", "127.0.0.1:80"),
            ("[::1]:8080", false, "::1", "[::1]:8080"),
            ("https://example.org:8443", true, "example.org", "example.org:8443"),
            ("example.org:443", true, "example.org", "example.org:443"),
            ("example.org", true, "example.org", "example.org:443"),
        ] {
            let target = Target::parse(address).expect(address);
            assert_eq!((target.tls, &*target.host, &*target.address()), (tls, host, connected));
        }
        for address in ["", ":80", "ftp://x:1", "a b:1", "x:99999999"] {
            let error = Target::parse(address).map(|_| ()).expect_err(address);
            assert_eq!(error.code(), Code::InvalidArgument, "{address}");
        }
    }
}
