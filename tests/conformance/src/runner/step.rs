//! The steps scenarios are made of. `README.md` explains them.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use super::expect::{Number, OneOf, Size};
use super::variables::{Variables, fill};
use crate::Plan;

/// One step, written as a table with its name as the only key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Step {
    /// A server of this scenario's own.
    Start(Start),
    /// A client of this scenario's own.
    Client(Start),
    /// Begins a unary call.
    Call(Call),
    /// Publishes a message.
    Publish(Publish),
    /// Begins a stream.
    Open(Call),
    /// Begins many unary calls.
    Many(Call),
    /// The stream is open.
    Opened(CallId),
    /// Waits for the headers of a stream.
    Headers(Headers),
    /// Sends on a stream, and waits until it was taken.
    Send(Send),
    /// Asks for a message and waits for it.
    Recv(Recv),
    /// Asks for a message and does not wait.
    Ask(CallId),
    /// Half-closes a stream.
    Close(CallId),
    /// Cancels a call or stream.
    Cancel(CallId),
    /// The end of a call or stream.
    Ends(Ends),
    /// The end of many calls.
    Tally(Tally),
    /// Something a handler tells of.
    Event(Event),
    /// Lets handlers go that hold.
    Release(Keyed),
    /// What the handlers of a key did.
    Counts(Counts),
    /// Kills a server.
    Kill(At),
    /// Has the adapter of a server, or of the client, end whatever is under way.
    Exit(At),
    /// Begins to stop a server, or the client.
    Stop(At),
    /// The stop has come to its end.
    Stopped(At),
    /// Says how a server is.
    Health(Serving),
    /// Asks a question and looks at the answer.
    Asks(Asks),
    /// Begins a question.
    Question(Question),
    /// Begins to follow something.
    Follow(Question),
    /// Asks for a change of what is followed, and waits for it.
    Change(Change),
    /// Asks for changes or messages until the end.
    Drain(CallId),
    /// Has the client provide a registry of its own.
    Provide(Provide),
    /// What the client hears of the health of each node.
    Healthy(Nodes),
    /// Waits until the client sees so many nodes.
    Sees(Sees),
    /// What reflection lists.
    Describes(Describes),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    #[serde(default)]
    pub(super) server: String,
    #[serde(default)]
    pub(super) settings: Table,
    /// Settings of endpoints that differ from what they usually are.
    #[serde(default)]
    pub(super) endpoints: BTreeMap<String, Table>,
    /// Topics that it subscribes to, with the settings of each.
    #[serde(default)]
    pub(super) subscribers: BTreeMap<String, Table>,
    /// Topics whose tasks it works off, with the settings of each.
    #[serde(default)]
    pub(super) tasks: BTreeMap<String, Table>,
    /// Settings of its jobs, by their names.
    #[serde(default)]
    pub(super) jobs: BTreeMap<String, Table>,
    /// Middleware around its calls, the outermost first.
    #[serde(default)]
    pub(super) layers: Vec<String>,
    /// The code it is refused with.
    pub(super) refused: Option<OneOf>,
    /// Words in the detail of the refusal.
    #[serde(default)]
    pub(super) says: OneOf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) endpoint: String,
    pub(super) service: Option<String>,
    /// `client`, `server` or `bidi`.
    pub(super) kind: Option<String>,
    #[serde(rename = "do")]
    pub(super) plan: Option<Hops>,
    pub(super) payload: Option<String>,
    pub(super) size: Option<Size>,
    #[serde(default)]
    pub(super) fill: u64,
    #[serde(default)]
    pub(super) settings: Table,
    pub(super) count: Option<u64>,
    pub(super) concurrency: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Publish {
    pub(super) id: String,
    pub(super) topic: String,
    /// What its handler does.
    #[serde(rename = "do", default)]
    pub(super) plan: String,
    pub(super) payload: Option<String>,
    pub(super) size: Option<Size>,
    #[serde(default)]
    pub(super) fill: u64,
    #[serde(default)]
    pub(super) settings: Table,
    /// It is sent as a task, and ends with the answer.
    #[serde(default)]
    pub(super) task: bool,
}

/// A plan, or one for each hop of a chain of calls.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Hops {
    One(String),
    Chain(Vec<String>),
}

