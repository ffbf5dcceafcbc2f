//! Accepts connections and ends them in order: no new calls, running calls finish, then the rest.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;

use super::connection::{self, Connection, Connections};
use super::descriptors;
use super::dispatch::{Dispatch, Link, Peer};
use super::ports::{Ports, is_taken};
use super::protocol::answer;
use super::reply::{ReplyBody, Served};
use crate::error::{Error, Result};
use crate::middleware::in_place;
use crate::time::deadline_after;
use crate::transport::network::{Io, Listener, Network};
use crate::transport::{Accepted, Batched, ServerTls};

/// What the system says when this process, or all of them, have as many files open as they may: EMFILE and ENFILE.
const NO_DESCRIPTORS: i32 = 24;
const NO_DESCRIPTORS_AT_ALL: i32 = 23;
/// Pause after a failed accept, which is nearly always a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// New streams of a connection that may be reset before they are looked at. A busy server comes late
/// to calls whose deadlines are short; ending the connection for them, as HTTP/2 libraries do from
/// twenty on, takes the calls of others along. A peer that resets more of them at once is an attacker.
const MAX_GIVEN_UP: usize = 256;
/// Streams of a connection that may end by a mistake of its peer, or have a frame come late after they were refused in the
/// middle of a message. This is counted over the whole life of a connection, and each may cost the work of a call.
const MAX_MISTAKES: usize = 4096;
/// A connection that was told to go away for its age gets this long to finish its calls.
const AGE_GRACE: Duration = Duration::from_secs(30);
/// An idle one that has to make room gets this long to say goodbye.
const IDLE_GRACE: Duration = Duration::from_millis(250);

/// Bounds on connections; see the methods of [`super::ServerBuilder`] of the same names.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// `None` is as many as usual, and as the system lets us have.
    pub(super) max_connections: Option<usize>,
    pub(super) max_streams: u32,
    pub(super) max_headers: u32,
    pub(super) keepalive: Option<Duration>,
    pub(super) max_connection_age: Option<Duration>,
    pub(super) handshake: Duration,
    /// How long a connection of HTTP/1.1 may be idle.
    pub(super) idle: Duration,
    pub(super) max_unsent: usize,
    pub(super) max_buffered: usize,
    pub(super) max_buffered_per_connection: usize,
    pub(super) tls: Option<ServerTls>,
}

/// Connections at once, unless set.
const MAX_CONNECTIONS: usize = 10_000;

impl Limits {
    /// Connections that may be open at once: no more than there are descriptors for.
    fn connections(&self) -> usize {
        let wanted = self.max_connections.unwrap_or(MAX_CONNECTIONS);
        let Some(possible) = descriptors::connections().filter(|possible| *possible < wanted)
        else {
            return wanted;
        };
        if self.max_connections.is_some() {
            tracing::warn!(
                max_connections = wanted,
                possible,
                "the limit of open files allows for fewer connections than max_connections: raise it (ulimit -n)"
            );
        } else {
            tracing::info!(
                possible,
                "connections are bounded by the limit of open files (ulimit -n)"
            );
        }
        possible
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Connections are asked to end: GOAWAY, and running calls finish.
    Draining,
    /// Connections are closed whatever runs on them.
    Closed,
}

/// Waits until the server is past `phase`, or gone.
async fn past(watched: &mut watch::Receiver<Phase>, phase: Phase) {
    // The guard `wait_for` returns must not live across the caller's awaits.
    let _ = watched.wait_for(|now| *now > phase).await.map(drop);
}

/// A server that is listening.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    phase: watch::Sender<Phase>,
    connections: TaskTracker,
    accepting: JoinHandle<()>,
}

