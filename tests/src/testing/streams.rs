//! The cases that stream.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use micro::client::Outgoing;
use micro::{Client, Code, Compression, Error, Message, Streaming};
use tokio::task::yield_now;

use super::{
    EchoStatus, INITIAL, ResponseParameters, StreamingInputCallRequest, StreamingInputCallResponse,
    StreamingOutputCallRequest, StreamingOutputCallResponse, TRAILING, expect_status, flag,
    payload,
};

const OUTPUT: &str = "/grpc.testing.TestService/StreamingOutputCall";
const INPUT: &str = "/grpc.testing.TestService/StreamingInputCall";
const FULL_DUPLEX: &str = "/grpc.testing.TestService/FullDuplexCall";
const HALF_DUPLEX: &str = "/grpc.testing.TestService/HalfDuplexCall";

const REQUESTS: [usize; 4] = [27_182, 8, 1_828, 45_904];
const RESPONSES: [usize; 4] = [31_415, 9, 2_653, 58_979];

type Replies = Streaming<StreamingOutputCallResponse>;
type FullDuplex = (Outgoing<StreamingOutputCallRequest>, Replies);
type Input = (Outgoing<StreamingInputCallRequest>, Streaming<StreamingInputCallResponse>);

fn input(size: usize) -> StreamingInputCallRequest {
    StreamingInputCallRequest { payload: Some(payload(size)), expect_compressed: None }
}

fn asking(sizes: &[usize]) -> StreamingOutputCallRequest {
    let asked = |size: &usize| ResponseParameters {
        size: i32::try_from(*size).expect("a small size"),
        ..ResponseParameters::default()
    };
    StreamingOutputCallRequest {
        response_parameters: sizes.iter().map(asked).collect(),
        ..StreamingOutputCallRequest::default()
    }
}

async fn full_duplex(client: &Client) -> FullDuplex {
    client.open("testing", FULL_DUPLEX).await.expect("an open stream")
}

async fn expect_reply(replies: &mut Replies, size: usize) {
    let reply = replies.message().await.expect("no failure").expect("a reply");
    let body = reply.payload.map(|payload| payload.body);
    let zeroes = body.as_ref().is_some_and(|body| *body == vec![0; size]);
    assert!(zeroes, "a payload of {size} zero bytes, not of {:?}", body.map(|body| body.len()));
}

async fn expect_end(replies: &mut Replies) {
    assert_eq!(replies.message().await, Ok(None), "the end");
}

pub(super) async fn client_streaming(client: &Client) {
    let requests = stream::iter(REQUESTS).map(input);
    let reply: StreamingInputCallResponse =
        client.client_stream("testing", INPUT, requests).await.expect("a reply");
    assert_eq!(reply.aggregated_payload_size, 74_922);
}

fn expecting(compressed: bool, size: usize) -> StreamingInputCallRequest {
    StreamingInputCallRequest { expect_compressed: flag(compressed), ..input(size) }
}

pub(super) async fn client_compressed_streaming_probe(client: &Client) {
    let (outgoing, mut replies): Input =
        client.open("testing", INPUT).await.expect("an open stream");
    outgoing.send(expecting(true, REQUESTS[0])).await.expect("it is sent");
    outgoing.close();
    let probe = replies.message().await.map_err(|error| error.code());
    assert_eq!(probe, Err(Code::InvalidArgument), "the probe");
}

pub(super) async fn client_compressed_streaming(client: &Client) {
    let (outgoing, mut replies): Input =
        client.open("testing", INPUT).compression(Compression::Gzip).await.expect("an open stream");
    outgoing.send(expecting(true, REQUESTS[0])).await.expect("it is sent");
    outgoing.send_uncompressed(expecting(false, REQUESTS[3])).await.expect("it is sent");
    outgoing.close();
    let reply = replies.message().await.expect("no failure").expect("a reply");
    assert_eq!(reply.aggregated_payload_size, 73_086);
}

pub(super) async fn server_streaming(client: &Client) {
    let mut replies: Replies =
        client.server_stream("testing", OUTPUT, asking(&RESPONSES)).await.expect("a stream");
    for size in RESPONSES {
        expect_reply(&mut replies, size).await;
    }
    expect_end(&mut replies).await;
}

