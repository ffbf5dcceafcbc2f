//! The way from callers to one node: a relay that can be slow or stall.
//!
//! `tc netem` would do the same in the kernel, but many kernels are built without it. To TCP's user
//! a lossy link is one that stalls now and then for as long as a retransmission takes, so that is
//! what a loss is here.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::Outcome;

/// Chunks on their way; then the sender has to wait, as with a full buffer of a router.
const UNDERWAY: usize = 64;
const CHUNK: usize = 16 * 1024;
/// Shortest time TCP waits until it sends a lost segment again.
const RETRANSMISSION: Duration = Duration::from_millis(200);
const CONNECT: Duration = Duration::from_secs(2);

/// How a link behaves, either way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Weather {
    /// What every chunk takes.
    pub(crate) delay: Duration,
    /// Part of the chunks that are lost and sent again.
    pub(crate) loss: f64,
}

/// A link to one node. Dropped, it cuts its connections.
#[derive(Debug)]
pub(crate) struct Link {
    /// Where callers connect.
    pub(crate) address: SocketAddr,
    weather: Arc<Mutex<Weather>>,
    _relay: JoinSet<()>,
}

impl Link {
    /// A link to the process that listens at `node`.
    pub(crate) async fn to(node: SocketAddr) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let weather = Arc::<Mutex<Weather>>::default();
        let mut relay = JoinSet::new();
        relay.spawn(accept(listener, node, weather.clone()));
        Ok(Self { address, weather, _relay: relay })
    }

    pub(crate) fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }
}

async fn accept(listener: TcpListener, node: SocketAddr, weather: Arc<Mutex<Weather>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((caller, _)) = accepted else { continue };
                connections.spawn(relay(caller, node, weather.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn relay(caller: TcpStream, node: SocketAddr, weather: Arc<Mutex<Weather>>) {
    let Ok(Ok(node)) = timeout(CONNECT, TcpStream::connect(node)).await else { return };
    let _ = (caller.set_nodelay(true), node.set_nodelay(true));
    let (from_caller, to_caller) = caller.into_split();
    let (from_node, to_node) = node.into_split();
    // The end of one direction is passed on, and the other may still say its last words.
    tokio::join!(carry(from_caller, to_node, &weather), carry(from_node, to_caller, &weather));
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    weather: &Mutex<Weather>,
) {
    let (sender, mut underway) = mpsc::channel::<(Instant, Vec<u8>)>(UNDERWAY);
    let read = async {
        let mut buffer = vec![0; CHUNK];
        // Nothing overtakes what was sent before.
        let mut last = Instant::now();
        while let Ok(length) = from.read(&mut buffer).await
            && length > 0
        {
            let now = *weather.lock().unwrap_or_else(PoisonError::into_inner);
            let lost = now.loss > 0.0 && fastrand::f64() < now.loss;
            let again = if lost { RETRANSMISSION } else { Duration::ZERO };
            last = last.max(Instant::now() + now.delay + again);
            if sender.send((last, buffer[..length].to_vec())).await.is_err() {
                break;
            }
        }
        drop(sender);
    };
    let write = async {
        while let Some((at, chunk)) = underway.recv().await {
            if at > Instant::now() {
                sleep_until(at).await;
            }
            if to.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
        underway.close();
    };
    tokio::join!(read, write);
}
