//! What is asked of a task, by its id.

use std::time::Duration;

use micro::Error;
use micro::settings::{Fields, Value};
use micro::tasks::State;
use serde_json::json;

use super::ground::{Answer, Args, At};
use crate::delivery::codec_of;
use crate::flags;

/// Of `task.result` and `task.state`.
pub(crate) struct OfTask {
    id: String,
}

impl Args for OfTask {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self { id: fields.require("id", Value::text)? })
    }
}

/// Waits for the answer of a task: the payload, in the codec that it was written in.
pub(crate) async fn result(at: At, args: OfTask) -> micro::Result<Answer> {
    // The deadline is the question's.
    let answer = at.client.task_by_id(&args.id)?.answer(Duration::MAX).await?;
    let codec = codec_of(answer.content_type.as_deref());
    Ok(Answer { payload: answer.body, flags: flags::of(codec), ..Answer::default() })
}

/// How far a task has come: `state`, and `attempt`, `node`, `code` and `error` where they are known.
pub(crate) async fn state(at: At, args: OfTask) -> micro::Result<Answer> {
    let told = |state: &str, attempt: Option<u32>, node: Option<&str>, error: Option<&Error>| {
        json!({
            "state": state,
            "attempt": attempt,
            "node": node,
            "code": error.map(|error| error.code().grpc()),
            "error": error.map(Error::detail),
        })
    };
    Answer::json(&match &at.client.task_by_id(&args.id)?.state().await? {
        State::Queued => told("queued", None, None, None),
        State::Running { attempt, node } => told("running", Some(*attempt), Some(node), None),
        State::Failed { attempt, error } => told("failed", Some(*attempt), None, Some(error)),
        State::Done => told("done", None, None, None),
        State::Dead { error } => told("dead", None, None, Some(error)),
        _ => return Err(Error::internal("a state of a task that is not known here")),
    })
}
