//! The service the suite calls: it answers what the request asks for, and tells what it has seen.

use std::time::Duration;

use futures_util::{Stream, stream};
use micro::server::{Endpoint, Query};
use micro::{Code, Context, Detail, Error, Result, Streaming};
use prost_types::Any;

use super::messages::conformance_payload::{ConnectGetInfo, RequestInfo};
use super::messages::unary_response_definition::Response;
use super::messages::{
    BidiStreamRequest, BidiStreamResponse, ClientStreamRequest, ClientStreamResponse,
    ConformancePayload, Error as WireError, Header, IdempotentUnaryRequest,
    IdempotentUnaryResponse, ServerStreamRequest, ServerStreamResponse, StreamResponseDefinition,
    UnaryRequest, UnaryResponse, UnaryResponseDefinition,
};

/// All of its endpoints but `Unimplemented`, which a server is not to have.
pub fn endpoints() -> [Endpoint; 5] {
    [
        Endpoint::unary(
            "ConformanceService.Unary",
            |context: Context, request: UnaryRequest| async move {
                let requests = vec![any(&request)];
                let payload = single(&context, request.response_definition, requests).await?;
                Ok(UnaryResponse { payload: Some(payload) })
            },
        ),
        Endpoint::unary(
            "ConformanceService.IdempotentUnary",
            |context: Context, request: IdempotentUnaryRequest| async move {
                let requests = vec![any(&request)];
                let payload = single(&context, request.response_definition, requests).await?;
                Ok(IdempotentUnaryResponse { payload: Some(payload) })
            },
        )
        .read_only(),
        Endpoint::client_stream("ConformanceService.ClientStream", client_stream),
        Endpoint::server_stream(
            "ConformanceService.ServerStream",
            |context: Context, request: ServerStreamRequest| async move {
                let seen = vec![any(&request)];
                let replies = Replies::new(context, request.response_definition, seen, None)?;
                Ok(replies.stream(|payload| ServerStreamResponse { payload: Some(payload) }))
            },
        ),
        Endpoint::bidi_stream("ConformanceService.BidiStream", bidi_stream),
    ]
}

async fn client_stream(
    context: Context,
    mut requests: Streaming<ClientStreamRequest>,
) -> Result<ClientStreamResponse> {
    let mut seen = Vec::new();
    let mut definition = None;
    while let Some(request) = requests.message().await? {
        seen.push(any(&request));
        if seen.len() == 1 {
            definition = request.response_definition;
        }
    }
    let payload = single(&context, definition, seen).await?;
    Ok(ClientStreamResponse { payload: Some(payload) })
}

async fn bidi_stream(
    context: Context,
    mut requests: Streaming<BidiStreamRequest>,
) -> Result<impl Stream<Item = Result<BidiStreamResponse>>> {
    let Some(first) = requests.message().await? else {
        let replies = Replies::new(context, None, Vec::new(), None)?;
        return Ok(replies.stream(|payload| BidiStreamResponse { payload: Some(payload) }));
    };
    let mut seen = vec![any(&first)];
    let rest = if first.full_duplex {
        Some(requests)
    } else {
        while let Some(request) = requests.message().await? {
            seen.push(any(&request));
        }
        None
    };
    let replies = Replies::new(context, first.response_definition, seen, rest)?;
    Ok(replies.stream(|payload| BidiStreamResponse { payload: Some(payload) }))
}

/// The one reply of a call.
async fn single(
    context: &Context,
    definition: Option<UnaryResponseDefinition>,
    requests: Vec<Any>,
) -> Result<ConformancePayload> {
    let definition = definition.unwrap_or_default();
    set_metadata(context, &definition.response_headers, &definition.response_trailers)?;
    pause(definition.response_delay_ms).await;
    let info = info(context, requests);
    match definition.response {
        Some(Response::Error(error)) => Err(failure(error, Some(&info))),
        Some(Response::ResponseData(data)) => {
            Ok(ConformancePayload { data, request_info: Some(info) })
        }
        None => Ok(ConformancePayload { data: Vec::new(), request_info: Some(info) }),
    }
}