impl Listening {
    pub(super) async fn bind(
        network: &dyn Network,
        address: &str,
        limits: Limits,
        dispatch: Arc<Dispatch>,
    ) -> Result<Self> {
        let listener = listen(network, address).await.map_err(|e| {
            let is_port = !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_digit());
            let hint =
                if is_port { format!(": did you mean `:{address}`?") } else { String::new() };
            Error::unavailable(format!("cannot listen on {address}: {e}{hint}")).with_source(e)
        })?;
        let address = listener.address()?;
        let phase = watch::Sender::new(Phase::Serving);
        let connections = TaskTracker::new();
        let accepting = tokio::spawn(accept(
            listener,
            limits,
            dispatch,
            phase.subscribe(),
            connections.clone(),
        ));
        Ok(Self { address, phase, connections, accepting })
    }

    /// Ends the server: stops accepting, sends GOAWAY, lets running calls finish until `grace` has
    /// passed and closes what is left. True when nothing had to be closed by force.
    pub(super) async fn drain(&self, grace: Duration) -> bool {
        let deadline = deadline_after(grace);
        self.phase.send_replace(Phase::Draining);
        self.connections.close();
        let clean = timeout_at(deadline, self.connections.wait()).await.is_ok();
        self.phase.send_replace(Phase::Closed);
        self.connections.wait().await;
        clean
    }
}

/// Listens on `address`, or on its first port that is free where it has a range of them.
async fn listen(network: &dyn Network, address: &str) -> std::io::Result<Box<dyn Listener>> {
    let Some(ports) = Ports::of(address)? else { return listen_at(network, address).await };
    for port in ports.range.clone() {
        match listen_at(network, &format!("{}:{port}", ports.host)).await {
            Err(error) if is_taken(&error) => {}
            other => return other,
        }
    }
    Err(ports.taken())
}

/// Listens on one port. go-micro writes `:0` for any address and port: both families where the machine has IPv6, else IPv4.
async fn listen_at(network: &dyn Network, address: &str) -> std::io::Result<Box<dyn Listener>> {
    let Some(port) = address.strip_prefix(':') else { return network.bind(address).await };
    match network.bind(&format!("[::]:{port}")).await {
        // A program that has the port on one family must not go unnoticed.
        Err(error) if !is_taken(&error) => network.bind(&format!("0.0.0.0:{port}")).await,
        bound => bound,
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Closed);
        self.accepting.abort();
    }
}

async fn accept(
    listener: Box<dyn Listener>,
    limits: Limits,
    dispatch: Arc<Dispatch>,
    mut phase: watch::Receiver<Phase>,
    connections: TaskTracker,
) {
    let bytes = connection::Bytes {
        max_buffered: limits.max_buffered,
        per_connection: limits.max_buffered_per_connection,
        max_message: dispatch.max_message,
        max_unsent: limits.max_unsent,
    };
    let count = dispatch.admission.connections.clone();
    let open = Connections::new(limits.connections(), bytes, count);
    let limits = Arc::new(limits);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = past(&mut phase, Phase::Serving) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if open.says() {
                    tracing::warn!(%error, "cannot accept a connection: is the limit of open files (ulimit -n) too low?");
                }
                if matches!(error.raw_os_error(), Some(NO_DESCRIPTORS | NO_DESCRIPTORS_AT_ALL)) {
                    open.ask_idlest("there are no descriptors for another connection");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // At the limit, further peers wait in the system's backlog.
        let place = tokio::select! {
            place = open.place() => place,
            () = past(&mut phase, Phase::Serving) => return,
        };
        let Some(place) = place else { return };
        let (limits, dispatch, phase) = (limits.clone(), dispatch.clone(), phase.clone());
        let opened = open.open(peer, place);
        connections.spawn(async move {
            serve(stream, &opened.connection, &limits, dispatch, phase).await;
        });
    }
}

