//! Registries that programs write in their own language, against the contract of registries.
//!
//! The adapter of a language provides one and opens it by its URL as any program would, so a case goes the whole way: to the
//! language's client, through the core to the registry that the language wrote, and back.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use micro::registry::contract::{self, Case, Subject};
use micro::registry::{Change, Registry, Service, Watcher};
use micro::{Code, Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Outcome;
use super::adapters::Adapter;
use super::matrix::Verdict;
use super::process::{Answering, Process};
use crate::Line;

/// Name of the registry in its process.
const NAME: &str = "mine";

/// Runs every case on a registry that the adapter provides; `tell` hears of each as it ends.
///
/// # Errors
/// When the adapter does not provide one.
pub async fn keeps_contract(
    adapter: &Adapter,
    tell: impl Fn(&Case, &Verdict),
) -> Outcome<Vec<Verdict>> {
    let process = Process::start(adapter, "client", &Arc::default()).await?;
    let settings = json!({ "registry": format!("host://{NAME}") }).to_string();
    for (verb, field, value) in [("provide", "name", NAME), ("start", "settings", &settings)] {
        let answer = process.ask(verb, |line| line.with(field, value)).await?;
        if answer.verb != "ok" {
            return Err(format!("{}: `{verb}`: {answer}\n{}", adapter.name, process.trace()).into());
        }
    }
    let cases = contract::cases().iter().map(async |case| {
        let registry = Provided(process.clone());
        let played = case.run(Subject::new(registry.clone(), registry));
        let verdict = match tokio::spawn(played).await {
            Ok(()) => Verdict::Passed,
            Err(broken) => Verdict::Failed(why(broken.into_panic())),
        };
        tell(case, &verdict);
        verdict
    });
    let verdicts = futures_util::stream::iter(cases).buffer_unordered(contract::cases().len());
    let verdicts = verdicts.collect().await;
    process.exit().await?;
    Ok(verdicts)
}

/// What a case that broke off said.
fn why(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "it panicked".to_owned())
}

/// The registry, as the client of the process sees it.
#[derive(Clone)]
struct Provided(Arc<Process>);

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provided").field(&self.0.number).finish()
    }
}

/// A question on a line.
fn question(operation: &str, args: &Value) -> Line {
    Line::new("").with("operation", operation).with("args", args)
}

/// What is JSON on a line.
fn read<T: DeserializeOwned>(line: &Line) -> Result<T> {
    let text = line.get("answer").unwrap_or_default();
    serde_json::from_str(text).map_err(|error| Error::internal(format!("{line}: {error}")))
}

/// The failure that a result tells.
fn failure(line: &Line) -> Option<Error> {
    let number = line.number("code").and_then(|number| i32::try_from(number).ok());
    match number {
        Some(0) => None,
        number => {
            let code = number.and_then(Code::from_grpc).unwrap_or(Code::Unknown);
            Some(Error::new(code, line.get("detail").unwrap_or_default().to_owned()))
        }
    }
}

impl Provided {
    async fn ask(&self, operation: &str, args: &Value) -> Result<Line> {
        let line = question(operation, args);
        let answer = self.0.ask("ask", |begun| begun.followed(line)).await;
        let answer = answer.map_err(Error::internal)?;
        failure(&answer).map_or(Ok(answer), Err)
    }
}

#[async_trait::async_trait]
impl Registry for Provided {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()> {
        let ttl = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        self.ask("registry.register", &json!({ "service": service, "ttl": ttl })).await.map(drop)
    }

    async fn deregister(&self, service: &Service) -> Result<()> {
        self.ask("registry.deregister", &json!({ "service": service })).await.map(drop)
    }

    async fn get(&self, name: &str) -> Result<Vec<Service>> {
        read(&self.ask("registry.get", &json!({ "service": name })).await?)
    }

    async fn list(&self) -> Result<Vec<Service>> {
        read(&self.ask("registry.list", &json!({})).await?)
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        let args = service.map_or_else(|| json!({}), |service| json!({ "service": service }));
        let line = question("registry.watch", &args);
        let mut changes = self.0.begin(|begun| begun.followed(line), "follow");
        let opened = changes.next().await.map_err(Error::internal)?;
        if opened.verb != "opened" {
            return Err(failure(&opened).unwrap_or_else(|| Error::internal(opened.to_string())));
        }
        let (sender, watcher) = Watcher::channel(service);
        let followed = Followed { process: self.0.clone(), id: changes.id };
        let telling = tokio::spawn(async move {
            while let Some(change) = next_change(&followed, &mut changes).await {
                if !sender.send(&Arc::new(change)) {
                    return;
                }
            }
        });
        Ok(watcher.with_guard(tokio_util::task::AbortOnDropHandle::new(telling)))
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

/// The next change; nothing once the watch is over.
async fn next_change(followed: &Followed, changes: &mut Answering) -> Option<Change> {
    followed.tell("recv");
    let line = changes.whenever().await?;
    if line.verb == "change" { read(&line).ok() } else { None }
}

/// Something followed, until this is dropped.
struct Followed {
    process: Arc<Process>,
    id: u64,
}

impl Followed {
    fn tell(&self, verb: &str) {
        self.process.tell(&Line::new(verb).with("id", self.id));
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.tell("cancel");
    }
}