/// The replies of a stream still to be sent.
struct Replies {
    context: Context,
    definition: StreamResponseDefinition,
    /// Requests no reply has told of yet.
    seen: Vec<Any>,
    /// Requests still to come, each before its reply.
    requests: Option<Streaming<BidiStreamRequest>>,
    full_duplex: bool,
    sent: usize,
    ended: bool,
}

impl Replies {
    fn new(
        context: Context,
        definition: Option<StreamResponseDefinition>,
        seen: Vec<Any>,
        requests: Option<Streaming<BidiStreamRequest>>,
    ) -> Result<Self> {
        let definition = definition.unwrap_or_default();
        set_metadata(&context, &definition.response_headers, &definition.response_trailers)?;
        let full_duplex = requests.is_some();
        Ok(Self { context, definition, seen, requests, full_duplex, sent: 0, ended: false })
    }

    fn stream<T>(self, reply: fn(ConformancePayload) -> T) -> impl Stream<Item = Result<T>> {
        stream::unfold(self, move |mut replies| async move {
            let next = replies.next().await.transpose()?;
            replies.ended = next.is_err();
            Some((next.map(reply), replies))
        })
    }

    async fn next(&mut self) -> Result<Option<ConformancePayload>> {
        if self.ended {
            return Ok(None);
        }
        if self.seen.is_empty()
            && let Some(requests) = &mut self.requests
        {
            match requests.message().await? {
                Some(request) => self.seen.push(any(&request)),
                None => self.requests = None,
            }
        }
        let Some(data) = self.definition.response_data.get(self.sent).cloned() else {
            let Some(error) = self.definition.error.take() else { return Ok(None) };
            let first = self.sent == 0;
            let info = first.then(|| info(&self.context, std::mem::take(&mut self.seen)));
            return Err(failure(error, info.as_ref()));
        };
        pause(self.definition.response_delay_ms).await;
        let requests = std::mem::take(&mut self.seen);
        let request_info = match self.sent {
            0 => Some(info(&self.context, requests)),
            _ if self.full_duplex => Some(RequestInfo { requests, ..RequestInfo::default() }),
            _ => None,
        };
        self.sent += 1;
        Ok(Some(ConformancePayload { data, request_info }))
    }
}

/// A message as the suite wants to see it again.
fn any<T: prost_reflect::ReflectMessage>(message: &T) -> Any {
    let type_url = format!("type.googleapis.com/{}", message.descriptor().full_name());
    Any { type_url, value: message.encode_to_vec() }
}

fn info(context: &Context, requests: Vec<Any>) -> RequestInfo {
    let mut request_headers: Vec<Header> = Vec::new();
    for (name, value) in context.metadata().iter() {
        match request_headers.iter_mut().find(|header| header.name == name) {
            Some(header) => header.value.push(value.into()),
            None => request_headers.push(Header { name: name.into(), value: vec![value.into()] }),
        }
    }
    let millis = |left: Duration| i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
    let connect_get_info = context.extension::<Query>().map(|query| ConnectGetInfo {
        query_params: query
            .iter()
            .map(|(name, value)| Header {
                name: name.into(),
                value: vec![String::from_utf8_lossy(&value).into_owned()],
            })
            .collect(),
    });
    let timeout_ms = context.remaining().map(millis);
    RequestInfo { request_headers, timeout_ms, requests, connect_get_info }
}

fn failure(error: WireError, info: Option<&RequestInfo>) -> Error {
    let code = Code::from_grpc(error.code).unwrap_or(Code::Unknown);
    let mut details = error.details;
    details.extend(info.map(any));
    let bare = Error::new(code, error.message.unwrap_or_default());
    details.into_iter().fold(bare, |error, detail| {
        error.with_attached(Detail { type_url: detail.type_url, value: detail.value.into() })
    })
}

fn set_metadata(context: &Context, headers: &[Header], trailers: &[Header]) -> Result<()> {
    for header in headers {
        for value in &header.value {
            context.set_header(&header.name, value)?;
        }
    }
    for trailer in trailers {
        for value in &trailer.value {
            context.set_trailer(&trailer.name, value)?;
        }
    }
    Ok(())
}

async fn pause(millis: u32) {
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis.into())).await;
    }
}
