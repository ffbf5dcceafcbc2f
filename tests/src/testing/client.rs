//! The cases, as a client of this framework runs them against the server at an address.

use std::future::Future;

use futures_util::future::join_all;
use micro::registry;
use micro::{Client, Code, Compression, Result};
use tokio::time::timeout;

use super::cases::{CASE_LIMIT, SOAK_ITERATIONS};
use super::{
    EchoStatus, Empty, INITIAL, MAX_MESSAGE, SimpleRequest, SimpleResponse, TRAILING,
    expect_status, flag, payload, streams,
};

/// What large requests and replies carry, in bytes.
const LARGE: (usize, usize) = (271_828, 314_159);
/// Requests at a time in `concurrent_large_unary`.
const CONCURRENT: usize = 100;

/// Runs one of [`OURS`](super::cases::OURS) against the server at `address`; an error says what was wrong.
///
/// # Errors
/// What the case expected and did not find, or that it took too long.
pub async fn run(case: &'static str, client: Client, address: String) -> Result<(), String> {
    // On a task, because a case that fails panics.
    let task = tokio::spawn(timeout(CASE_LIMIT, dispatch(case, client, address)));
    match task.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(format!("did not end within {CASE_LIMIT:?}")),
        Err(failed) => {
            let panic = failed.into_panic();
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(text.unwrap_or_else(|| "panicked".to_owned()))
        }
    }
}

/// A client of the server at `address`.
///
/// # Panics
/// When the client does not start.
pub fn connect(address: &str) -> Client {
    let client = Client::builder()
        .registry(registry::connect("memory").expect("a registry"))
        .address(address)
        .retries(0);
    client.max_message_size(MAX_MESSAGE).build().expect("a client")
}

async fn dispatch(case: &str, client: Client, address: String) {
    let client = &client;
    match case {
        "empty_unary" => empty_unary(client).await,
        "large_unary" => large_unary(client).await,
        "client_compressed_unary" => {
            client_compressed_unary_probe(client).await;
            client_compressed_unary(client).await;
        }
        "client_compressed_unary_noprobe" => client_compressed_unary(client).await,
        "server_compressed_unary" => server_compressed_unary(client).await,
        "client_streaming" => streams::client_streaming(client).await,
        "client_compressed_streaming" => {
            streams::client_compressed_streaming_probe(client).await;
            streams::client_compressed_streaming(client).await;
        }
        "client_compressed_streaming_noprobe" => {
            streams::client_compressed_streaming(client).await;
        }
        "server_streaming" => streams::server_streaming(client).await,
        "server_compressed_streaming" => streams::server_compressed_streaming(client).await,
        "ping_pong" => streams::ping_pong(client).await,
        "empty_stream" => streams::empty_stream(client).await,
        "half_duplex" => streams::half_duplex(client).await,
        "cancel_after_begin" => streams::cancel_after_begin(client).await,
        "cancel_after_first_response" => streams::cancel_after_first_response(client).await,
        "timeout_on_sleeping_server" => streams::timeout_on_sleeping_server(client).await,
        "custom_metadata" => {
            custom_metadata(client).await;
            streams::custom_metadata(client).await;
        }
        "status_code_and_message" => {
            status(client, "test status message").await;
            streams::status_code_and_message(client).await;
        }
        "special_status_message" => {
            status(client, "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n")
                .await;
        }
        "unimplemented_method" => unimplemented(client, "TestService").await,
        "unimplemented_service" => unimplemented(client, "UnimplementedService").await,
        "very_large_request" => very_large_request(client).await,
        "pick_first_unary" => pick_first_unary(client).await,
        "concurrent_large_unary" => {
            join_all((0..CONCURRENT).map(|_| large_unary(client))).await;
        }
        "rpc_soak" => soak(|| large_unary(client)).await,
        "channel_soak" => {
            soak(|| async {
                let client = connect(&address);
                large_unary(&client).await;
            })
            .await;
        }
        other => panic!("no case is called {other}"),
    }
}

/// Calls a method of `grpc.testing.TestService`.
fn unary(
    client: &Client,
    request: SimpleRequest,
) -> micro::client::Unary<SimpleRequest, SimpleResponse> {
    client.call("testing", "/grpc.testing.TestService/UnaryCall", request).timeout(CASE_LIMIT)
}

