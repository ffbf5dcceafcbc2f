//! What peers can make a server hold, in bytes, places and time, and that others are served meanwhile.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::{ResponseFuture, SendRequest};
use http::{Method, Request};
use micro::network::{Io, Memory, Network as _};
use micro::server::{Endpoint, Server, ServerBuilder};
use micro::{Context, Error, Raw, Streaming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

const MIB: usize = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// A server on a network of its own, with an echo and an endpoint whose calls wait until they are let go.
struct BoundedServer {
    server: Server,
    network: Arc<Memory>,
    inside: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    released: Arc<Semaphore>,
}

impl BoundedServer {
    async fn with(set: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let network = Arc::new(Memory::new());
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let released = Arc::new(Semaphore::new(0));
        let (counter, peak, gate) = (inside.clone(), most.clone(), released.clone());
        let hold = Endpoint::unary("Echo.Hold", move |_: Context, _: Raw| {
            let (counter, peak, gate) = (counter.clone(), peak.clone(), gate.clone());
            async move {
                let now = counter.fetch_add(1, Ordering::SeqCst) + 1;
                peak.fetch_max(now, Ordering::SeqCst);
                gate.acquire().await.expect("never closed").forget();
                counter.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Error>(Raw::from("done"))
            }
        });
        let echo = |_: Context, request: Raw| async move { Ok::<_, Error>(request) };
        let count = |_: Context, mut requests: Streaming<Raw>| async move {
            let mut count = 0;
            while requests.message().await?.is_some() {
                count += 1;
            }
            Ok::<_, Error>(Raw::from(count.to_string()))
        };
        let builder = Server::builder("echo")
            .network(network.clone())
            .address("127.0.0.1:0")
            .handle(Endpoint::unary("Echo.Call", echo))
            .handle(Endpoint::client_stream("Echo.Count", count))
            .handle(hold);
        let server = set(builder).start().await.expect("the server starts");
        Self { server, network, inside, most, released }
    }

    async fn connect(&self) -> Io {
        self.network.connect(&self.server.address().to_string()).await.expect("a connection")
    }

    async fn http2(&self) -> SendRequest<Bytes> {
        let (sender, connection) =
            h2::client::handshake(self.connect().await).await.expect("a handshake");
        tokio::spawn(connection);
        sender
    }

    /// Waits until so many calls are in the handler.
    async fn holds(&self, calls: usize) {
        let there = async {
            while self.inside.load(Ordering::SeqCst) != calls {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, there).await.expect("the calls arrive");
    }
}

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(message).expect("memory");
    encoder.finish().expect("memory")
}

fn frame(flag: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a length");
    [&[flag], &length.to_be_bytes()[..], message].concat().into()
}

fn request(endpoint: &str) -> Request<()> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://echo/echo.Echo/{endpoint}"))
        .header("content-type", "application/grpc")
        .header("grpc-encoding", "gzip")
        .header("te", "trailers")
        .body(())
        .expect("a request")
}

/// Sends a call with what there is of its body.
async fn begin(
    sender: &SendRequest<Bytes>,
    endpoint: &str,
    body: Bytes,
    end: bool,
) -> (ResponseFuture, h2::SendStream<Bytes>) {
    let mut sender = sender.clone().ready().await.expect("a connection");
    let (response, mut sending) = sender.send_request(request(endpoint), false).expect("a stream");
    sending.send_data(body, end).expect("sent");
    (response, sending)
}

/// gRPC's status of an answer.
async fn status(response: ResponseFuture) -> String {
    let (parts, mut body) = response.await.expect("an answer").into_parts();
    while let Some(data) = body.data().await {
        let data = data.expect("data");
        let _ = body.flow_control().release_capacity(data.len());
    }
    let trailers = body.trailers().await.expect("an end").unwrap_or_default();
    let status = trailers.get("grpc-status").or_else(|| parts.headers.get("grpc-status"));
    status.and_then(|status| status.to_str().ok()).unwrap_or("none").to_owned()
}

/// An honest call on a connection of its own.
async fn honest(bounded: &BoundedServer) {
    let (response, _sending) =
        begin(&bounded.http2().await, "Call", frame(0, b"hello"), true).await;
    assert_eq!(timeout(PATIENCE, status(response)).await.expect("an answer in time"), "0");
}

