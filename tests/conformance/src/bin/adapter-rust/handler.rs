//! The handlers of `Conformance`: one interpreter of plans behind four kinds of endpoint.

use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use micro::broker::Subscriber;
use micro::jobs::Job;
use micro::server::Endpoint;
use micro::settings::JobSettings;
use micro::{Client, Code, Codec, Context, Detail, Error, Json, Raw, Result, Streaming};
use micro_conformance::{Line, Payload, Plan, pattern};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::Wrong;
use crate::keys::{Key, Keys};
use crate::output::Output;
use crate::questions::Question;

/// What all handlers of the process share.
pub(crate) struct Shared {
    pub(crate) keys: Keys,
    pub(crate) output: Output,
    pub(crate) wrong: Option<Wrong>,
}

/// What the handlers of one service share.
pub(crate) struct State {
    pub(crate) shared: Arc<Shared>,
    /// Name of this node in answers.
    pub(crate) tag: String,
    /// There once the service has started.
    pub(crate) client: watch::Receiver<Option<Client>>,
}

/// A type as a program in Rust has it.
#[derive(Serialize, Deserialize)]
struct Order {
    order_id: i64,
    #[serde(default)]
    buyer: String,
    #[serde(default)]
    order_parts: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
struct Part {
    part_no: u32,
}

async fn order(_: Context, Json(order): Json<Order>) -> Result<Json<String>> {
    let parts: Vec<_> = order.order_parts.iter().map(|part| part.part_no.to_string()).collect();
    Ok(Json(format!("{} {} {}", order.order_id, order.buyer, parts.join(","))))
}

/// The endpoints.
pub(crate) fn endpoints(state: &Arc<State>) -> [Endpoint; 6] {
    let unary = |name: &'static str| {
        let state = state.clone();
        Endpoint::unary(name, move |context: Context, Raw(request): Raw| {
            let state = state.clone();
            async move {
                let lossy = state.shared.wrong == Some(Wrong::Echo) && name.ends_with("Echo");
                let mut turn = Turn::begin(state, context)?;
                turn.payload = request;
                turn.run(false).await?;
                if lossy {
                    turn.payload.truncate(turn.payload.len().saturating_sub(1));
                }
                Ok(Raw(turn.payload.clone()))
            }
        })
    };
    let (count, sum, chat) = (state.clone(), state.clone(), state.clone());
    [
        unary("Conformance.Echo"),
        unary("Conformance.Do"),
        Endpoint::server_stream("Conformance.Count", move |context, Raw(request): Raw| {
            let turn = Turn::begin(count.clone(), context);
            async move {
                let mut turn = turn?;
                turn.payload = request;
                Ok(sending(turn))
            }
        }),
        Endpoint::client_stream("Conformance.Sum", move |context, requests: Streaming<Raw>| {
            let turn = Turn::begin(sum.clone(), context);
            async move {
                let mut turn = turn?;
                turn.incoming = Some(requests);
                turn.run(false).await?;
                turn.context.set_trailer("received", &turn.received.to_string())?;
                Ok(Raw(turn.payload.clone()))
            }
        }),
        Endpoint::unary("Conformance.Order", order).internal(),
        Endpoint::bidi_stream("Conformance.Chat", move |context, requests: Streaming<Raw>| {
            let turn = Turn::begin(chat.clone(), context);
            async move {
                let mut turn = turn?;
                turn.incoming = Some(requests);
                Ok(sending(turn))
            }
        }),
    ]
}

/// Does what the plan of each message says.
pub(crate) fn subscriber(state: &Arc<State>, topic: &str) -> Subscriber {
    let state = state.clone();
    Subscriber::raw(topic, move |incoming| {
        let state = state.clone();
        async move {
            let mut turn = Turn::begin(state, incoming.context)?;
            turn.payload = incoming.delivered.message.body.clone();
            turn.run(false).await
        }
    })
}

/// The same of tasks, whose answers are the payloads that are left.
pub(crate) fn worker(state: &Arc<State>, topic: &str) -> Subscriber {
    let state = state.clone();
    Subscriber::raw_task(topic, move |incoming| {
        let state = state.clone();
        async move {
            let mut turn = Turn::begin(state, incoming.context)?;
            turn.payload = incoming.delivered.message.body.clone();
            turn.run(false).await?;
            Ok(turn.payload.clone())
        }
    })
}

/// Tells of each run.
pub(crate) fn job(state: &Arc<State>, settings: JobSettings) -> Job {
    let state = state.clone();
    settings.job(move |context| {
        let run = context.job();
        let output = state.shared.output;
        async move {
            let run = run.ok_or_else(|| Error::internal("this is no run"))?;
            let line = Line::new("event").with("name", "said").with("key", &run.job);
            output.tell(&Payload::of(run.attempt.to_string().as_bytes()).onto(line));
            Ok(())
        }
    })
}

