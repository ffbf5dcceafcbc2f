//! Steps about what a client asks and follows beside calls.

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{LOOK_AGAIN, Play};
use crate::Line;
use crate::runner::call::{Call, check_failure};
use crate::runner::expect::{OneOf, holds, same};
use crate::runner::process::PATIENCE;
use crate::runner::step;
use crate::runner::variables::fill;

/// A line that says what is asked.
fn asking(operation: &str, args: &toml::Table, timeout: Option<u64>) -> Result<Line, String> {
    let args = serde_json::to_string(args).map_err(|error| error.to_string())?;
    let line = Line::new("").with("operation", operation).with("args", args);
    Ok(match timeout {
        Some(timeout) => line.with("timeout", timeout),
        None => line,
    })
}

/// The JSON that an answer or a change carries.
fn answer(line: &Line) -> Result<Value, String> {
    let text = line.get("answer").unwrap_or("null");
    serde_json::from_str(text).map_err(|error| format!("`{text}` is no JSON: {error}"))
}

impl Play<'_> {
    /// Asks, and looks at the answer; again and again where it may take a while to become so.
    pub(super) async fn asks(&mut self, asks: step::Asks) -> Result<(), String> {
        for number in 1..=asks.times {
            let begun = Instant::now();
            while let Err(wrong) = self.asked(&asks, number).await {
                if !asks.until || begun.elapsed() > PATIENCE {
                    return Err(wrong);
                }
                sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    async fn asked(&self, asks: &step::Asks, number: u64) -> Result<(), String> {
        let process = match &asks.server {
            Some(name) => self.server(Some(name))?,
            None => self.client()?,
        };
        let args = [("n".to_owned(), number.to_string())].into();
        let args = fill(&asks.args.clone().into(), &args);
        let args = args.as_table().ok_or("arguments are a table")?;
        let line = asking(&asks.operation, args, asks.timeout)?;
        let result = process.ask("ask", |begun| begun.followed(line)).await?;
        let fine = OneOf(vec!["OK".to_owned()]);
        let codes = if asks.code.0.is_empty() { &fine } else { &asks.code };
        check_failure(&result, codes, &asks.says)?;
        if let Some(reason) = &asks.reason {
            same("reason", reason, result.get("reason").unwrap_or_default())?;
        }
        if let Some(elapsed) = &asks.elapsed_ms {
            elapsed.check("elapsed_ms", result.number("elapsed_ms"))?;
        }
        asks.answer.as_ref().map_or(Ok(()), |expected| holds(expected, &answer(&result)?))
    }

    /// Begins a question, or to follow something.
    pub(super) fn question(&mut self, it: step::Question, verb: &str) -> Result<(), String> {
        let client = self.client()?.clone();
        let line = asking(&it.operation, &it.args, it.timeout)?;
        let answering = client.begin(|begun| begun.followed(line), verb);
        let call = Call::new(client, answering, verb == "follow");
        if self.calls.insert(it.id.clone(), call).is_some() {
            return Err(format!("there is a call `{}` already", it.id));
        }
        Ok(())
    }

    /// Asks for a change and waits for it.
    pub(super) async fn change(&mut self, change: step::Change) -> Result<(), String> {
        let call = self.call(&change.id)?;
        call.tell("recv", |line| line);
        let line = call.expect("change").await?;
        change.answer.as_ref().map_or(Ok(()), |expected| holds(expected, &answer(&line)?))
    }

    /// Has the client provide a registry of its own.
    pub(super) async fn provide(&mut self, it: step::Provide) -> Result<(), String> {
        let answer = self.client()?.ask("provide", |line| line.with("name", &it.name)).await?;
        super::refused(&answer, &it.refused, &it.says).map(drop)
    }

    /// Whether the nodes say of their health what they should.
    pub(super) async fn healthy(&self, nodes: step::Nodes) -> Result<(), String> {
        let mut said: Vec<String> = Vec::new();
        for node in self.about_service("client.health").await?.as_array().into_iter().flatten() {
            // What could not be asked says so in its own words, beginning with the code.
            let detail = node["detail"].as_str().unwrap_or_default();
            said.push(match (detail.split([' ', ':']).next(), &node["serving"]) {
                (Some(code), _) if !code.is_empty() => code.to_owned(),
                (_, Value::Bool(true)) => "serving".to_owned(),
                _ => "not_serving".to_owned(),
            });
        }
        said.sort();
        if said == nodes.say {
            return Ok(());
        }
        Err(format!("expected {:?}, the nodes say {said:?}", nodes.say))
    }

    /// Waits until the client sees so many nodes.
    pub(super) async fn sees(&self, sees: step::Sees) -> Result<(), String> {
        let mut among = Vec::new();
        for name in &sees.among {
            let address = self.variables.get(&format!("address.{name}"));
            among.push(address.ok_or_else(|| format!("`{name}` told no address"))?);
        }
        let begun = Instant::now();
        loop {
            let records = self.about_service("registry.get").await?;
            let versions = records.as_array().into_iter().flatten();
            let nodes = versions.flat_map(|version| version["nodes"].as_array().into_iter());
            let seen: Vec<&str> =
                nodes.flatten().filter_map(|node| node["address"].as_str()).collect();
            if seen.len() == sees.nodes && among.iter().all(|address| seen.contains(&&***address)) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("the client sees {seen:?}"));
            }
            // A look, because a watch would have to begin before the steps that it is about.
            sleep(LOOK_AGAIN).await;
        }
    }

    /// What is answered about the service of the scenario; nothing of a failure.
    async fn about_service(&self, operation: &str) -> Result<Value, String> {
        let args = serde_json::json!({ "service": self.service }).to_string();
        let line = Line::new("").with("operation", operation).with("args", args);
        answer(&self.client()?.ask("ask", |begun| begun.followed(line)).await?)
    }
}
