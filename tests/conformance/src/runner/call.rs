//! A call or stream that a scenario has begun.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::expect::{OneOf, Size, same};
use super::process::{Answering, Process};
use super::step::{Ends, Tally};
use crate::{Line, Payload};

/// One call, until its end has been looked at.
pub(super) struct Call {
    pub(super) process: Arc<Process>,
    answering: Answering,
    /// Lines that came while another was waited for.
    early: VecDeque<Line>,
    /// Messages come only when asked for.
    pub(super) asked: bool,
    /// Its result has been looked at.
    pub(super) over: bool,
}

impl Call {
    pub(super) fn new(process: Arc<Process>, answering: Answering, asked: bool) -> Self {
        Self { process, answering, early: VecDeque::new(), asked, over: false }
    }

    /// Tells the adapter something about it.
    pub(super) fn tell(&self, verb: &str, line: impl FnOnce(Line) -> Line) {
        self.process.tell(&line(Line::new(verb).with("id", self.answering.id)));
    }

    /// Waits for a line with one of these verbs; others wait for their turn.
    pub(super) async fn wait(&mut self, verbs: &[&str]) -> Result<Line, String> {
        let wanted = |line: &Line| verbs.contains(&line.verb.as_str());
        if let Some(index) = self.early.iter().position(wanted) {
            return Ok(self.early.remove(index).unwrap_or_default());
        }
        loop {
            let line = self.answering.next().await;
            let line = line.map_err(|error| format!("waiting for {verbs:?}: {error}"))?;
            if wanted(&line) {
                return Ok(line);
            }
            self.early.push_back(line);
        }
    }

    /// A line that came after the end.
    pub(super) fn extra(&mut self) -> Option<Line> {
        self.answering.now()
    }

    /// Waits for a line with this verb; the end of the call is a failure.
    pub(super) async fn expect(&mut self, verb: &str) -> Result<Line, String> {
        let line = self.wait(&[verb, "result"]).await?;
        if line.verb == verb {
            return Ok(line);
        }
        let told = format!("expected `{verb}`, but the call ended: {line}");
        self.early.push_front(line);
        Err(told)
    }

    /// Asks for whatever is left before its end.
    pub(super) async fn drain(&mut self) -> Result<(), String> {
        loop {
            self.tell("recv", |line| line);
            let line = self.wait(&["message", "change", "result"]).await?;
            if line.verb == "result" {
                self.early.push_front(line);
                return Ok(());
            }
        }
    }

    /// Its end.
    pub(super) async fn end(&mut self) -> Result<Line, String> {
        while let Some(line) = self.answering.now() {
            self.early.push_back(line);
        }
        if self.asked && !self.early.iter().any(|line| line.verb == "result") {
            self.tell("recv", |line| line);
        }
        let result = self.wait(&["message", "change", "result"]).await?;
        if result.verb != "result" {
            return Err(format!("expected the end, got {result}"));
        }
        self.over = true;
        Ok(result)
    }
}

/// The name of a result's code.
pub(super) fn code(result: &Line) -> String {
    match result.number("code") {
        Some(0) => "OK".to_owned(),
        Some(number) => i32::try_from(number)
            .ok()
            .and_then(micro::Code::from_grpc)
            .map_or_else(|| number.to_string(), |code| code.name().to_owned()),
        None => "none".to_owned(),
    }
}

/// Complains when a failure's code or detail is not as expected.
pub(super) fn check_failure(line: &Line, codes: &OneOf, says: &OneOf) -> Result<(), String> {
    let got = code(line);
    if !codes.0.contains(&got) {
        return Err(format!("expected code {}, got {line}", codes.0.join(" or ")));
    }
    let detail = line.get("detail").unwrap_or_default();
    match says.0.iter().find(|words| !detail.contains(words.as_str())) {
        Some(words) => Err(format!("expected a detail with `{words}`, got `{detail}`")),
        None => Ok(()),
    }
}