/// Replies of a streaming handler: the plan runs as far as they are taken.
fn sending(mut turn: Turn) -> impl Stream<Item = Result<Raw>> + Send + 'static {
    let (sender, mut replies) = mpsc::channel(1);
    turn.outgoing = Some(sender);
    let mut plan = Some(Box::pin(async move { turn.run(true).await }));
    let mut failed = None;
    stream::poll_fn(move |cx| {
        if let Some(running) = &mut plan
            && let Poll::Ready(outcome) = running.as_mut().poll(cx)
        {
            plan = None;
            failed = outcome.err();
        }
        // What was sent before the failure comes before it.
        match ready!(replies.poll_recv(cx)) {
            Some(bytes) => Poll::Ready(Some(Ok(Raw(bytes)))),
            None => Poll::Ready(failed.take().map(Err)),
        }
    })
}

/// One call being handled.
struct Turn {
    state: Arc<State>,
    context: Context,
    plan: Plan,
    key: Option<(String, Arc<Key>)>,
    payload: Bytes,
    received: u64,
    incoming: Option<Streaming<Raw>>,
    outgoing: Option<mpsc::Sender<Bytes>>,
    over: bool,
}

impl Turn {
    /// Reads the plan, and does what must be done before anything else.
    fn begin(state: Arc<State>, context: Context) -> Result<Self> {
        let text = context.metadata().get("do").unwrap_or_default();
        let plan = Plan::parse(text).map_err(|error| Error::invalid_argument(error.to_string()))?;
        let mut turn = Self {
            state,
            context,
            plan,
            key: None,
            payload: Bytes::new(),
            received: 0,
            incoming: None,
            outgoing: None,
            over: false,
        };
        for (action, value) in turn.plan.iter() {
            if let Some(name) = action.strip_prefix("header.") {
                turn.context.set_header(name, value)?;
            } else if action == "tag" {
                turn.context.set_header("tag", &turn.state.tag)?;
            } else if action == "key" {
                turn.key = Some((value.to_owned(), turn.state.shared.keys.of(value)));
            }
        }
        Ok(turn)
    }

    fn event(&self, name: &str) {
        let key = self.key.as_ref().map_or("", |(name, _)| name);
        self.state.shared.output.tell(&Line::new("event").with("name", name).with("key", key));
    }

    fn say(&self) {
        let key = self.key.as_ref().map_or("", |(name, _)| name);
        let line = Line::new("event").with("name", "said").with("key", key);
        self.state.shared.output.tell(&Payload::of(&self.payload).onto(line));
    }

    /// Publishes the payload as part of what is handled.
    async fn publish(&mut self, topic: &str, plan: &str) -> Result<()> {
        let client = self.context.client()?;
        let message = client.publish(topic, Raw(self.payload.clone())).codec(Codec::Bytes);
        message.metadata("do", plan).await
    }

    fn key(&self) -> Result<&Arc<Key>> {
        let missing = || Error::invalid_argument("the plan needs a key for this");
        self.key.as_ref().map(|(_, key)| key).ok_or_else(missing)
    }

    /// Runs the plan, then takes the messages that are left. A turn that is dropped before that, or
    /// breaks off because the caller is gone, counts as cancelled.
    async fn run(&mut self, echo: bool) -> Result<()> {
        let outcome = match self.act().await {
            Ok(()) => self.receive(u64::MAX, echo).await,
            failed => failed,
        };
        self.over = !matches!(&outcome, Err(error) if error.code() == Code::Cancelled);
        outcome
    }

    async fn act(&mut self) -> Result<()> {
        let call = match &self.key {
            Some((_, key)) => key.count(|counts| counts.calls += 1).calls,
            None => 0,
        };
        let (mut error, mut size, mut fill) = (Failing::default(), None, 0);
        let (mut next, mut args, mut times) = (String::new(), String::new(), u64::MAX);
        let plan = self.plan.clone();
        for (action, value) in plan.iter() {
            match action {
                // Headers leave when the handler returns its stream, which it has.
                "key" | "tag" | "begin" => {}
                "tell" if value == call.to_string() => self.event("reached"),
                "tell" => {}
                "publish" => self.publish(value, &next).await?,
                "say" => self.say(),
                "report" => self.payload = self.report(value)?.into(),
                "size" => size = Some(number(value)?),
                "fill" => fill = number(value)? as u8,
                "hold" => {
                    let key = self.key()?.clone();
                    self.event("held");
                    key.wait().await;
                }
                "block" => {
                    let key = self.key()?.clone();
                    self.event("held");
                    key.block();
                }
                "sleep" => tokio::time::sleep(Duration::from_millis(number(value)?)).await,
                "next" => next = value.to_owned(),
                "call" => self.call(value, &next).await?,
                "args" => args = value.to_owned(),
                "ask" => self.ask(value, &args).await?,
                "messages" => {
                    let message = made(size, fill).unwrap_or_else(|| self.payload.clone());
                    for _ in 0..number(value)? {
                        self.send(message.clone()).await?;
                    }
                }
                "receive" => self.receive(number(value)?, false).await?,
                "times" => times = number(value)?,
                "detail" => error.detail = value.to_owned(),
                "error_id" => error.id = value.to_owned(),
                "http" => error.http = Some(number(value)? as i32),
                "fail" if call <= times => return Err(error.with(value)?),
                "fail" => {}
                #[allow(clippy::panic, reason = "the scenario is about a handler that panics")]
                "panic" => panic!("{value}"),
                // A Rust handler answers by returning: it cannot forget to.
                "forget" => return Err(Error::unimplemented("handlers of Rust cannot forget")),
                _ => {
                    if let Some(name) = action.strip_prefix("trailer.") {
                        self.context.set_trailer(name, value)?;
                    } else if let Some(name) = action.strip_prefix("attach.") {
                        error.attached.push(Detail::new(name, value.to_owned()));
                    } else if !action.starts_with("header.") {
                        return Err(Error::invalid_argument(format!("no action `{action}`")));
                    }
                }
            }
        }
        if let Some(message) = made(size, fill) {
            self.payload = message;
        }
        Ok(())
    }

