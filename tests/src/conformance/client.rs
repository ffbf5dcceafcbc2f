//! The client under test.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use micro::client::{Call, ClientBuilder, Seen, Unary};
use micro::registry::Memory;
use micro::{Client, ClientTls, Code, Compression, Error, Message, Streaming};
use prost_types::Any;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::messages::client_compat_request::cancel::CancelTiming;
use super::messages::client_compat_response::Result as Outcome;
use super::messages::{
    BidiStreamRequest, BidiStreamResponse, ClientCompatRequest, ClientCompatResponse,
    ClientErrorResult, ClientResponseResult, ClientStreamRequest, ClientStreamResponse, Codec,
    Compression as WireCompression, ConformancePayload, Error as WireError, Header,
    IdempotentUnaryRequest, IdempotentUnaryResponse, ServerStreamRequest, ServerStreamResponse,
    StreamType, UnaryRequest, UnaryResponse, UnimplementedRequest, UnimplementedResponse,
};
use super::{read, write};

/// Calls that run at once.
const PARALLEL: usize = 4;

/// Makes the calls the suite asks for on stdin until that is closed, and tells what came of each.
///
/// # Panics
/// When the pipes break.
pub async fn run() {
    let (answers, mut answered) = mpsc::channel::<ClientCompatResponse>(PARALLEL);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(answer) = answered.blocking_recv() {
            write(io::stdout(), &answer).unwrap();
        }
    });
    let places = Arc::new(Semaphore::new(PARALLEL));
    loop {
        let asked = tokio::task::spawn_blocking(|| read::<ClientCompatRequest>(io::stdin()));
        let Some(asked) = asked.await.unwrap().unwrap() else { break };
        let place = places.clone().acquire_owned().await.unwrap();
        let answers = answers.clone();
        tokio::spawn(async move {
            let test_name = asked.test_name.clone();
            let result = match case(asked).await {
                Ok(response) => Outcome::Response(response),
                Err(message) => Outcome::Error(ClientErrorResult { message }),
            };
            let answer = ClientCompatResponse { test_name, result: Some(result) };
            answers.send(answer).await.unwrap();
            drop(place);
        });
    }
    drop(answers);
    writing.await.unwrap();
}

/// What to do in one case.
struct Case {
    client: Client,
    address: String,
    path: String,
    headers: Vec<Header>,
    timeout: Option<Duration>,
    compression: Option<Compression>,
    content_type: &'static str,
    pause: Duration,
    cancel: Option<CancelTiming>,
    seen: Seen,
}

/// Makes one call; an error says why it could not be tried.
async fn case(asked: ClientCompatRequest) -> Result<ClientResponseResult, String> {
    let (path, requests) = (path(&asked)?, asked.request_messages.clone());
    let (codec, compression) = (asked.codec(), asked.compression());
    let (kind, method) = (asked.stream_type(), asked.method().to_owned());
    let case = Case {
        client: client(&asked).map_err(|error| error.to_string())?,
        address: format!("{}:{}", asked.host, asked.port),
        path,
        headers: asked.request_headers,
        timeout: asked.timeout_ms.map(|millis| Duration::from_millis(millis.into())),
        compression: match compression {
            WireCompression::Gzip => Some(Compression::Gzip),
            WireCompression::Zstd => Some(Compression::Zstd),
            _ => None,
        },
        content_type: match codec {
            Codec::Json => "application/grpc+json",
            _ => "application/grpc+proto",
        },
        pause: Duration::from_millis(asked.request_delay_ms.into()),
        cancel: asked.cancel.and_then(|cancel| cancel.cancel_timing),
        seen: Seen::new(),
    };
    let (payloads, error) = match (kind, method.as_str()) {
        (StreamType::Unary, "IdempotentUnary") => {
            case.unary::<IdempotentUnaryRequest, _>(&requests, |r: IdempotentUnaryResponse| {
                r.payload
            })
            .await?
        }
        (StreamType::Unary, "Unimplemented") => {
            case.unary::<UnimplementedRequest, _>(&requests, |_: UnimplementedResponse| None)
                .await?
        }
        (StreamType::Unary, _) => {
            case.unary::<UnaryRequest, _>(&requests, |r: UnaryResponse| r.payload).await?
        }
        (StreamType::ClientStream, _) => case.client_stream(&requests).await?,
        (StreamType::ServerStream, _) => case.server_stream(&requests).await?,
        (StreamType::FullDuplexBidiStream, _) => case.bidi_stream(&requests, true).await?,
        (StreamType::HalfDuplexBidiStream, _) => case.bidi_stream(&requests, false).await?,
        (kind, _) => return Err(format!("no such shape: {kind:?}")),
    };
    Ok(ClientResponseResult {
        response_headers: headers(&case.seen.headers()),
        payloads,
        error: error.map(told),
        response_trailers: headers(&case.seen.trailers()),
        num_unsent_requests: 0,
    })
}

