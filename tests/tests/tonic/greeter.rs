//! The greeter as a user of tonic writes it: nothing in here knows where it is served.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{Stream, StreamExt as _, stream};
use micro_tests::hall::greeter_server::Greeter;
use micro_tests::hall::{CountRequest, HelloReply, HelloRequest, Number, Text};
use prost::Message as _;
use prost::bytes::Bytes;
use tokio::sync::Notify;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status, Streaming};

/// Greets, and tells the test what happens.
#[derive(Clone, Default)]
pub(crate) struct Host {
    pub(crate) node: String,
    /// Rings when a call that waits has begun.
    pub(crate) entered: Arc<Notify>,
    /// Rings when a call that waits was given up.
    pub(crate) left: Arc<Notify>,
    /// Lets a call that waits go on.
    pub(crate) release: Arc<Notify>,
    pub(crate) calls: Arc<AtomicUsize>,
}

/// Rings when it is dropped.
struct Rings(Arc<Notify>);

impl Drop for Rings {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A `google.rpc.Status` with one detail, as `tonic-types` would write it.
pub(crate) fn details() -> Vec<u8> {
    let detail = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
        value: b"\n\x04FULL".to_vec(),
    };
    #[derive(Clone, PartialEq, prost::Message)]
    struct RpcStatus {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<prost_types::Any>,
    }
    let status = RpcStatus {
        code: Code::FailedPrecondition as i32,
        message: "the hall is full – später".to_owned(),
        details: vec![detail],
    };
    status.encode_to_vec()
}

/// Says no with all that a status has.
pub(crate) fn full() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("seats", "0".parse().expect("text"));
    metadata.insert_bin("plan-bin", MetadataValue::from_bytes(&[0, 200]));
    let (code, text) = (Code::FailedPrecondition, "the hall is full – später");
    Status::with_details_and_metadata(code, text, Bytes::from(details()), metadata)
}

impl Host {
    pub(crate) fn called(node: &str) -> Self {
        Self { node: node.to_owned(), ..Self::default() }
    }

    async fn wait(&self) {
        let _rings = Rings(self.left.clone());
        self.entered.notify_one();
        self.release.notified().await;
    }
}

#[tonic::async_trait]
impl Greeter for Host {
    type CountStream = Pin<Box<dyn Stream<Item = Result<Number, Status>> + Send>>;
    type ChatStream = Pin<Box<dyn Stream<Item = Result<Text, Status>> + Send>>;

    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let tenant =
            request.metadata().get("tenant").map(|value| value.to_str().unwrap().to_owned());
        let blob = request.metadata().get_bin("blob-bin").map(|value| value.to_bytes().unwrap());
        let timeout = request.metadata().get("grpc-timeout").is_some();
        let context = request.extensions().get::<micro::Context>().cloned();
        let HelloRequest { name, ballast } = request.into_inner();
        let greeting = match name.as_str() {
            "full" => return Err(full()),
            "odd" => {
                let odd = Bytes::from_static(b"no protobuf at all");
                return Err(Status::with_details(Code::Aborted, "odd details", odd));
            }
            "busy" => return Err(Status::unavailable("busy")),
            "panic" => panic!("on purpose"),
            "unimplemented" => return Err(Status::unimplemented("not yet")),
            "wait" => {
                self.wait().await;
                "waited".to_owned()
            }
            "timeout" => format!("{timeout}"),
            "remaining" => {
                let remaining = context.and_then(|context| context.remaining());
                remaining.map_or_else(String::new, |remaining| remaining.as_secs().to_string())
            }
            "tenant" => tenant.unwrap_or_default(),
            "blob" => format!("{blob:?}"),
            "context" => context.map_or_else(String::new, |context| {
                let caller = context.caller().unwrap_or_default().to_owned();
                format!("{} {} {caller}", context.service(), context.endpoint())
            }),
            name => format!("Hello, {name}!"),
        };
        let mut response = Response::new(HelloReply { greeting, node: self.node.clone(), ballast });
        response.metadata_mut().insert("served-by", self.node.parse().expect("text"));
        response.metadata_mut().insert_bin("seal-bin", MetadataValue::from_bytes(&[255, 0]));
        Ok(response)
    }

    async fn look(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        self.hello(request).await
    }

    async fn count(
        &self,
        request: Request<CountRequest>,
    ) -> Result<Response<Self::CountStream>, Status> {
        let CountRequest { to, fail } = request.into_inner();
        let numbers = stream::iter((1..=to).map(|value| Ok(Number { value })));
        let end = stream::iter(fail.then(|| Err(full())));
        if to == 0 && fail {
            // The status comes with the head, and no message.
            self.calls.fetch_add(1, Ordering::Relaxed);
            return Ok(Response::new(Box::pin(stream::iter([Err(Status::unavailable("busy"))]))));
        }
        if to == u32::MAX {
            // One number, and then nothing until the caller goes.
            let rings = Rings(self.left.clone());
            let forever = stream::once(async move {
                let _rings = rings;
                std::future::pending().await
            });
            let one = stream::iter([Ok(Number { value: 1 })]);
            return Ok(Response::new(Box::pin(one.chain(forever))));
        }
        let mut response = Response::new(Box::pin(numbers.chain(end)) as Self::CountStream);
        response.metadata_mut().insert("served-by", self.node.parse().expect("text"));
        Ok(response)
    }

    async fn sum(&self, request: Request<Streaming<Number>>) -> Result<Response<Number>, Status> {
        let mut numbers = request.into_inner();
        let mut value = 0;
        while let Some(number) = numbers.message().await? {
            value += number.value;
        }
        Ok(Response::new(Number { value }))
    }

    async fn chat(
        &self,
        request: Request<Streaming<Text>>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        let rings = Rings(self.left.clone());
        let texts = request.into_inner().map(move |text| {
            let _ = &rings;
            let text = text?;
            if text.text == "full" { Err(full()) } else { Ok(text) }
        });
        Ok(Response::new(Box::pin(texts)))
    }
}