pub(super) async fn server_compressed_streaming(client: &Client) {
    let sizes = [(RESPONSES[0], true), (RESPONSES[3], false)];
    let mut request = asking(&sizes.map(|(size, _)| size));
    for (parameters, (_, compressed)) in request.response_parameters.iter_mut().zip(sizes) {
        parameters.compressed = flag(compressed);
    }
    let mut replies: Replies =
        client.server_stream("testing", OUTPUT, request).await.expect("a stream");
    for (size, compressed) in sizes {
        expect_reply(&mut replies, size).await;
        assert_eq!(replies.compressed(), compressed, "whether the reply is compressed");
    }
    expect_end(&mut replies).await;
}

pub(super) async fn ping_pong(client: &Client) {
    let (outgoing, mut replies) = full_duplex(client).await;
    for (sent, size) in REQUESTS.into_iter().zip(RESPONSES) {
        let request =
            StreamingOutputCallRequest { payload: Some(payload(sent)), ..asking(&[size]) };
        outgoing.send(request).await.expect("it is sent");
        expect_reply(&mut replies, size).await;
    }
    outgoing.close();
    expect_end(&mut replies).await;
}

pub(super) async fn empty_stream(client: &Client) {
    let (outgoing, mut replies) = full_duplex(client).await;
    outgoing.close();
    expect_end(&mut replies).await;
}

pub(super) async fn half_duplex(client: &Client) {
    let requests = stream::iter(RESPONSES).map(|size| asking(&[size]));
    let mut replies: Replies =
        client.bidi_stream("testing", HALF_DUPLEX, requests).await.expect("a stream");
    for size in RESPONSES {
        expect_reply(&mut replies, size).await;
    }
    expect_end(&mut replies).await;
}

/// Sends until the sending half says that the call is over.
async fn expect_cancelled<T: Message + Clone>(outgoing: &Outgoing<T>, message: T) {
    loop {
        match outgoing.send(message.clone()).await {
            Ok(()) => yield_now().await,
            Err(error) => break assert_eq!(error.code(), Code::Cancelled),
        }
    }
}

pub(super) async fn cancel_after_begin(client: &Client) {
    let (outgoing, mut replies): Input =
        client.open("testing", INPUT).await.expect("an open stream");
    // Reading sends the head; there is nothing to read before a message is sent.
    let early = tokio::select! {
        biased;
        early = replies.message() => Some(early),
        () = yield_now() => None,
    };
    assert_eq!(early, None, "no reply without a request");
    drop(replies);
    expect_cancelled(&outgoing, input(1)).await;
}

pub(super) async fn cancel_after_first_response(client: &Client) {
    let (outgoing, mut replies) = full_duplex(client).await;
    outgoing.send(asking(&RESPONSES[..1])).await.expect("it is sent");
    expect_reply(&mut replies, RESPONSES[0]).await;
    drop(replies);
    expect_cancelled(&outgoing, asking(&[])).await;
}

pub(super) async fn timeout_on_sleeping_server(client: &Client) {
    let call = client.open("testing", FULL_DUPLEX).timeout(Duration::from_millis(1));
    let ended: Result<_, Error> = async {
        let (outgoing, mut replies): FullDuplex = call.await?;
        let request = StreamingOutputCallRequest {
            payload: Some(payload(REQUESTS[0])),
            ..StreamingOutputCallRequest::default()
        };
        // What was too late to be sent shows in the replies.
        let _ = outgoing.send(request).await;
        replies.message().await
    }
    .await;
    assert_eq!(ended.map_err(|error| error.code()), Err(Code::DeadlineExceeded));
}

pub(super) async fn custom_metadata(client: &Client) {
    let call = client.open("testing", FULL_DUPLEX);
    let call = call.metadata(INITIAL, "test_initial_metadata_value").metadata(TRAILING, "q6ur");
    let (outgoing, mut replies): FullDuplex = call.await.expect("an open stream");
    outgoing.send(asking(&[1])).await.expect("it is sent");
    let headers = replies.headers().await.expect("headers");
    assert_eq!(headers.get(INITIAL), Some("test_initial_metadata_value"));
    expect_reply(&mut replies, 1).await;
    assert!(replies.trailers().is_none(), "trailers come last");
    outgoing.close();
    expect_end(&mut replies).await;
    let trailers = replies.trailers().expect("trailers");
    assert_eq!(trailers.get_bin(TRAILING), Some(vec![0xab; 3]));
}

pub(super) async fn status_code_and_message(client: &Client) {
    let message = "test status message";
    let (outgoing, mut replies) = full_duplex(client).await;
    let response_status = Some(EchoStatus { code: 2, message: message.to_owned() });
    let request = StreamingOutputCallRequest { response_status, ..asking(&[]) };
    outgoing.send(request).await.expect("it is sent");
    outgoing.close();
    expect_status(&replies.message().await.expect_err("the status asked for"), message);
}