fn path(asked: &ClientCompatRequest) -> Result<String, String> {
    match (&asked.service, &asked.method) {
        (Some(service), Some(method)) => Ok(format!("/{service}/{method}")),
        _ => Err("the case names no method".into()),
    }
}

fn client(asked: &ClientCompatRequest) -> micro::Result<Client> {
    let builder: ClientBuilder = Client::builder().registry(Arc::new(Memory::new())).retries(0);
    let builder = match usize::try_from(asked.message_receive_limit) {
        Ok(limit) if limit > 0 => builder.max_message_size(limit),
        _ => builder,
    };
    let authority = &asked.server_tls_cert;
    let builder = match &asked.client_tls_creds {
        _ if authority.is_empty() => builder,
        Some(own) => builder.tls(ClientTls::mutual(authority, &own.cert, &own.key)?),
        None => builder.tls(ClientTls::trusting(authority)?),
    };
    builder.build()
}

/// What came of a call: the payloads, and the error unless it went well.
type Told = (Vec<ConformancePayload>, Option<Error>);

impl Case {
    async fn unary<Req, Res>(
        &self,
        requests: &[Any],
        payload: fn(Res) -> Option<ConformancePayload>,
    ) -> Result<Told, String>
    where
        Req: Message + prost::Message + Default,
        Res: Message,
    {
        let [request] =
            decoded::<Req>(requests)?.try_into().map_err(|_| "one request is needed")?;
        let call: Unary<Req, Res> = self.terms(self.client.call("", &self.path, request));
        Ok(match self.until_cancelled(call.send()).await {
            Ok(reply) => (vec![payload(reply.message).unwrap_or_default()], None),
            Err(error) => (Vec::new(), Some(error)),
        })
    }

    async fn client_stream(&self, requests: &[Any]) -> Result<Told, String> {
        let requests = decoded::<ClientStreamRequest>(requests)?;
        let (pause, never_ends) = (self.pause, self.cancels_before_the_end());
        let (sent, all_sent) = tokio::sync::oneshot::channel::<()>();
        let mut sent = Some(sent);
        let mut left = requests.into_iter();
        let sending = stream::unfold((), move |()| {
            let next = left.next();
            let sent = if next.is_none() { sent.take() } else { None };
            async move {
                match next {
                    Some(request) => {
                        sleep(pause).await;
                        Some((request, ()))
                    }
                    None => {
                        drop(sent);
                        if never_ends {
                            std::future::pending::<()>().await;
                        }
                        None
                    }
                }
            }
        });
        let call: Call<_, micro::client::Single<ClientStreamResponse>> =
            self.terms(self.client.client_stream("", &self.path, sending));
        let call = call.into_future();
        let cancelled = async {
            let _ = all_sent.await;
            match &self.cancel {
                Some(CancelTiming::BeforeCloseSend(())) => {}
                Some(CancelTiming::AfterCloseSendMs(millis)) => {
                    sleep(Duration::from_millis((*millis).into())).await;
                }
                _ => std::future::pending().await,
            }
        };
        let reply = tokio::select! {
            reply = call => reply,
            () = cancelled => Err(given_up()),
        };
        Ok(match reply {
            Ok(ClientStreamResponse { payload }) => (vec![payload.unwrap_or_default()], None),
            Err(error) => (Vec::new(), Some(error)),
        })
    }