    /// What is known of the call, as text.
    fn report(&self, what: &str) -> Result<String> {
        match what {
            "metadata" => {
                let own =
                    self.context.metadata().iter().filter(|(name, _)| name.starts_with("test-"));
                let lines = own.map(|(name, value)| format!("{name}: {value}\n"));
                Ok(lines.collect())
            }
            "deadline" => Ok(match self.context.remaining() {
                Some(left) => left.as_millis().to_string(),
                None => "none".to_owned(),
            }),
            "delivery" => {
                let known = self.context.delivered();
                let known = known.ok_or_else(|| Error::invalid_argument("this is no message"))?;
                let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
                let message = &known.message;
                Ok(format!(
                    "{} {} {} {} {}",
                    message.topic,
                    known.attempt,
                    text(&message.key),
                    text(&message.id),
                    message.priority
                ))
            }
            "caller" => Ok(self.context.caller().unwrap_or_default().to_owned()),
            "endpoint" => Ok(self.context.endpoint().to_owned()),
            _ => Err(Error::invalid_argument(format!("nothing known of `{what}`"))),
        }
    }

    /// The client of the service.
    async fn client(&mut self) -> Result<Client> {
        let mut client = self.state.client.clone();
        let client = client.wait_for(Option::is_some).await.ok().and_then(|client| client.clone());
        client.ok_or_else(|| Error::unavailable("the service has not started"))
    }

    /// Asks a question, as part of this call.
    async fn ask(&mut self, operation: &str, args: &str) -> Result<()> {
        let (operation, args) = (operation.to_owned(), args.to_owned());
        let question = Question { operation, args, timeout: None };
        let answer = question.ask(&self.client().await?).await?;
        self.payload = answer.map(|answer| answer.to_string()).unwrap_or_default().into();
        Ok(())
    }

    /// Asks `service` to go on with the plan `next`.
    async fn call(&mut self, service: &str, next: &str) -> Result<()> {
        let client = self.client().await?;
        let request = Raw(self.payload.clone());
        let call = client.call::<_, Raw>(service, "Conformance.Do", request);
        let Raw(reply) = call.content_type("application/grpc+bytes").metadata("do", next).await?;
        self.payload = reply;
        Ok(())
    }

    async fn send(&mut self, message: Bytes) -> Result<()> {
        let outgoing = self.outgoing.as_ref();
        let outgoing = outgoing.ok_or_else(|| Error::invalid_argument("no stream of replies"))?;
        // There is room for one message: when there is again, this one was taken.
        if outgoing.send(message).await.is_err() || outgoing.reserve().await.is_err() {
            return Err(Error::cancelled("the caller no longer takes replies"));
        }
        if let Some((_, key)) = &self.key {
            key.count(|counts| counts.sent += 1);
        }
        Ok(())
    }

    /// Receives up to `most` messages, and sends them back where they are to be echoed.
    async fn receive(&mut self, most: u64, echo: bool) -> Result<()> {
        for _ in 0..most {
            let Some(incoming) = &mut self.incoming else { break };
            let Some(Raw(message)) = incoming.message().await? else { break };
            self.received += 1;
            if let Some((_, key)) = &self.key {
                key.count(|counts| counts.received += 1);
            }
            self.payload = message.clone();
            if echo {
                self.send(message).await?;
            }
        }
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.over
            && !std::thread::panicking()
            && let Some((_, key)) = &self.key
        {
            key.count(|counts| counts.cancelled += 1);
            self.event("cancelled");
        }
    }
}

/// An error to be.
#[derive(Default)]
struct Failing {
    detail: String,
    id: String,
    http: Option<i32>,
    attached: Vec<Detail>,
}

impl Failing {
    fn with(self, code: &str) -> Result<Error> {
        let error = match self.http {
            Some(http) => Error::from_http(self.id, self.detail, http),
            None => {
                let code = i32::try_from(number(code)?).ok().and_then(Code::from_grpc);
                let code = code.ok_or_else(|| Error::invalid_argument("no such code"))?;
                Error::new(code, self.detail).with_id(self.id)
            }
        };
        Ok(self.attached.into_iter().fold(error, Error::with_attached))
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| Error::invalid_argument(format!("`{text}` is no number")))
}

fn made(size: Option<u64>, fill: u8) -> Option<Bytes> {
    size.map(|size| pattern(usize::try_from(size).unwrap_or_default(), fill))
}