impl Hops {
    /// The plan of the first hop, which calls `service` with that of the next.
    pub(super) fn plan(&self, service: &str) -> String {
        match self {
            Self::One(plan) => plan.clone(),
            Self::Chain(plans) => {
                let mut plans = plans.iter().rev();
                let last = plans.next().cloned().unwrap_or_default();
                plans.fold(last, |next, plan| {
                    let call = Plan::default().then("next", &next).then("call", service);
                    let between = if plan.is_empty() { "" } else { ";" };
                    format!("{plan}{between}{call}")
                })
            }
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Headers {
    pub(super) id: String,
    /// Values by name; empty is absent.
    pub(super) headers: BTreeMap<String, OneOf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallId {
    pub(super) id: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    pub(super) id: String,
    pub(super) payload: Option<String>,
    pub(super) size: Option<Size>,
    #[serde(default)]
    pub(super) fill: u64,
    #[serde(default = "one")]
    pub(super) count: u64,
    /// Whether it is taken; otherwise the call is over. Not waited for unless set.
    pub(super) taken: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recv {
    pub(super) id: String,
    pub(super) payload: Option<String>,
    pub(super) size: Option<Size>,
    #[serde(default)]
    pub(super) fill: u64,
    #[serde(default = "one")]
    pub(super) count: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ends {
    pub(super) id: String,
    #[serde(default)]
    pub(super) code: OneOf,
    pub(super) http: Option<Number>,
    pub(super) detail: Option<String>,
    pub(super) error_id: Option<String>,
    pub(super) reason: Option<String>,
    /// Words in the detail.
    #[serde(default)]
    pub(super) says: OneOf,
    pub(super) payload: Option<String>,
    pub(super) size: Option<Size>,
    #[serde(default)]
    pub(super) fill: u64,
    /// The payload is a number.
    pub(super) number: Option<Number>,
    /// Values by name; empty is absent.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, OneOf>,
    #[serde(default)]
    pub(super) trailers: BTreeMap<String, OneOf>,
    /// Bytes by type.
    #[serde(default)]
    pub(super) attached: BTreeMap<String, String>,
    pub(super) attempts: Option<Number>,
    pub(super) elapsed_ms: Option<Number>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tally {
    pub(super) id: String,
    pub(super) ok: Option<Number>,
    pub(super) wrong: Option<Number>,
    /// Failures by code; others are none.
    #[serde(default)]
    pub(super) failed: BTreeMap<String, Number>,
    /// Answers by server.
    #[serde(default)]
    pub(super) tags: BTreeMap<String, Number>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) key: Option<String>,
    #[serde(default = "one")]
    pub(super) count: u64,
    /// What it tells.
    pub(super) payload: Option<String>,
    pub(super) size: Option<Size>,
    #[serde(default)]
    pub(super) fill: u64,
    /// Calls the server it happened at by this name from now on.
    pub(super) on: Option<String>,
    /// At this server.
    pub(super) server: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keyed {
    pub(super) key: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    pub(super) key: Option<String>,
    pub(super) server: Option<String>,
    pub(super) calls: Option<Number>,
    pub(super) received: Option<Number>,
    pub(super) sent: Option<Number>,
    pub(super) cancelled: Option<Number>,
    /// Two looks in a row must say the same.
    #[serde(default)]
    pub(super) settled: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    /// The client without it.
    pub(super) server: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Serving {
    pub(super) server: Option<String>,
    pub(super) serving: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nodes {
    /// What nodes say, sorted.
    pub(super) say: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sees {
    pub(super) nodes: usize,
    /// Addresses of these servers are among them.
    #[serde(default)]
    pub(super) among: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Describes {
    /// Services, at least.
    pub(super) services: Vec<String>,
    /// Methods of the first of them, each with its kind.
    pub(super) methods: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asks {
    pub(super) operation: String,
    #[serde(default)]
    pub(super) args: Table,
    /// Milliseconds that the answer may take.
    pub(super) timeout: Option<u64>,
    /// A server of the scenario; the client without it.
    pub(super) server: Option<String>,
    #[serde(default)]
    pub(super) code: OneOf,
    /// Words in the detail of a failure.
    #[serde(default)]
    pub(super) says: OneOf,
    pub(super) reason: Option<String>,
    /// What must be in the answer.
    pub(super) answer: Option<serde_json::Value>,
    pub(super) elapsed_ms: Option<Number>,
    /// How often, one after the other, with `$n` counting in the arguments.
    #[serde(default = "one")]
    pub(super) times: u64,
    /// Repeated until all of this is true.
    #[serde(default)]
    pub(super) until: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    pub(super) id: String,
    pub(super) operation: String,
    #[serde(default)]
    pub(super) args: Table,
    /// Milliseconds that the answer, or the opening, may take.
    pub(super) timeout: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    pub(super) id: String,
    /// What must be in it.
    pub(super) answer: Option<serde_json::Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Provide {
    pub(super) name: String,
    /// The code it is refused with.
    pub(super) refused: Option<OneOf>,
    /// Words in the detail of the refusal.
    #[serde(default)]
    pub(super) says: OneOf,
}

fn one() -> u64 {
    1
}

impl Step {
    /// Reads a step, whatever its variables stand for.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        Self::deserialize(value.clone())
            .map_err(|error| format!("the step {value} is none: {error}"))
    }

    /// Reads a step with its variables filled in.
    pub(super) fn filled(value: &Value, variables: &Variables) -> Result<Self, String> {
        Self::read(&fill(value, variables))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_calls_on_hop_by_hop() {
        let hops = Hops::Chain(["key=1", "", "report=deadline"].map(str::to_owned).to_vec());
        let first = Plan::parse(&hops.plan("x")).unwrap();
        let actions: Vec<_> = first.iter().collect();
        assert_eq!((actions[0], actions[2]), (("key", "1"), ("call", "x")));
        let second = Plan::parse(actions[1].1).unwrap();
        let actions: Vec<_> = second.iter().collect();
        assert_eq!(actions, [("next", "report=deadline"), ("call", "x")]);
    }
}
