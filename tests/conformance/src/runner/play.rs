//! A scenario being played.

mod questions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::Scenario;
use super::call::{Call, check_failure, check_metadata, check_payload, wanted};
use super::cell::Cell;
use super::document::{document, terms};
use super::endpoints;
use super::expect::OneOf;
use super::process::{Answering, PATIENCE, Process};
use super::reflection;
use super::step::{self, Step};
use super::variables::Variables;
use crate::Line;

/// Between two looks at something that does not tell of its changes.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What a scenario has begun so far.
pub(super) struct Play<'a> {
    cell: &'a Cell,
    scenario: &'a Scenario,
    variables: Variables,
    service: String,
    client: Option<Arc<Process>>,
    servers: BTreeMap<String, Arc<Process>>,
    calls: BTreeMap<String, Call>,
    stops: BTreeMap<String, Answering>,
}

/// Name of the server of scenarios that start none.
const SHARED: &str = "shared";

impl<'a> Play<'a> {
    pub(super) async fn new(cell: &'a Cell, scenario: &'a Scenario) -> Result<Self, String> {
        let number = cell.number();
        let service = match scenario.own_servers {
            true => format!("conformance-{number}"),
            false => cell.service.clone(),
        };
        let mut variables = cell.variables();
        variables.insert("key".into(), format!("key-{number}"));
        variables.insert("service".into(), service.clone());
        variables.insert("data".into(), cell.data(number));
        let mut play = Self {
            cell,
            scenario,
            variables,
            service,
            client: None,
            servers: BTreeMap::new(),
            calls: BTreeMap::new(),
            stops: BTreeMap::new(),
        };
        if !scenario.own_client {
            play.client = Some(cell.shared_client().await?);
        }
        if !scenario.own_servers {
            let server = cell.shared_server().await?;
            play.servers.insert(SHARED.into(), server);
        }
        Ok(play)
    }

    /// Takes every step, and looks whether everything has ended as it should.
    pub(super) async fn run(&mut self) -> Result<(), String> {
        for (index, written) in self.scenario.steps.iter().enumerate() {
            let step = Step::filled(written, &self.variables)?;
            self.take(step)
                .await
                .map_err(|error| format!("step {} {written}: {error}", index + 1))?;
        }
        for (id, call) in &mut self.calls {
            if !call.over {
                return Err(format!("no step looks at the end of `{id}`"));
            }
            // Once it has answered this, it has said all it had to say before.
            if call.process.lives() {
                call.process.ask("ping", |line| line).await?;
            }
            if let Some(line) = call.extra() {
                return Err(format!("after the end of `{id}` came {line}"));
            }
        }
        for process in self.processes() {
            if let Some(broken) = process.broken().into_iter().next() {
                return Err(broken);
            }
        }
        for process in self.own_processes().filter(|process| process.lives()) {
            process.exit().await?;
        }
        Ok(())
    }

    /// What the adapters said last, to explain a failure.
    pub(super) fn trace(&self) -> String {
        let traces = self.servers.iter().map(|(name, server)| (name.as_str(), server));
        let client = self.client.iter().map(|client| ("client", client));
        client
            .chain(traces)
            .map(|(name, process)| format!("  {name}:\n{}", process.trace()))
            .collect()
    }

    /// Leaves nothing of a failed scenario to those that share its adapters.
    pub(super) async fn clean_up(&mut self) {
        for call in self.calls.values().filter(|call| !call.over) {
            call.tell("cancel", |line| line);
        }
        let _ = self.release(None).await;
        for process in self.own_processes() {
            let _ = process.kill().await;
        }
    }

    fn processes(&self) -> impl Iterator<Item = &Arc<Process>> {
        self.client.iter().chain(self.servers.values())
    }

    fn own_processes(&self) -> impl Iterator<Item = &Arc<Process>> {
        let client = self.client.iter().filter(|_| self.scenario.own_client);
        let servers = self.servers.iter().filter(|(name, _)| *name != SHARED);
        client.chain(servers.map(|(_, server)| server))
    }

