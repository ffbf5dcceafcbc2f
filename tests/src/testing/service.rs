//! `grpc.testing.TestService` on this framework.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use micro::server::{Endpoint, Server, ServerBuilder};
use micro::{Code, Compression, Context, Error, Metadata, Proto, Result, Streaming};
use tokio::sync::watch;
use tokio::time::sleep;

use super::orca::{self, LoadReport, LoadReportRequest};
use super::{
    BoolValue, EchoStatus, Empty, INITIAL, MAX_MESSAGE, Payload, ResponseParameters, SimpleRequest,
    SimpleResponse, StreamingInputCallRequest, StreamingInputCallResponse,
    StreamingOutputCallRequest, StreamingOutputCallResponse, TRAILING, payload,
};

/// The service on any free port of this machine, without a registry.
///
/// # Panics
/// When it does not start.
pub async fn serve(set: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Server {
    let load = Arc::new(watch::Sender::new(LoadReport::default()));
    let builder = Server::builder("grpc.testing")
        .address("127.0.0.1:0")
        .max_message_size(MAX_MESSAGE)
        .handle(Endpoint::unary("TestService.EmptyCall", async |_, Empty {}| Ok(Empty {})))
        .handle(Endpoint::unary("TestService.UnaryCall", unary))
        .handle(Endpoint::unary("TestService.CacheableUnaryCall", cacheable))
        .handle(Endpoint::server_stream("TestService.StreamingOutputCall", output))
        .handle(Endpoint::client_stream("TestService.StreamingInputCall", input))
        .handle(Endpoint::bidi_stream("TestService.FullDuplexCall", {
            let load = load.clone();
            move |context, requests| full_duplex(context, requests, load.clone())
        }))
        .handle(Endpoint::bidi_stream("TestService.HalfDuplexCall", half_duplex))
        .handle(Endpoint::server_stream(orca::ENDPOINT, move |_, request| {
            let Proto::<LoadReportRequest>(request) = request;
            let reports = orca::reports(&load, &request);
            async { Ok(reports) }
        }));
    set(builder).start().await.expect("the server starts")
}

async fn unary(context: Context, request: SimpleRequest) -> Result<SimpleResponse> {
    expect_compressed(&context, request.expect_compressed)?;
    echo_metadata(&context)?;
    fail_with(request.response_status)?;
    context.set_compression(wanted(request.response_compressed));
    if let Some(report) = request.orca_per_query_report {
        orca::report(&context, report)?;
    }
    let server_id = if request.fill_server_id { context.service() } else { "" };
    Ok(SimpleResponse {
        payload: Some(sized(request.response_size)?),
        server_id: server_id.to_owned(),
        ..SimpleResponse::default()
    })
}

/// A reply that is another each time, so that a client sees whether a cache answered.
async fn cacheable(context: Context, _: SimpleRequest) -> Result<SimpleResponse> {
    context.set_header("cache-control", "max-age=60, public")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let body = now.as_nanos().to_string().into_bytes();
    Ok(SimpleResponse {
        payload: Some(Payload { body, ..Payload::default() }),
        ..SimpleResponse::default()
    })
}

type Replies = BoxStream<'static, Result<StreamingOutputCallResponse>>;

async fn output(context: Context, request: StreamingOutputCallRequest) -> Result<Replies> {
    // The head must name the compression if any of the replies shall have it.
    if request.response_parameters.iter().any(|p| wanted(p.compressed).is_some()) {
        context.set_compression(Compression::Gzip);
    }
    Ok(replies(context, stream::iter([Ok(request)]), None).boxed())
}

async fn input(
    context: Context,
    mut requests: Streaming<StreamingInputCallRequest>,
) -> Result<StreamingInputCallResponse> {
    let mut size = 0_usize;
    while let Some(request) = requests.message().await? {
        expect_compressed(&context, request.expect_compressed)?;
        size += request.payload.unwrap_or_default().body.len();
    }
    let aggregated_payload_size =
        size.try_into().map_err(|_| Error::invalid_argument("more than 2 GiB of payloads"))?;
    Ok(StreamingInputCallResponse { aggregated_payload_size })
}

async fn full_duplex(
    context: Context,
    requests: Streaming<StreamingOutputCallRequest>,
    load: Arc<watch::Sender<LoadReport>>,
) -> Result<Replies> {
    echo_metadata(&context)?;
    Ok(replies(context, requests, Some(load)).boxed())
}

async fn half_duplex(
    context: Context,
    requests: Streaming<StreamingOutputCallRequest>,
) -> Result<Replies> {
    let requests: Vec<_> = requests.take(1_000).try_collect().await?;
    Ok(replies(context, stream::iter(requests).map(Ok), None).boxed())
}

struct Replying<S> {
    context: Context,
    requests: S,
    load: Option<Arc<watch::Sender<LoadReport>>>,
    due: VecDeque<ResponseParameters>,
}

/// The replies that each of the requests asks for.
fn replies<S>(
    context: Context,
    requests: S,
    load: Option<Arc<watch::Sender<LoadReport>>>,
) -> impl Stream<Item = Result<StreamingOutputCallResponse>> + Send
where
    S: Stream<Item = Result<StreamingOutputCallRequest>> + Send + Unpin,
{
    let replying = Replying { context, requests, load, due: VecDeque::new() };
    stream::try_unfold(replying, |mut replying| async move {
        loop {
            if let Some(parameters) = replying.due.pop_front() {
                let pause = Duration::from_micros(parameters.interval_us.try_into().unwrap_or(0));
                if !pause.is_zero() {
                    sleep(pause).await;
                }
                if let Some(BoolValue { value }) = parameters.compressed {
                    replying.context.set_compression(value.then_some(Compression::Gzip));
                }
                let payload = Some(sized(parameters.size)?);
                return Ok(Some((StreamingOutputCallResponse { payload }, replying)));
            }
            let Some(request) = replying.requests.try_next().await? else { return Ok(None) };
            fail_with(request.response_status)?;
            if let (Some(load), Some(report)) = (&replying.load, request.orca_oob_report) {
                load.send_replace(report.into());
            }
            replying.due = request.response_parameters.into();
        }
    })
}

fn sized(size: i32) -> Result<Payload> {
    let size = usize::try_from(size).ok().filter(|size| *size <= MAX_MESSAGE);
    size.map(payload).ok_or_else(|| Error::invalid_argument("no payload is of that size"))
}

fn wanted(flag: Option<BoolValue>) -> Option<Compression> {
    flag.is_some_and(|flag| flag.value).then_some(Compression::Gzip)
}

fn expect_compressed(context: &Context, expected: Option<BoolValue>) -> Result<()> {
    match expected {
        Some(BoolValue { value: true }) if !context.request_compressed() => {
            Err(Error::invalid_argument("the message should have been compressed"))
        }
        _ => Ok(()),
    }
}

fn fail_with(status: Option<EchoStatus>) -> Result<()> {
    match status {
        Some(EchoStatus { code, message }) if code != 0 => {
            Err(Error::new(Code::from_grpc(code).unwrap_or(Code::Unknown), message))
        }
        _ => Ok(()),
    }
}

fn echo_metadata(context: &Context) -> Result<()> {
    if let Some(value) = context.metadata().get(INITIAL) {
        context.set_header(INITIAL, value)?;
    }
    if let Some(value) = context.metadata().get_bin(TRAILING) {
        let mut trailers = Metadata::new();
        trailers.insert_bin(TRAILING, &value)?;
        context.extend_trailers(trailers)?;
    }
    Ok(())
}
