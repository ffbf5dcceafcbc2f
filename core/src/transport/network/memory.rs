//! Connections inside one process.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

use super::{Io, Listener, Network};
use crate::named::ByName;

/// Bytes that wait in one direction of a connection; more make the writer wait.
const CAPACITY: usize = 64 * 1024;
/// Connections that wait to be accepted; more make the connecting side wait.
const BACKLOG: usize = 128;
/// First of the ports given to those who ask for any.
const FIRST_PORT: u16 = 49_152;
/// First of the addresses given to names, as the number behind `10.`.
const FIRST_NAME: u32 = 1;

/// A network of its own inside this process: no sockets, no system calls, no ports that others
/// hold. Clones are the same network.
///
/// Addresses look like TCP's. An unspecified host, and `localhost`, is `127.0.0.1`; any other name
/// is given an address from `10.0.0.0/8` when it is first listened on, and can be connected to by
/// either. A connection to an address without a listener is refused; a listener that is dropped frees its
/// address.
///
/// See [the module](super) for an example.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    listeners: HashMap<SocketAddr, mpsc::Sender<Incoming>>,
    names: HashMap<Box<str>, IpAddr>,
    /// Ports given out, so that one is not given twice in a row.
    ports: u16,
}

type Incoming = (DuplexStream, SocketAddr);

struct Listening {
    network: Memory,
    address: SocketAddr,
    // `accept` takes a shared reference, for listeners that need no lock.
    incoming: tokio::sync::Mutex<mpsc::Receiver<Incoming>>,
}

/// Networks that `memory://name` shares within this process, as long as they are held.
static NAMED: LazyLock<ByName<Mutex<State>>> = LazyLock::new(ByName::default);

/// Makes what this file shares in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    LazyLock::force(&NAMED);
}

/// In a child of a fork.
pub(crate) fn in_child() {
    NAMED.begin_anew();
}

impl Memory {
    /// A network that has no listeners yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The network that this process knows by `name`, as `memory://name` does. It lives while
    /// a handle on it is held.
    pub fn named(name: &str) -> Self {
        Self(NAMED.get(name))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The address of `host`, if it has one.
    fn find(&self, host: &str) -> Option<IpAddr> {
        match host.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() => Some(Ipv4Addr::LOCALHOST.into()),
            Ok(ip) => Some(ip),
            Err(_) if host == "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            Err(_) => self.names.get(host).copied(),
        }
    }

    fn find_or_name(&mut self, host: &str) -> Result<IpAddr> {
        if let Some(ip) = self.find(host) {
            return Ok(ip);
        }
        let next = u32::try_from(self.names.len()).ok().map(|named| named + FIRST_NAME);
        let number = next
            .filter(|number| *number < 1 << 24)
            .ok_or_else(|| Error::new(ErrorKind::AddrNotAvailable, "more names than addresses"))?;
        let ip = IpAddr::from(Ipv4Addr::from(u32::from_be_bytes([10, 0, 0, 0]) | number));
        self.names.insert(host.into(), ip);
        Ok(ip)
    }

    fn free_port(&mut self, ip: IpAddr) -> Result<u16> {
        for _ in FIRST_PORT..=u16::MAX {
            let port = FIRST_PORT + self.ports;
            self.ports = (self.ports + 1) % (u16::MAX - FIRST_PORT);
            if !self.listeners.contains_key(&SocketAddr::new(ip, port)) {
                return Ok(port);
            }
        }
        Err(Error::new(ErrorKind::AddrInUse, "no port is free"))
    }
}

fn split(address: &str) -> Result<(&str, u16)> {
    let wrong = || Error::new(ErrorKind::InvalidInput, format!("`{address}` is not host:port"));
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok((host, port.parse().map_err(|_| wrong())?))
}

#[async_trait]
impl Network for Memory {
    async fn connect(&self, address: &str) -> Result<Io> {
        let (host, port) = split(address)?;
        let (listener, from) = {
            let mut state = self.state();
            let ip = state
                .find(host)
                .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no host `{host}`")))?;
            let listener = state.listeners.get(&SocketAddr::new(ip, port)).cloned();
            let own = IpAddr::from(Ipv4Addr::LOCALHOST);
            (listener, SocketAddr::new(own, state.free_port(own)?))
        };
        let refused = || Error::from(ErrorKind::ConnectionRefused);
        let place =
            listener.as_ref().ok_or_else(refused)?.reserve().await.map_err(|_| refused())?;
        let (ours, theirs) = duplex(CAPACITY);
        place.send((theirs, from));
        Ok(Io::new(ours))
    }