/// Complains when a message is not the expected one.
pub(super) fn check_payload(
    line: &Line,
    payload: Option<&str>,
    size: Option<Size>,
    fill: u64,
) -> Result<(), String> {
    if payload.is_none() && size.is_none() {
        return Ok(());
    }
    let wanted = wanted(payload, size, fill, Line::new("wanted"))?;
    let expected = Payload::of(&Payload::wanted(&wanted));
    match Payload::told(line) {
        Some(got) if got == expected => Ok(()),
        Some(got) => Err(format!("expected {expected:?}, got {got:?}")),
        None => Err(format!("expected a message, got {line}")),
    }
}

/// Complains when values are not the expected ones; `prefix` is `h.` or `t.`.
pub(super) fn check_metadata(
    line: &Line,
    prefix: &str,
    expected: &BTreeMap<String, OneOf>,
) -> Result<(), String> {
    for (name, values) in expected {
        let got: Vec<String> = line
            .under(prefix)
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect();
        let absent = values.0.iter().all(String::is_empty);
        if got != values.0 && !(absent && got.is_empty()) {
            let expected = &values.0;
            return Err(format!("expected {prefix}{name} {expected:?}, got {got:?}"));
        }
    }
    Ok(())
}

/// Puts the message of a step on a line.
pub(super) fn wanted(
    payload: Option<&str>,
    size: Option<Size>,
    fill: u64,
    line: Line,
) -> Result<Line, String> {
    match (payload, size) {
        (Some(text), _) => {
            let bytes = crate::unescape(text).map_err(|error| error.to_string())?;
            Ok(line.with_bytes("payload", &bytes))
        }
        (None, Some(Size(size))) => Ok(line.with("size", size).with("fill", fill)),
        (None, None) => Ok(line),
    }
}

impl Ends {
    /// Complains about an end that is not this one.
    pub(super) fn check(&self, result: &Line) -> Result<(), String> {
        let fine = OneOf(vec!["OK".to_owned()]);
        let codes = if self.code.0.is_empty() { &fine } else { &self.code };
        check_failure(result, codes, &self.says)?;
        if let Some(detail) = &self.detail {
            same("detail", detail, result.get("detail").unwrap_or_default())?;
        }
        if let Some(id) = &self.error_id {
            same("id", id, result.get("error_id").unwrap_or_default())?;
        }
        if let Some(reason) = &self.reason {
            same("reason", reason, result.get("reason").unwrap_or_default())?;
        }
        for (name, number) in
            [("http", &self.http), ("attempts", &self.attempts), ("elapsed_ms", &self.elapsed_ms)]
        {
            if let Some(number) = number {
                number.check(name, result.number(name))?;
            }
        }
        check_payload(result, self.payload.as_deref(), self.size, self.fill)?;
        if let Some(number) = &self.number {
            number.check("the payload", result.number("payload"))?;
        }
        check_metadata(result, "h.", &self.headers)?;
        check_metadata(result, "t.", &self.trailers)?;
        for (kind, value) in &self.attached {
            let field = format!("attached.type.googleapis.com/{kind}");
            same(&field, value, result.get(&field).unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Tally {
    /// Complains about the end of many calls that is not this one.
    pub(super) fn check(&self, result: &Line) -> Result<(), String> {
        for (name, number) in [("ok", &self.ok), ("wrong", &self.wrong)] {
            if let Some(number) = number {
                number.check(name, result.number(name)).map_err(|e| format!("{e}: {result}"))?;
            }
        }
        for (tag, number) in &self.tags {
            number.check(&format!("answers of {tag}"), result.number(&format!("tag.{tag}")))?;
        }
        for (name, number) in result.under("failed.") {
            let failed = Line::new("").with("code", name);
            match self.failed.get(&code(&failed)) {
                Some(expected) => expected.check(&code(&failed), number.parse().ok())?,
                None => return Err(format!("{number} calls failed with {}", code(&failed))),
            }
        }
        Ok(())
    }
}
