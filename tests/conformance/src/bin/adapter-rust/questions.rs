//! What is asked beside calls, and what is followed: one arm an operation, each a method of the crate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use micro::client::NodeHealth;
use micro::registry::{self, Memory, Service};
use micro::selector::Node;
use micro::settings::{Fields, Value};
use micro::{Client, Code, Error, Result};
use micro_conformance::Line;
use serde_json::json;
use tokio::time::Instant;

use crate::calls::Calls;
use crate::output::failure;
use crate::requests::Requests;

/// A question: which one, with which arguments, and how long its answer may take.
pub(crate) struct Question {
    pub(crate) operation: String,
    pub(crate) args: String,
    pub(crate) timeout: Option<Duration>,
}

impl Question {
    pub(crate) fn of(request: &Line) -> Self {
        let text = |name| request.get(name).unwrap_or_default().to_owned();
        let timeout = request.number("timeout").map(Duration::from_millis);
        Self { operation: text("operation"), args: text("args"), timeout }
    }

    fn fields(&self) -> Result<Fields> {
        Fields::of("arguments", &self.args)
    }

    /// Futures have no timeout of their own in Rust; they are given one.
    async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(limit) = self.timeout else { return work.await };
        let late = |_| Error::new(Code::DeadlineExceeded, format!("{} is late", self.operation));
        tokio::time::timeout(limit, work).await.map_err(late)?
    }

    /// Asks it of a client; the answer is JSON, or nothing.
    pub(crate) async fn ask(&self, client: &Client) -> Result<Option<serde_json::Value>> {
        self.within(self.answer(client)).await
    }

    async fn answer(&self, client: &Client) -> Result<Option<serde_json::Value>> {
        let mut args = self.fields()?;
        let registry = client.registry();
        let answer = match self.operation.as_str() {
            "client.health" => {
                let service = args.require("service", Value::text)?;
                args.finish()?;
                client.health(&service).await?.into_iter().map(health).collect()
            }
            "client.nodes" => {
                let service = args.require("service", Value::text)?;
                args.finish()?;
                client.cache().resolve(&service).await?.nodes().iter().map(node).collect()
            }
            "client.stats" => {
                args.finish()?;
                client.metrics().to_json()
            }
            "registry.get" => {
                let service = args.require("service", Value::text)?;
                args.finish()?;
                json!(registry.get(&service).await?)
            }
            "registry.list" => {
                args.finish()?;
                json!(registry.list().await?)
            }
            "registry.register" => {
                let service = args.require("service", record)?;
                let ttl = args.read("ttl", Value::period)?;
                args.finish()?;
                registry.register(&service, ttl).await?;
                return Ok(None);
            }
            "registry.deregister" => {
                let service = args.require("service", record)?;
                args.finish()?;
                registry.deregister(&service).await?;
                return Ok(None);
            }
            other => return Err(Error::invalid_argument(format!("nothing is asked by `{other}`"))),
        };
        Ok(Some(answer))
    }
}

fn record(value: Value) -> Result<Service> {
    value.parse("a registry record")
}

fn node(node: &Arc<Node>) -> serde_json::Value {
    let now = Instant::now();
    json!({
        "node": node.id(),
        "address": node.address(),
        "version": node.version(),
        "in_flight": node.in_flight(),
        "ejected": node.is_ejected(now),
    })
}

fn health(health: NodeHealth) -> serde_json::Value {
    json!({
        "node": health.node.id,
        "address": health.node.address,
        "version": health.version,
        "serving": health.is_serving(),
        "detail": health.answer.err().map(|error| error.to_string()),
    })
}

/// What `service.stats` answers.
pub(crate) fn stats(service: &micro::Service) -> serde_json::Value {
    let server = service.server();
    json!({
        "in_flight": server.in_flight(),
        "shed": server.shed(),
        "edges": server.metrics().to_json(),
    })
}

/// An answer on a line.
pub(crate) fn told(line: Line, answer: Result<Option<serde_json::Value>>) -> Line {
    match answer {
        Ok(Some(answer)) => line.with("code", 0).with("answer", answer),
        Ok(None) => line.with("code", 0),
        Err(error) => failure(line, &error),
    }
}

/// Asks a question; it ends with one result.
pub(crate) fn ask(calls: &Calls, client: &Client, request: &Line, id: u64) {
    let (question, client) = (Question::of(request), client.clone());
    calls.spawn(id, None, async move {
        told(Line::new("result").with("id", id), question.ask(&client).await)
    });
}

/// Follows changes, one for each request to receive.
pub(crate) fn follow(calls: &Calls, client: &Client, request: &Line, id: u64) {
    let (question, client, output) = (Question::of(request), client.clone(), calls.output);
    let (requests, mut inbox) = Requests::channel();
    calls.spawn(id, Some(requests), async move {
        let follow = async {
            let mut args = question.fields()?;
            let service = args.read("service", Value::text)?;
            args.finish()?;
            let watch = client.registry().watch(service.as_deref());
            let mut watcher = question.within(watch).await?;
            output.tell(&Line::new("opened").with("id", id));
            while inbox.receiving.recv().await.is_some() {
                let change = watcher.next().await?;
                let line = Line::new("change").with("id", id);
                output.tell(&line.with("answer", json!(change)));
            }
            Ok(None)
        };
        told(Line::new("result").with("id", id), follow.await)
    });
}

/// Registries of this program's own, as URLs name them.
#[derive(Clone, Default)]
pub(crate) struct Provided(Arc<Mutex<HashMap<String, Memory>>>);

impl Provided {
    /// From now on `host://name` is a registry of this program.
    pub(crate) fn provide(&self, name: &str) -> Result<()> {
        let known = self.clone();
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.is_empty() {
            registry::provide("host", move |name| {
                let names = known.0.lock().unwrap_or_else(PoisonError::into_inner);
                let found = names.get(name).cloned();
                let found = found.ok_or_else(|| Error::unavailable("this is not provided"))?;
                Ok(Arc::new(found))
            })?;
        }
        names.insert(name.to_owned(), Memory::new());
        Ok(())
    }
}