    async fn bind(&self, address: &str) -> Result<Box<dyn Listener>> {
        let (host, port) = split(address)?;
        let mut state = self.state();
        let ip = state.find_or_name(host)?;
        let port = if port == 0 { state.free_port(ip)? } else { port };
        let address = SocketAddr::new(ip, port);
        if state.listeners.contains_key(&address) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let (sender, incoming) = mpsc::channel(BACKLOG);
        state.listeners.insert(address, sender);
        let incoming = tokio::sync::Mutex::new(incoming);
        Ok(Box::new(Listening { network: self.clone(), address, incoming }))
    }
}

#[async_trait]
impl Listener for Listening {
    async fn accept(&self) -> Result<(Io, SocketAddr)> {
        match self.incoming.lock().await.recv().await {
            Some((stream, peer)) => Ok((Io::new(stream), peer)),
            // The network holds the sender for as long as this listens.
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.network.state().listeners.remove(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn exchange(network: &Memory, listener: &dyn Listener, address: &str) {
        let (near, far) = tokio::join!(network.connect(address), listener.accept());
        let (mut near, (mut far, _)) = (near.expect(address), far.expect("a connection"));
        near.write_all(b"ping").await.expect("room");
        near.shutdown().await.expect("an end");
        let mut read = String::new();
        far.read_to_string(&mut read).await.expect("the bytes");
        assert_eq!(read, "ping");
        far.write_all(b"pong").await.expect("the other half is open");
        drop(far);
        read.clear();
        near.read_to_string(&mut read).await.expect("the bytes");
        assert_eq!(read, "pong");
    }

    #[tokio::test]
    async fn a_listener_is_met_by_name_and_by_address() {
        let network = Memory::new();
        let listener = network.bind("greeter:80").await.expect("free");
        exchange(&network, &*listener, "greeter:80").await;
        let address = listener.address().expect("known").to_string();
        exchange(&network, &*listener, &address).await;
        let any = network.bind("0.0.0.0:0").await.expect("free");
        let port = any.address().expect("known").port();
        for host in ["127.0.0.1", "localhost", "0.0.0.0"] {
            exchange(&network, &*any, &format!("{host}:{port}")).await;
        }
        let six = network.bind("[::1]:80").await.expect("free");
        exchange(&network, &*six, "[::1]:80").await;
    }

    #[tokio::test]
    async fn where_no_server_listens_no_client_connects() {
        let network = Memory::new();
        let kind = async |address| network.connect(address).await.expect_err(address).kind();
        assert_eq!(kind("127.0.0.1:1").await, ErrorKind::ConnectionRefused);
        assert_eq!(kind("nobody:1").await, ErrorKind::NotFound);
        assert_eq!(kind("nobody").await, ErrorKind::InvalidInput);
        let listener = network.bind("greeter:80").await.expect("free");
        let taken = network.bind("greeter:80").await.map(|_| ()).expect_err("taken");
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let mut waiting = network.connect("greeter:80").await.expect("a place in the backlog");
        drop(listener);
        assert_eq!(waiting.read(&mut [0]).await.expect("an end"), 0);
        assert_eq!(kind("greeter:80").await, ErrorKind::ConnectionRefused);
        network.bind("greeter:80").await.map(drop).expect("free again");
    }

    #[tokio::test]
    async fn a_full_backlog_makes_callers_wait() {
        let network = Memory::new();
        let listener = network.bind("greeter:80").await.expect("free");
        let mut held = Vec::new();
        for _ in 0..BACKLOG {
            held.push(network.connect("greeter:80").await.expect("a place"));
        }
        let mut late = std::pin::pin!(network.connect("greeter:80"));
        assert!(futures_util::poll!(&mut late).is_pending());
        listener.accept().await.expect("the first");
        late.await.expect("a place");
    }
}