#[tokio::test]
async fn packed_calls_wait_until_there_is_room_for_what_they_inflate_to() {
    let bounded = BoundedServer::with(|server| {
        server.max_message_size(MIB).max_buffered(16 * MIB).max_buffered_per_connection(4 * MIB)
    })
    .await;
    let packed = frame(1, &gzip(&vec![0; MIB]));
    let greedy = bounded.http2().await;
    let calls = join_all((0..50).map(|_| begin(&greedy, "Hold", packed.clone(), true))).await;
    bounded.holds(4).await;
    honest(&bounded).await;
    bounded.released.add_permits(50);
    let ended = join_all(calls.into_iter().map(|(response, _)| status(response))).await;
    assert_eq!(ended, ["0"; 50], "they are served one after the other");
    assert_eq!(bounded.most.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn unfinished_messages_that_wait_for_each_other_are_refused_and_others_served() {
    let bounded = BoundedServer::with(|server| {
        server.max_message_size(MIB).max_buffered_per_connection(4 * MIB).max_buffered(16 * MIB)
    })
    .await;
    let greedy = bounded.http2().await;
    // Each lacks its last byte; together they are more than the connection may hold.
    let whole = frame(0, &vec![7; 64 * 1024]);
    let most = whole.slice(..whole.len() - 1);
    let calls = join_all((0..100).map(|_| begin(&greedy, "Call", most.clone(), false))).await;
    honest(&bounded).await;
    let ends = calls.into_iter().map(|(response, sending)| async move {
        let status = status(response).await;
        drop(sending);
        status
    });
    let ended = timeout(Duration::from_secs(200), join_all(ends)).await.expect("an end of each");
    let count = |code: &str| ended.iter().filter(|ended| *ended == code).count();
    // RESOURCE_EXHAUSTED where no room was, DEADLINE_EXCEEDED where the last byte never came.
    assert!(count("8") > 0 && count("4") > 0 && count("8") + count("4") == 100, "{ended:?}");
    honest(&bounded).await;
}

#[tokio::test]
async fn large_heads_are_refused_beyond_what_a_connection_may_hold() {
    let bounded = BoundedServer::with(|server| {
        server.max_message_size(1024).max_buffered(MIB).max_buffered_per_connection(256 * 1024)
    })
    .await;
    let greedy = bounded.http2().await;
    let mut calls = Vec::new();
    for _ in 0..40 {
        let mut sender = greedy.clone().ready().await.expect("a connection");
        let mut request = request("Hold");
        let value = "x".repeat(14_000).parse().expect("a value");
        request.headers_mut().insert("x-large", value);
        let (response, mut sending) = sender.send_request(request, false).expect("a stream");
        sending.send_data(frame(0, b"x"), true).expect("sent");
        calls.push(response);
    }
    bounded.holds(256 / 14).await;
    honest(&bounded).await;
    bounded.released.add_permits(40);
    let ended = join_all(calls.into_iter().map(status)).await;
    assert_eq!(ended.iter().filter(|ended| *ended == "0").count(), 256 / 14, "{ended:?}");
}

#[tokio::test]
async fn heads_without_messages_keep_no_place_from_others() {
    let bounded = BoundedServer::with(|server| server.max_concurrent_calls(16)).await;
    let mut unfinished = Vec::new();
    for _ in 0..4 {
        let greedy = bounded.http2().await;
        for _ in 0..500 {
            unfinished.push(begin(&greedy, "Call", Bytes::new(), false).await);
        }
    }
    honest(&bounded).await;
    // An honest caller whose message comes after its head is waited for, too.
    let late = bounded.http2().await;
    let (response, mut sending) = begin(&late, "Call", Bytes::new(), false).await;
    honest(&bounded).await;
    sending.send_data(frame(0, b"hello"), true).expect("sent");
    assert_eq!(status(response).await, "0");
}

#[tokio::test]
async fn the_last_places_are_shared_by_all_connections() {
    let bounded = BoundedServer::with(|server| server.max_concurrent_calls(80)).await;
    let (greedy, modest) = (bounded.http2().await, bounded.http2().await);
    let mut calls = join_all((0..75).map(|_| begin(&greedy, "Hold", frame(0, b"x"), true))).await;
    bounded.holds(70).await;
    let refused = calls.split_off(70);
    let refused = join_all(refused.into_iter().map(|(response, _)| status(response))).await;
    assert_eq!(refused, ["8"; 5], "RESOURCE_EXHAUSTED");
    calls.push(begin(&modest, "Hold", frame(0, b"x"), true).await);
    bounded.holds(71).await;
    bounded.released.add_permits(80);
    let ended = join_all(calls.into_iter().map(|(response, _)| status(response))).await;
    assert_eq!(ended, ["0"; 71]);
}

/// Everything that comes until the connection is closed.
async fn rest(io: &mut Io) -> String {
    let mut rest = Vec::new();
    // Closed or reset.
    let _ = io.read_to_end(&mut rest).await;
    String::from_utf8_lossy(&rest).into_owned()
}

const HEAD: &str =
    "POST /echo.Echo/Call HTTP/1.1\r\nhost: echo\r\ncontent-type: application/json\r\n";

/// One call over HTTP/1.1; how the answer begins.
async fn call(io: &mut Io) -> String {
    let whole = format!("{HEAD}content-length: 2\r\n\r\n{{}}");
    io.write_all(whole.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"{}") {
        assert!(io.read_buf(&mut answer).await.expect("an answer") > 0, "the connection goes on");
    }
    String::from_utf8_lossy(&answer[..12]).into_owned()
}

#[tokio::test(start_paused = true)]
async fn a_resting_connection_outlasts_the_proxies_and_not_for_ever() {
    let bounded = BoundedServer::with(|server| server).await;
    let mut io = bounded.connect().await;
    for _ in 0..3 {
        assert_eq!(call(&mut io).await, "HTTP/1.1 200");
        sleep(Duration::from_secs(65)).await;
    }
    assert_eq!(call(&mut io).await, "HTTP/1.1 200");
    let idle = Instant::now();
    assert_eq!(rest(&mut io).await, "");
    assert_eq!(idle.elapsed().as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_has_begun_comes_to_its_end_or_the_connection_does() {
    let bounded = BoundedServer::with(|server| server).await;
    let mut first = bounded.connect().await;
    first.write_all(&HEAD.as_bytes()[..9]).await.expect("sent");
    let mut second = bounded.connect().await;
    assert_eq!(call(&mut second).await, "HTTP/1.1 200");
    sleep(Duration::from_secs(40)).await;
    let begun = Instant::now();
    second.write_all(&HEAD.as_bytes()[..9]).await.expect("sent");
    rest(&mut second).await;
    assert_eq!(begun.elapsed().as_secs(), 10);
    rest(&mut first).await;
    assert_eq!(begun.elapsed().as_secs(), 10);
    // HTTP/2: a header block without its end.
    let mut block = bounded.connect().await;
    let begun = Instant::now();
    block.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
    block.write_all(&[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x83]).await.expect("sent");
    rest(&mut block).await;
    assert!((10..12).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn bodies_that_stand_still_end_and_slow_ones_go_on() {
    let bounded = BoundedServer::with(|server| server.max_concurrent_calls(8)).await;
    let mut unfinished = Vec::new();
    for _ in 0..20 {
        let mut io = bounded.connect().await;
        let half = format!("{HEAD}content-length: 100\r\n\r\n\"half");
        io.write_all(half.as_bytes()).await.expect("sent");
        unfinished.push(io);
    }
    let mut honest = bounded.connect().await;
    assert_eq!(call(&mut honest).await, "HTTP/1.1 200");
    let slow = async {
        let mut slow = bounded.connect().await;
        let head = format!("{HEAD}content-length: 500002\r\n\r\n\"");
        slow.write_all(head.as_bytes()).await.expect("sent");
        for _ in 0..50 {
            sleep(Duration::from_secs(2)).await;
            slow.write_all(&[b'x'; 10_000]).await.expect("sent");
        }
        slow.write_all(b"\"").await.expect("sent");
        let mut answer = [0; 12];
        slow.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
    };
    let begun = Instant::now();
    let still = async {
        for io in &mut unfinished {
            let answer = rest(io).await;
            assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
            assert!((30..35).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        }
    };
    tokio::join!(slow, still);
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_stream_that_has_begun_comes_to_its_end_or_the_call_does() {
    let bounded = BoundedServer::with(|server| server).await;
    let sender = bounded.http2().await;
    let (response, mut sending) = begin(&sender, "Count", frame(0, b"whole"), false).await;
    // A stream may be silent for as long as it likes between messages.
    sleep(Duration::from_secs(600)).await;
    sending.send_data(frame(0, b"half").slice(..7), false).expect("sent");
    let begun = Instant::now();
    assert_eq!(status(response).await, "4", "DEADLINE_EXCEEDED");
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_rests_for_longest_makes_room_for_a_new_one() {
    let bounded = BoundedServer::with(|server| server.max_connections(3)).await;
    let busy = bounded.http2().await;
    let (response, _sending) = begin(&busy, "Hold", frame(0, b"x"), true).await;
    bounded.holds(1).await;
    let mut resting = bounded.connect().await;
    assert_eq!(call(&mut resting).await, "HTTP/1.1 200");
    sleep(Duration::from_secs(5)).await;
    let mut fresh = bounded.connect().await;
    assert_eq!(call(&mut fresh).await, "HTTP/1.1 200");
    honest(&bounded).await;
    assert_eq!(rest(&mut resting).await, "");
    assert_eq!(call(&mut fresh).await, "HTTP/1.1 200");
    bounded.released.add_permits(1);
    assert_eq!(status(response).await, "0");
}
