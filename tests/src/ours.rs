//! The Greeter of `proto/greeter.proto` on this framework: what the peers call, and what calls them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use micro::registry::{self, Registry};
use micro::service::ServiceBuilder;
use micro::{Client, Context, Error, Result, Service, Streaming};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, SetOnce};
use tokio::time::timeout;

use crate::greeter::{
    ChatMessage, CountReply, CountRequest, FailReply, FailRequest, HeadersReply, HeadersRequest,
    HelloReply, HelloRequest, RelayReply, RelayRequest, SumReply, SumRequest, WaitReply,
    WaitRequest,
};

/// How long a test waits for something it caused.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Our Greeter, running, and what its handlers saw.
#[derive(Debug)]
pub struct Ours {
    /// The service.
    pub service: Service,
    address: String,
    calls: Mutex<UnboundedReceiver<Called>>,
    ends: Mutex<UnboundedReceiver<Ended>>,
}

/// A call as its handler saw it.
#[derive(Debug)]
pub struct Called {
    /// Metadata, trace, endpoint.
    pub context: Context,
    /// Time it had left on arrival.
    pub remaining: Option<Duration>,
}

/// The end of a call that takes its time: `Wait`, `Count` and `Chat`.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its endpoint, for example `Greeter.Wait`.
    pub endpoint: String,
    /// True when the handler came to its end; false when the call ended before.
    pub finished: bool,
}

impl Ours {
    /// The oldest call not yet taken.
    ///
    /// # Panics
    /// When there is none within [`PATIENCE`].
    pub async fn next_call(&self) -> Called {
        let next = async { self.calls.lock().await.recv().await };
        timeout(PATIENCE, next).await.expect("a call in time").expect("a running service")
    }

    /// The oldest end of a call not yet taken.
    ///
    /// # Panics
    /// When there is none within [`PATIENCE`].
    pub async fn next_end(&self) -> Ended {
        let next = async { self.ends.lock().await.recv().await };
        timeout(PATIENCE, next).await.expect("an end in time").expect("a running service")
    }

    /// Where peers reach it without discovery.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Stops it in good order.
    ///
    /// # Panics
    /// When that fails.
    pub async fn stop(self) {
        self.service.stop().await.expect("an orderly stop");
    }
}

/// A client with the defaults, which belongs to no service.
///
/// # Panics
/// When the default registry does not open.
pub fn client() -> Client {
    Client::builder().registry(registry()).build().expect("a client")
}

/// The default registry, whatever the environment says.
///
/// # Panics
/// When it does not open.
pub fn registry() -> Arc<dyn Registry> {
    registry::connect("auto").expect("the default registry")
}

/// Our Greeter with the defaults, found by name.
pub async fn serve(name: &str) -> Ours {
    serve_with(name, |builder| builder).await
}