    async fn server_stream(&self, requests: &[Any]) -> Result<Told, String> {
        let requests = decoded::<ServerStreamRequest>(requests)?;
        let [request] = requests.try_into().map_err(|_| "one request is needed")?;
        let call = self.terms(self.client.server_stream("", &self.path, request));
        let mut payloads = Vec::new();
        let receive = async {
            let replies: Streaming<ServerStreamResponse> = call.await?;
            self.receive(replies, &mut payloads, |reply| reply.payload).await
        };
        let error = self.until_cancelled(receive).await.err();
        Ok((payloads, error))
    }

    async fn bidi_stream(&self, requests: &[Any], full_duplex: bool) -> Result<Told, String> {
        let requests = decoded::<BidiStreamRequest>(requests)?;
        let call =
            self.terms(self.client.open::<BidiStreamRequest, BidiStreamResponse>("", &self.path));
        let mut payloads = Vec::new();
        let converse = async {
            let (outgoing, mut replies) = call.await?;
            for request in requests {
                sleep(self.pause).await;
                if outgoing.send(request).await.is_err() {
                    break;
                }
                if full_duplex {
                    match replies.message().await? {
                        Some(reply) => payloads.push(reply.payload.unwrap_or_default()),
                        None => return Ok(()),
                    }
                    self.enough(payloads.len())?;
                }
            }
            if self.cancels_before_the_end() {
                return Err(given_up());
            }
            outgoing.close();
            let rest = self.receive(replies, &mut payloads, |reply| reply.payload);
            self.until_cancelled(rest).await
        };
        let error = converse.await.err();
        Ok((payloads, error))
    }

    fn terms<In, Out>(&self, call: Call<In, Out>) -> Call<In, Out> {
        let mut call = call.address(&self.address).content_type(self.content_type).seen(&self.seen);
        for header in &self.headers {
            for value in &header.value {
                call = call.metadata(&header.name, value);
            }
        }
        if let Some(compression) = self.compression {
            call = call.compression(compression);
        }
        match self.timeout {
            Some(timeout) => call.timeout(timeout),
            None => call.no_timeout(),
        }
    }

    async fn receive<T: Message>(
        &self,
        mut replies: Streaming<T>,
        payloads: &mut Vec<ConformancePayload>,
        payload: fn(T) -> Option<ConformancePayload>,
    ) -> micro::Result<()> {
        while let Some(reply) = replies.message().await? {
            payloads.push(payload(reply).unwrap_or_default());
            self.enough(payloads.len())?;
        }
        Ok(())
    }

    /// Gives up when so many replies are what the case wants.
    fn enough(&self, replies: usize) -> micro::Result<()> {
        match self.cancel {
            Some(CancelTiming::AfterNumResponses(wanted)) if replies == wanted as usize => {
                Err(given_up())
            }
            _ => Ok(()),
        }
    }

    fn cancels_before_the_end(&self) -> bool {
        matches!(self.cancel, Some(CancelTiming::BeforeCloseSend(())))
    }

    /// Drops a call, which cancels it, when the case wants that.
    async fn until_cancelled<T>(
        &self,
        call: impl Future<Output = micro::Result<T>>,
    ) -> micro::Result<T> {
        match self.cancel {
            Some(CancelTiming::AfterCloseSendMs(millis)) => {
                let limit = Duration::from_millis(millis.into());
                timeout(limit, call).await.unwrap_or_else(|_| Err(given_up()))
            }
            _ => call.await,
        }
    }
}

/// What a caller that dropped its call knows.
fn given_up() -> Error {
    Error::cancelled("the call was given up")
}

fn decoded<T: prost::Message + Default>(requests: &[Any]) -> Result<Vec<T>, String> {
    let decode = |any: &Any| T::decode(any.value.as_slice()).map_err(|error| error.to_string());
    requests.iter().map(decode).collect()
}

fn headers(metadata: &micro::Metadata) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    for (name, value) in metadata.iter() {
        match headers.iter_mut().find(|header| header.name == name) {
            Some(header) => header.value.push(value.into()),
            None => headers.push(Header { name: name.into(), value: vec![value.into()] }),
        }
    }
    headers
}

fn told(error: Error) -> WireError {
    let details = error.attached().iter();
    let details = details
        .map(|detail| Any { type_url: detail.type_url.clone(), value: detail.value.to_vec() })
        .collect();
    let code: Code = error.code();
    WireError { code: code.grpc(), message: Some(error.detail().to_owned()), details }
}
