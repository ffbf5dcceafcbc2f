//! Connections that are abused: floods of resets, silence, what is no HTTP, requests that end late.

use std::time::Duration;

use futures_util::stream;
use h2::Reason;
use micro::server::{Endpoint, Server};
use micro::{Context, Raw, Result, Streaming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, connect, echoes, frame, proper, server, unharmed};

#[tokio::test]
async fn flood_of_resets_ends_its_own_connection_at_most() {
    let server = server(|builder| builder).await;
    let sender = connect(&server).await;
    for _ in 0..5_000 {
        let Ok(mut ready) = sender.clone().ready().await else { break };
        let Ok((_, mut sending)) = ready.send_request(proper(&server), false) else { break };
        sending.send_reset(Reason::CANCEL);
    }
    unharmed(&server).await;
}

/// Deadlines of many callers may pass before a busy server looks at their calls.
#[tokio::test]
async fn many_calls_given_up_at_once_leave_the_connection_to_others() {
    let server = server(|builder| builder).await;
    let sender = connect(&server).await;
    let mut ready = sender.clone().ready().await.expect("a connection");
    // The server shares this thread: it sees them all together, as a busy one would.
    for _ in 0..100 {
        let (_, mut sending) = ready.send_request(proper(&server), false).expect("a stream");
        sending.send_reset(Reason::CANCEL);
    }
    echoes(&server, &sender).await;
    unharmed(&server).await;
}

#[tokio::test]
async fn peer_that_goes_away_in_the_middle_leaves_no_call_behind() {
    let server = server(|builder| builder).await;
    let sender = connect(&server).await;
    let mut ready = sender.ready().await.expect("a connection");
    let (response, mut sending) = ready.send_request(proper(&server), false).expect("a stream");
    sending.send_data(frame(0, b"hello").slice(..7), false).expect("half a message");
    let begun = async {
        while server.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, begun).await.expect("the call arrives");
    drop((ready, response, sending));
    unharmed(&server).await;
}

#[tokio::test]
async fn connection_that_is_no_http_is_closed() {
    let server = server(|builder| builder).await;
    for noise in [&b"PRI * HTTP/2.0\r\n\r\nno\r\n\r\n"[..], b"\x16\x03\x01\x02\0\x01", &[0; 64]] {
        let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
        stream.write_all(noise).await.expect("sent");
        let mut rest = Vec::new();
        // Closed or reset, after whatever farewell there may be.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end in time");
        unharmed(&server).await;
    }
}

#[tokio::test]
async fn silent_connection_is_closed_after_the_handshake_timeout() {
    let server = server(|builder| builder.handshake_timeout(Duration::from_millis(50))).await;
    let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end in time");
    assert!(rest.is_empty());
    unharmed(&server).await;
}

/// One HTTP/2 frame as it is on the wire.
fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// HPACK of a header that is in no table.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).expect("a short text");
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

const DATA: u8 = 0;

const HEADERS: u8 = 1;

const END_STREAM: u8 = 1;

const END_HEADERS: u8 = 4;

/// Reads frames until `calls` answers have ended.
async fn answers(stream: &mut TcpStream, calls: usize) {
    let mut ended = 0;
    while ended < calls {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame: the connection goes on");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.expect("the rest of a frame");
        assert_ne!(head[3], 7, "GOAWAY: {}", String::from_utf8_lossy(&payload));
        ended += usize::from(matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0);
    }
}

/// Makes calls that are answered before their request has ended, and whose end comes when that has long been sent: more of them
/// than HTTP/2 libraries remember of calls they have put aside.
async fn ends_late(server: &Server, content_type: &str, path: &str) {
    let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("a preface");
    stream.write_all(&raw(4, 0, 0, &[])).await.expect("settings");
    let head = [
        &[0x83, 0x86][..],
        &literal(":path", path),
        &literal(":authority", "echo"),
        &literal("content-type", content_type),
        &literal("te", "trailers"),
    ]
    .concat();
    let calls = 100;
    for batch in 0..30 {
        let streams = (0..calls).map(|call| 2 * (batch * calls + call) + 1);
        let begun: Vec<u8> = streams
            .clone()
            .flat_map(|id| {
                [raw(HEADERS, END_HEADERS, id, &head), raw(DATA, 0, id, &frame(0, b"hello"))]
            })
            .flatten()
            .collect();
        stream.write_all(&begun).await.expect("requests");
        timeout(PATIENCE, answers(&mut stream, calls as usize)).await.expect("answers in time");
        let ended: Vec<u8> = streams.flat_map(|id| raw(DATA, END_STREAM, id, &[])).collect();
        stream.write_all(&ended).await.expect("the ends of the requests");
    }
}

#[tokio::test]
async fn callers_who_end_their_requests_late_keep_their_connection() {
    let server = server(|server| {
        // Ends before it has heard anything.
        server.handle(Endpoint::bidi_stream(
            "Echo.Deaf",
            |_: Context, _: Streaming<Raw>| async move { Ok(stream::empty::<Result<Raw>>()) },
        ))
    })
    .await;
    for (content_type, path) in [
        ("application/grpc", "/echo.Echo/Call"),
        ("application/grpc", "/echo.Echo/Deaf"),
        ("application/grpc-web", "/echo.Echo/Deaf"),
        ("application/connect+proto", "/echo.Echo/Deaf"),
    ] {
        ends_late(&server, content_type, path).await;
    }
    unharmed(&server).await;
}