/// Like [`serve`], with other settings.
///
/// # Panics
/// When the service does not start.
pub async fn serve_with(name: &str, set: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Ours {
    let (calls, called) = unbounded_channel();
    let (ends, ended) = unbounded_channel();
    let handler = Handler(Arc::new(Shared { calls, ends, own: SetOnce::new() }));
    let builder = handler.endpoints(Service::builder(name).registry(registry()));
    let service = set(builder).start().await.expect("the service starts");
    let own = Own { node: service.node().id.clone(), client: service.client().clone() };
    assert!(handler.0.own.set(own).is_ok(), "it is set once");
    let address = service.node().address;
    Ours { service, address, calls: Mutex::new(called), ends: Mutex::new(ended) }
}

#[derive(Clone)]
struct Handler(Arc<Shared>);

struct Shared {
    calls: UnboundedSender<Called>,
    ends: UnboundedSender<Ended>,
    /// Known once the service has started; its first calls may come before.
    own: SetOnce<Own>,
}

struct Own {
    node: String,
    client: Client,
}

/// Tells the test how a long call ended, from its drop or from the end of its context.
struct Finish(Arc<AtomicBool>);

impl Finish {
    fn finished(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Handler {
    fn endpoints(&self, builder: ServiceBuilder) -> ServiceBuilder {
        // Every closure hands a clone of the handler to the method that answers.
        macro_rules! answer {
            ($method:ident) => {{
                let handler = self.clone();
                move |context, request| {
                    let handler = handler.clone();
                    async move { handler.$method(context, request).await }
                }
            }};
        }
        builder
            .endpoint("Greeter.Hello", answer!(hello))
            .endpoint("Greeter.Fail", answer!(fail))
            .endpoint("Greeter.Headers", answer!(headers))
            .endpoint("Greeter.Wait", answer!(wait))
            .endpoint("Greeter.Relay", answer!(relay))
            .server_stream("Greeter.Count", answer!(count))
            .client_stream("Greeter.Sum", answer!(sum))
            .bidi_stream("Greeter.Chat", answer!(chat))
    }

    fn called(&self, context: &Context) {
        let called = Called { context: context.clone(), remaining: context.remaining() };
        let _ = self.0.calls.send(called);
    }

    /// Reports the end of the call once its context is over.
    fn report_end(&self, context: &Context) -> Finish {
        let finished = Arc::new(AtomicBool::new(false));
        let (ends, context, done) = (self.0.ends.clone(), context.clone(), finished.clone());
        tokio::spawn(async move {
            context.cancelled().await;
            let endpoint = context.endpoint().to_owned();
            let _ = ends.send(Ended { endpoint, finished: done.load(Ordering::SeqCst) });
        });
        Finish(finished)
    }

    async fn hello(self, context: Context, request: HelloRequest) -> Result<HelloReply> {
        self.called(&context);
        Ok(HelloReply {
            greeting: format!("Hello {}", request.name),
            served_by: self.0.own.wait().await.node.clone(),
            request: Some(request),
        })
    }

    async fn fail(self, context: Context, request: FailRequest) -> Result<FailReply> {
        self.called(&context);
        Err(failure(request))
    }

    async fn headers(self, context: Context, _: HeadersRequest) -> Result<HeadersReply> {
        self.called(&context);
        context.set_header("answered-by", "micro")?;
        context.set_trailer("ended-by", "micro")?;
        let mut bytes = micro::Metadata::new();
        bytes.insert_bin("answered-bin", b"\x00\xff")?;
        context.extend_headers(bytes)?;
        let mut bytes = micro::Metadata::new();
        bytes.insert_bin("trailer-bin", b"\x01\xfe")?;
        context.extend_trailers(bytes)?;
        Ok(HeadersReply { headers: texts(&context) })
    }

    async fn wait(self, context: Context, request: WaitRequest) -> Result<WaitReply> {
        self.called(&context);
        let end = self.report_end(&context);
        let remaining = context.remaining();
        let time = u64::try_from(request.milliseconds).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(time)).await;
        end.finished();
        Ok(WaitReply {
            has_deadline: remaining.is_some(),
            remaining_milliseconds: remaining.unwrap_or_default().as_millis() as i64,
        })
    }

    async fn relay(self, context: Context, request: RelayRequest) -> Result<RelayReply> {
        self.called(&context);
        let client = &self.0.own.wait().await.client;
        let mut call = client.call(&request.service, "Greeter.Headers", HeadersRequest {});
        if !request.address.is_empty() {
            call = call.address(request.address);
        }
        let there: HeadersReply = call.await?;
        Ok(RelayReply { here: texts(&context), there: there.headers })
    }

    async fn count(
        self,
        context: Context,
        request: CountRequest,
    ) -> Result<impl Stream<Item = Result<CountReply>>> {
        self.called(&context);
        let end = self.report_end(&context);
        let values = stream::iter((1..=request.to).map(|value| Ok(CountReply { value })));
        let last = stream::once(async move {
            end.finished();
            request.failure.map(|request| Err(failure(request)))
        });
        Ok(values.chain(last.filter_map(|failed| async { failed })))
    }

    async fn sum(self, context: Context, mut requests: Streaming<SumRequest>) -> Result<SumReply> {
        self.called(&context);
        let mut sum = SumReply::default();
        while let Some(request) = requests.message().await? {
            sum.total += request.value;
            sum.count += 1;
            if request.last {
                break;
            }
        }
        Ok(sum)
    }

    async fn chat(
        self,
        context: Context,
        requests: Streaming<ChatMessage>,
    ) -> Result<impl Stream<Item = Result<ChatMessage>>> {
        self.called(&context);
        let end = self.report_end(&context);
        Ok(stream::unfold((requests, end, false), |(mut requests, end, over)| async move {
            if over {
                return None;
            }
            let said = match requests.message().await {
                Ok(Some(said)) => said,
                Ok(None) => {
                    end.finished();
                    return None;
                }
                Err(error) => return Some((Err(error), (requests, end, true))),
            };
            if let Some(request) = said.failure {
                end.finished();
                return Some((Err(failure(request)), (requests, end, true)));
            }
            if said.text == "bye" {
                end.finished();
                return None;
            }
            let echo = ChatMessage { text: format!("echo: {}", said.text), failure: None };
            Some((Ok(echo), (requests, end, false)))
        }))
    }
}

/// The form is the peers' affair: this framework has one.
fn failure(request: FailRequest) -> Error {
    Error::from_http(request.id, request.detail, request.code)
}

fn texts(context: &Context) -> std::collections::HashMap<String, String> {
    let metadata = context.metadata();
    metadata.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