async fn serve(
    stream: Io,
    connection: &Arc<Connection>,
    limits: &Limits,
    dispatch: Arc<Dispatch>,
    mut phase: watch::Receiver<Phase>,
) {
    let address = connection.address;
    let mut closed = phase.clone();
    let opened = tokio::select! {
        opened = Accepted::open(stream, limits.tls.as_ref(), limits.handshake) => opened,
        // A peer that has said nothing yet has nothing to finish.
        () = past(&mut phase, Phase::Serving) => return,
        () = connection.asked_to_leave() => return,
    };
    let mut io = match opened {
        Ok(io) => io,
        Err(error) => {
            tracing::debug!(%address, %error, "connection refused");
            return;
        }
    };
    let returned = io.returned();
    let http2 = io.is_http2();
    let link = Arc::new(Link { dispatch, connection: connection.clone(), said: io.said() });
    let turns = io.turns();
    // Boxed, because hyper moves the future several times before it runs.
    let answer = move |request| {
        // Its task may wait for the processor, and that time is the call's.
        let peer = Peer { link: link.clone(), misdirected: false, arrived: Instant::now() };
        in_place(|| answer(request, peer))
    };
    let (io, timer) = (TokioIo::new(io), TokioTimer::new());
    if http2 {
        let service = service_fn(answer);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(timer)
            .max_concurrent_streams(limits.max_streams)
            .max_header_list_size(limits.max_headers)
            .max_pending_accept_reset_streams(MAX_GIVEN_UP)
            .max_local_error_reset_streams(MAX_MISTAKES)
            .keep_alive_interval(limits.keepalive)
            .auto_date_header(false);
        let serving = Batched::new(builder.serve_connection(io, service));
        serve_to_the_end(serving, connection, limits, phase).await;
    } else {
        let service = service_fn(move |request| {
            let (turn, answered) = (turns.begin(), answer(request));
            async move { answered.await.map(|response| response.map(|body| Served::new(body, turn))) }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(timer)
            // Of a head that has not begun; one that has is bounded below.
            .header_read_timeout(limits.idle)
            .max_header_size(limits.max_headers as usize)
            .auto_date_header(false);
        serve_to_the_end(builder.serve_connection(io, service), connection, limits, phase).await;
    }
    if connection.is_leaving() {
        // Another connection waits for its place, and it had nothing under way.
        return;
    }
    let linger = async {
        if let Ok(io) = returned.await {
            io.linger().await;
        }
    };
    tokio::select! {
        () = linger => {}
        () = past(&mut closed, Phase::Draining) => {}
    }
}

/// Serves the calls of a connection until it ends, by itself, for its age or with the server.
async fn serve_to_the_end(
    serving: impl Serving,
    connection: &Connection,
    limits: &Limits,
    mut phase: watch::Receiver<Phase>,
) {
    let address = connection.address;
    let mut closed = phase.clone();
    let mut serving = std::pin::pin!(serving);
    let age = async {
        match limits.max_connection_age {
            // A tenth of spread, so that connections made together do not end together.
            Some(age) => sleep(age.mul_f64(0.9 + 0.2 * fastrand::f64())).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = serving.as_mut() => return log_end(address, ended),
        () = age => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                ended = serving.as_mut() => return log_end(address, ended),
                () = sleep(AGE_GRACE) => return,
                () = past(&mut closed, Phase::Serving) => {}
            }
        }
        () = connection.asked_to_leave() => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                ended = serving.as_mut() => return log_end(address, ended),
                () = farewell(connection) => return,
                () = past(&mut closed, Phase::Serving) => {}
            }
        }
        () = past(&mut phase, Phase::Serving) => {
            serving.as_mut().graceful_shutdown();
        }
    }
    tokio::select! {
        ended = serving.as_mut() => log_end(address, ended),
        () = past(&mut closed, Phase::Draining) => {}
    }
}

/// Waits for as long as a connection that has to make room may stay. A call that came at the last moment is not cut off.
async fn farewell(connection: &Connection) {
    sleep(IDLE_GRACE).await;
    if connection.has_calls() {
        sleep(AGE_GRACE).await;
    }
}

/// A connection that is being served, of either version of HTTP.
trait Serving: Future<Output = hyper::Result<()>> {
    /// Lets running calls finish and takes no more.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<S, E> Serving for Batched<http2::Connection<TokioIo<Accepted>, S, E>>
where
    S: HttpService<Incoming, ResBody = ReplyBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: Http2ServerConnExec<S::Future, ReplyBody>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.connection().graceful_shutdown();
    }
}

impl<S> Serving for http1::Connection<TokioIo<Accepted>, S>
where
    S: HttpService<Incoming, ResBody = Served>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http1::Connection::graceful_shutdown(self);
    }
}

fn log_end(address: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "connection ended");
    }
}