    fn client(&self) -> Result<&Arc<Process>, String> {
        self.client.as_ref().ok_or_else(|| "there is no client yet".to_owned())
    }

    fn server(&self, name: Option<&str>) -> Result<&Arc<Process>, String> {
        match name {
            Some(name) => {
                self.servers.get(name).ok_or_else(|| format!("there is no server `{name}`"))
            }
            None => self.servers.values().next().ok_or_else(|| "there is no server".to_owned()),
        }
    }

    fn call(&mut self, id: &str) -> Result<&mut Call, String> {
        self.calls.get_mut(id).ok_or_else(|| format!("there is no call `{id}`"))
    }

    fn key<'k>(&'k self, key: Option<&'k str>) -> &'k str {
        key.unwrap_or(&self.variables["key"])
    }

    async fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Start(start) => self.start(start).await,
            Step::Client(start) => self.start_client(start).await,
            Step::Call(call) => self.begin(call, "call", false),
            Step::Publish(publish) => self.publish(publish),
            Step::Many(call) => self.begin(call, "many", false),
            Step::Open(call) => {
                let asked = call.kind.as_deref() != Some("client");
                self.begin(call, "open", asked)
            }
            Step::Opened(it) => self.call(&it.id)?.expect("opened").await.map(drop),
            Step::Headers(it) => {
                let call = self.call(&it.id)?;
                call.tell("headers", |line| line);
                check_metadata(&call.expect("headers").await?, "h.", &it.headers)
            }
            Step::Send(send) => self.send(send).await,
            Step::Recv(recv) => self.recv(recv).await,
            Step::Ask(it) => self.tell(&it.id, "recv"),
            Step::Close(it) => self.tell(&it.id, "close"),
            Step::Cancel(it) => {
                let call = self.call(&it.id)?;
                call.asked = false;
                call.tell("cancel", |line| line);
                Ok(())
            }
            Step::Asks(asks) => self.asks(asks).await,
            Step::Question(it) => self.question(it, "ask"),
            Step::Follow(it) => self.question(it, "follow"),
            Step::Change(change) => self.change(change).await,
            Step::Provide(it) => self.provide(it).await,
            Step::Drain(it) => self.call(&it.id)?.drain().await,
            Step::Ends(ends) => ends.check(&self.call(&ends.id)?.end().await?),
            Step::Tally(tally) => tally.check(&self.call(&tally.id)?.end().await?),
            Step::Event(event) => self.event(event).await,
            Step::Release(it) => self.release(it.key.as_deref()).await,
            Step::Counts(counts) => self.counts(counts).await,
            Step::Kill(at) => self.server(at.server.as_deref())?.kill().await,
            Step::Exit(at) => self.exit(at).await,
            Step::Stop(at) => self.stop(at),
            Step::Stopped(at) => self.stopped(at).await,
            Step::Health(it) => {
                let server = self.server(it.server.as_deref())?;
                server.ask("health", |line| line.with("serving", it.serving)).await.map(drop)
            }
            Step::Healthy(nodes) => self.healthy(nodes).await,
            Step::Sees(sees) => self.sees(sees).await,
            Step::Describes(it) => {
                let address = self.variables.get("address").or(self.cell.address()).cloned();
                let address = address.ok_or("no server has told its address")?;
                let look = reflection::check(&address, &it.services, &it.methods);
                timeout(PATIENCE, look).await.unwrap_or_else(|_| Err("no answer".to_owned()))
            }
        }
    }

    async fn start(&mut self, start: step::Start) -> Result<(), String> {
        let server = match self.servers.get(&start.server) {
            Some(server) => server.clone(),
            None => self.cell.start("server").await?,
        };
        self.servers.insert(start.server.clone(), server.clone());
        let settings = self.cell.settings("server", &start.settings)?;
        let line = Line::new("")
            .with("service", &self.service)
            .with("tag", &start.server)
            .with("settings", settings);
        let mut line = endpoints::onto(layered(line, &start.layers), &start.endpoints)?;
        for (topic, settings) in &start.subscribers {
            line = line.with(&format!("subscriber.{topic}"), Value::from(document(settings)?));
        }
        for (topic, settings) in &start.tasks {
            line = line.with(&format!("task.{topic}"), Value::from(document(settings)?));
        }
        for (name, settings) in &start.jobs {
            let mut settings = settings.clone();
            settings.insert("name".into(), name.as_str().into());
            line = line.with(&format!("job.{name}"), Value::from(document(&settings)?));
        }
        let answer = server.ask("start", |begun| begun.followed(line)).await?;
        if refused(&answer, &start.refused, &start.says)? {
            return Ok(());
        }
        let address = answer.get("address").ok_or("the server told no address")?;
        self.variables.insert("address".into(), address.to_owned());
        self.variables.insert(format!("address.{}", start.server), address.to_owned());
        Ok(())
    }

    async fn start_client(&mut self, start: step::Start) -> Result<(), String> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.cell.start("client").await?,
        };
        self.client = Some(client.clone());
        let settings = self.cell.settings("client", &start.settings)?;
        let line = layered(Line::new("").with("settings", settings), &start.layers);
        let answer = client.ask("start", |begun| begun.followed(line)).await?;
        refused(&answer, &start.refused, &start.says).map(drop)
    }

    fn begin(&mut self, call: step::Call, verb: &str, asked: bool) -> Result<(), String> {
        let client = self.client()?.clone();
        let service = call.service.as_deref().unwrap_or(&self.service);
        let endpoint = match call.endpoint.contains(['.', '/']) || call.endpoint.is_empty() {
            true => call.endpoint.clone(),
            false => format!("Conformance.{}", call.endpoint),
        };
        let plan = call.plan.as_ref().map(|plan| plan.plan(service));
        let mut line = Line::new("")
            .with("service", service)
            .with("endpoint", endpoint)
            .with("settings", terms(&call.settings, plan)?);
        for (name, value) in [("count", call.count), ("concurrency", call.concurrency)] {
            line = match value {
                Some(value) => line.with(name, value),
                None => line,
            };
        }
        if let Some(kind) = &call.kind {
            line = line.with("kind", kind);
        }
        line = wanted(call.payload.as_deref(), call.size, call.fill, line)?;
        let answering = client.begin(|begun| begun.followed(line), verb);
        if self.calls.insert(call.id.clone(), Call::new(client, answering, asked)).is_some() {
            return Err(format!("there is a call `{}` already", call.id));
        }
        Ok(())
    }

    fn publish(&mut self, it: step::Publish) -> Result<(), String> {
        let client = self.client()?.clone();
        let line = Line::new("")
            .with("topic", &it.topic)
            .with("do", &it.plan)
            .with("settings", Value::from(document(&it.settings)?));
        let line = if it.task { line.with("task", true) } else { line };
        let line = wanted(it.payload.as_deref(), it.size, it.fill, line)?;
        let answering = client.begin(|begun| begun.followed(line), "publish");
        let call = Call::new(client, answering, false);
        if self.calls.insert(it.id.clone(), call).is_some() {
            return Err(format!("there is a call `{}` already", it.id));
        }
        Ok(())
    }

    fn tell(&mut self, id: &str, verb: &str) -> Result<(), String> {
        self.call(id)?.tell(verb, |line| line);
        Ok(())
    }

    async fn send(&mut self, send: step::Send) -> Result<(), String> {
        let call = self.call(&send.id)?;
        let message = wanted(send.payload.as_deref(), send.size, send.fill, Line::new(""))?;
        call.tell("send", |line| line.with("count", send.count).followed(message));
        match send.taken {
            None => Ok(()),
            Some(true) => call.expect("sent").await.map(drop),
            Some(false) => call.expect("unsent").await.map(drop),
        }
    }

    async fn recv(&mut self, recv: step::Recv) -> Result<(), String> {
        let call = self.call(&recv.id)?;
        for _ in 0..recv.count {
            call.tell("recv", |line| line);
            let message = call.expect("message").await?;
            check_payload(&message, recv.payload.as_deref(), recv.size, recv.fill)?;
        }
        Ok(())
    }

    async fn event(&mut self, event: step::Event) -> Result<(), String> {
        let key = self.key(event.key.as_deref());
        let at: Vec<u64> = match &event.server {
            Some(name) => vec![self.server(Some(name))?.number],
            None => self.servers.values().map(|server| server.number).collect(),
        };
        let mut last = 0;
        for _ in 0..event.count {
            let taken = self.cell.events.take(&at, &event.name, key);
            let (server, told) = timeout(PATIENCE, taken).await.map_err(|_| {
                format!("no event `{}` of {key} within {} s", event.name, PATIENCE.as_secs())
            })?;
            check_payload(&told, event.payload.as_deref(), event.size, event.fill)?;
            last = server;
        }
        if let Some(alias) = event.on {
            let server = self.servers.values().find(|server| server.number == last);
            let server = server.ok_or("the event came from nowhere")?.clone();
            self.servers.insert(alias, server);
        }
        Ok(())
    }

    async fn release(&self, key: Option<&str>) -> Result<(), String> {
        let key = self.key(key);
        for server in self.servers.values().filter(|server| server.lives()) {
            server.ask("release", |line| line.with("key", key)).await?;
        }
        Ok(())
    }

    async fn counts(&self, counts: step::Counts) -> Result<(), String> {
        let key = self.key(counts.key.as_deref());
        let server = self.server(counts.server.as_deref())?;
        let look = || server.ask("counts", |line| line.with("key", key));
        let begun = Instant::now();
        let mut before = None;
        loop {
            let line = look().await?;
            let fields = [
                ("calls", &counts.calls),
                ("received", &counts.received),
                ("sent", &counts.sent),
                ("cancelled", &counts.cancelled),
            ];
            let told = fields.map(|(name, _)| line.number(name));
            let checked = fields.into_iter().try_for_each(|(name, expected)| match expected {
                Some(expected) => expected.check(name, line.number(name)),
                None => Ok(()),
            });
            if !counts.settled || before == Some(told) || begun.elapsed() > PATIENCE {
                return checked;
            }
            before = Some(told);
            sleep(SETTLED).await;
        }
    }

    async fn exit(&mut self, at: step::At) -> Result<(), String> {
        if let Some(name) = &at.server {
            return self.server(Some(name))?.exit().await;
        }
        self.client()?.exit().await?;
        // No client is left to tell of their ends.
        self.calls.clear();
        Ok(())
    }

    fn stop(&mut self, at: step::At) -> Result<(), String> {
        let process = match &at.server {
            Some(name) => self.server(Some(name))?,
            None => self.client()?,
        };
        let stopping = process.begin(|line| line, "stop");
        self.stops.insert(at.server.unwrap_or_default(), stopping);
        Ok(())
    }

    async fn stopped(&mut self, at: step::At) -> Result<(), String> {
        let stopping = self.stops.get_mut(&at.server.unwrap_or_default());
        let answer = stopping.ok_or("it was not told to stop")?.next().await?;
        if answer.verb == "ok" { Ok(()) } else { Err(format!("it did not stop: {answer}")) }
    }
}

fn layered(line: Line, layers: &[String]) -> Line {
    layers.iter().fold(line, |line, name| line.with("layer", name))
}

/// Between two looks that must say the same.
const SETTLED: Duration = Duration::from_millis(100);

/// Whether a start was refused, and if so as expected.
fn refused(answer: &Line, codes: &Option<OneOf>, says: &OneOf) -> Result<bool, String> {
    match (codes, answer.verb.as_str()) {
        (Some(codes), "failed") => check_failure(answer, codes, says).map(|()| true),
        (None, "failed") => Err(format!("it did not start: {answer}")),
        (Some(_), _) => Err(format!("it started: {answer}")),
        (None, _) => Ok(false),
    }
}