fn request((request, response): (usize, usize)) -> SimpleRequest {
    SimpleRequest {
        payload: Some(payload(request)),
        response_size: i32::try_from(response).expect("a small size"),
        ..SimpleRequest::default()
    }
}

fn expect_body(response: &SimpleResponse, size: usize) {
    let body = response.payload.as_ref().map(|payload| &payload.body);
    let zeroes = body.is_some_and(|body| body.len() == size && body.iter().all(|byte| *byte == 0));
    assert!(zeroes, "a payload of {size} zero bytes, not of {:?}", body.map(Vec::len));
}

async fn empty_unary(client: &Client) {
    let call = client.call("testing", "/grpc.testing.TestService/EmptyCall", Empty {});
    assert_eq!(call.await, Ok(Empty {}));
}

async fn large_unary(client: &Client) {
    let response = unary(client, request(LARGE)).await.expect("a reply");
    expect_body(&response, LARGE.1);
}

async fn very_large_request(client: &Client) {
    let sizes = (10 << 20, 10 << 20);
    let response = unary(client, request(sizes)).await.expect("a reply");
    expect_body(&response, sizes.1);
}

fn expecting(compressed: bool) -> SimpleRequest {
    SimpleRequest { expect_compressed: flag(compressed), ..request(LARGE) }
}

/// A server that does not see a lie about the request could not see the truth.
async fn client_compressed_unary_probe(client: &Client) {
    let probe = unary(client, expecting(true)).no_compression().await;
    assert_eq!(probe.map_err(|error| error.code()).err(), Some(Code::InvalidArgument), "the probe");
}

async fn client_compressed_unary(client: &Client) {
    let call = unary(client, expecting(true)).compression(Compression::Gzip);
    expect_body(&call.await.expect("a reply to a compressed request"), LARGE.1);
    let call = unary(client, expecting(false)).no_compression();
    expect_body(&call.await.expect("a reply to a plain request"), LARGE.1);
}

async fn server_compressed_unary(client: &Client) {
    for compressed in [true, false] {
        let request = SimpleRequest { response_compressed: flag(compressed), ..request(LARGE) };
        let reply = unary(client, request).send().await.expect("a reply");
        assert_eq!(reply.compressed, compressed, "whether the reply is compressed");
        expect_body(&reply.message, LARGE.1);
    }
}

async fn custom_metadata(client: &Client) {
    let call = unary(client, request((1, 1)));
    let call = call.metadata(INITIAL, "test_initial_metadata_value").metadata(TRAILING, "q6ur");
    let reply = call.send().await.expect("a reply");
    assert_eq!(reply.headers.get(INITIAL), Some("test_initial_metadata_value"));
    assert_eq!(reply.trailers.get_bin(TRAILING), Some(vec![0xab; 3]));
}

async fn status(client: &Client, message: &str) {
    let response_status = Some(EchoStatus { code: 2, message: message.to_owned() });
    let request = SimpleRequest { response_status, ..SimpleRequest::default() };
    let error = unary(client, request).await.expect_err("the status asked for");
    expect_status(&error, message);
}

async fn unimplemented(client: &Client, service: &str) {
    let path = format!("/grpc.testing.{service}/UnimplementedCall");
    let call: Result<Empty> = client.call("testing", &path, Empty {}).await;
    assert_eq!(call.map_err(|error| error.code()), Err(Code::Unimplemented));
}

async fn pick_first_unary(client: &Client) {
    let mut servers = Vec::new();
    for _ in 0..SOAK_ITERATIONS {
        let request = SimpleRequest { fill_server_id: true, ..request((1, 1)) };
        servers.push(unary(client, request).await.expect("a reply").server_id);
    }
    assert_ne!(servers[0], "", "the server tells its name");
    servers.dedup();
    assert_eq!(servers.len(), 1, "one server answers all: {servers:?}");
}

async fn soak<F: Future<Output = ()>>(iteration: impl Fn() -> F) {
    for _ in 0..SOAK_ITERATIONS {
        iteration().await;
    }
}
