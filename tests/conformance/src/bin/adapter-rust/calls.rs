//! Calls that are under way, each with one result.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use micro::client::{Seen, Unary};
use micro::settings::{CallSettings, PublishSettings};
use micro::{Client, Codec, Error, Raw, Result};
use micro_conformance::{Line, Payload};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::output::{Output, failure, metadata};
use crate::requests::Requests;
use crate::wrong::Wrong;

/// What is under way.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) output: Output,
    running: Arc<Mutex<HashMap<u64, Running>>>,
    tasks: TaskTracker,
    wrong: Option<Wrong>,
}

/// A call or stream that has not ended.
struct Running {
    cancel: CancellationToken,
    /// Where requests about a stream go.
    requests: Option<Requests>,
}

/// What a request says of the call it is for.
pub(crate) struct Wanted {
    pub(crate) service: String,
    pub(crate) endpoint: String,
    pub(crate) settings: CallSettings,
    pub(crate) payload: Bytes,
}

impl Wanted {
    pub(crate) fn of(request: &Line) -> Result<Self> {
        let text = |name| request.get(name).unwrap_or_default().to_owned();
        let settings = CallSettings::from_json(request.get("settings").unwrap_or_default())?;
        let payload = Payload::wanted(request);
        Ok(Self { service: text("service"), endpoint: text("endpoint"), settings, payload })
    }

    fn call(&self, client: &Client) -> Unary<Raw, Raw> {
        let call = client.call(&self.service, &self.endpoint, Raw(self.payload.clone()));
        call.settings(&self.settings)
    }
}

impl Calls {
    pub(crate) fn new(output: Output, wrong: Option<Wrong>) -> Self {
        Self { output, running: Arc::default(), tasks: TaskTracker::new(), wrong }
    }

    /// Runs a call or stream; whatever happens, it ends with one result.
    pub(crate) fn spawn<F>(&self, id: u64, requests: Option<Requests>, run: F)
    where
        F: Future<Output = Line> + Send + 'static,
    {
        let cancel = CancellationToken::new();
        self.lock().insert(id, Running { cancel: cancel.clone(), requests });
        let (calls, begun) = (self.clone(), Instant::now());
        self.tasks.spawn(async move {
            let result = tokio::select! {
                biased;
                result = run => result,
                () = cancel.cancelled() => {
                    failure(Line::new("result").with("id", id), &Error::cancelled("the caller gave up"))
                }
            };
            calls.lock().remove(&id);
            let result = result.with("elapsed_ms", begun.elapsed().as_millis());
            calls.output.tell(&result);
            if calls.wrong == Some(Wrong::End) && result.number("code") != Some(0) {
                calls.output.tell(&result);
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that has ended has nothing to cancel.
    pub(crate) fn cancel(&self, id: u64) {
        if let Some(running) = self.lock().get(&id) {
            running.cancel.cancel();
        }
    }

    /// Cancels everything, and waits until all has ended.
    pub(crate) async fn end_all(&self) {
        for running in self.lock().values() {
            running.cancel.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// Hands a request to the stream it is about.
    pub(crate) fn forward(&self, id: u64, request: Line) {
        let given = match self.lock().get(&id) {
            Some(Running { requests: Some(requests), .. }) => requests.give(request.clone()),
            _ => false,
        };
        if !given && request.verb == "send" {
            self.output.tell(&Line::new("unsent").with("id", id));
        }
    }

    pub(crate) fn call(&self, client: &Client, request: &Line, id: u64) {
        let (wanted, client) = (Wanted::of(request), client.clone());
        self.spawn(id, None, async move {
            let line = Line::new("result").with("id", id);
            let seen = Seen::new();
            let reply = match wanted {
                Ok(wanted) => wanted.call(&client).seen(&seen).send().await,
                Err(error) => Err(error),
            };
            result(line, reply.map(|reply| Some(reply.message)), &seen)
        });
    }

    pub(crate) fn publish(&self, client: &Client, request: &Line, id: u64) {
        let settings = request.get("settings").unwrap_or_default();
        let publish = PublishSettings::from_json(settings).map(|settings| {
            let topic = request.get("topic").unwrap_or_default();
            let message = client.publish(topic, Raw(Payload::wanted(request)));
            let message = message.codec(Codec::Bytes).settings(&settings);
            message.metadata("do", request.get("do").unwrap_or_default())
        });
        if request.get("task").is_some() {
            let client = client.clone();
            self.spawn(id, None, async move {
                let line = Line::new("result").with("id", id);
                let work = async {
                    let task = publish?.task(&client).await?;
                    task.result::<Raw>(Duration::from_secs(10)).await
                };
                match work.await {
                    Ok(answer) => Payload::of(&answer.0).onto(line.with("code", 0)),
                    Err(error) => failure(line, &error),
                }
            });
            return;
        }
        self.spawn(id, None, async move {
            let line = Line::new("result").with("id", id);
            let published = match publish {
                Ok(publish) => publish.await,
                Err(error) => Err(error),
            };
            match published {
                Ok(()) => line.with("code", 0),
                Err(error) => failure(line, &error),
            }
        });
    }

    pub(crate) fn many(&self, client: &Client, request: Line, id: u64) {
        let (wanted, client) = (Wanted::of(&request), client.clone());
        let count = request.number("count").unwrap_or(1);
        let concurrency = request.number("concurrency").unwrap_or(1);
        self.spawn(id, None, async move {
            let line = Line::new("result").with("id", id);
            let wanted = match wanted {
                Ok(wanted) => wanted,
                Err(error) => return failure(line, &error),
            };
            let calls = (0..count).map(|_| wanted.call(&client).send());
            let mut calls =
                futures_util::stream::iter(calls).buffer_unordered(concurrency as usize);
            let (mut ok, mut wrong) = (0, 0);
            let (mut codes, mut tags) = (BTreeMap::new(), BTreeMap::new());
            while let Some(outcome) = calls.next().await {
                match outcome {
                    Ok(reply) => {
                        ok += 1;
                        wrong += u64::from(reply.message.0 != wanted.payload);
                        if let Some(tag) = reply.headers.get("tag") {
                            *tags.entry(tag.to_owned()).or_insert(0_u64) += 1;
                        }
                    }
                    Err(error) => *codes.entry(error.code().grpc()).or_insert(0_u64) += 1,
                }
            }
            let mut line = line.with("code", 0).with("ok", ok).with("wrong", wrong);
            for (code, count) in codes {
                line = line.with(&format!("failed.{code}"), count);
            }
            for (tag, count) in tags {
                line = line.with(&format!("tag.{tag}"), count);
            }
            line
        });
    }
}

/// The end of a call or stream.
pub(crate) fn result(line: Line, outcome: Result<Option<Raw>>, seen: &Seen) -> Line {
    let line = match outcome {
        Ok(None) => line.with("code", 0),
        Ok(Some(Raw(message))) => Payload::of(&message).onto(line.with("code", 0)),
        Err(error) => failure(line, &error),
    };
    metadata(metadata(line, "h.", &seen.headers()), "t.", &seen.trailers())
}
