//! A peer: another program, driven over JSON lines (see `interop/README.md`).

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// How long a peer may take to start, and to end.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a peer may take to answer, beyond the operation's own limit.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// A running peer. Dropping it kills the process.
#[derive(Debug)]
pub struct Peer {
    name: String,
    child: Child,
    input: Mutex<Option<ChildStdin>>,
    last_id: AtomicU64,
    waiting: Waiting,
    /// True once the peer has closed its stdout.
    silent: watch::Receiver<bool>,
    ready: Value,
    _home: TempDir,
}

impl Peer {
    /// Starts `command` and waits until it is up. What it prints on stderr goes to the test's output.
    ///
    /// # Panics
    ///
    /// When it ends or stays silent instead.
    pub async fn start(name: &str, mut command: Command) -> Self {
        // Nothing may depend on, or write into, the developer's home, nor go through a proxy.
        let home = TempDir::new().unwrap();
        command.env("HOME", home.path());
        for (variable, _) in std::env::vars_os() {
            let lower = variable.to_string_lossy().to_ascii_lowercase();
            if lower.ends_with("_proxy") || lower.starts_with("micro_") {
                command.env_remove(variable);
            }
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {command:?} does not start: {error}"));
        let input = child.stdin.take();
        let output = child.stdout.take().unwrap();
        let waiting = Waiting::default();
        let (up, is_up) = oneshot::channel();
        let (closing, silent) = watch::channel(false);
        let answers = waiting.clone();
        thread::spawn(move || {
            read_answers(output, up, &answers);
            // In this order a question asked meanwhile is refused by one of the two.
            let _ = closing.send(true);
            answers.lock().unwrap().clear();
        });
        let mut peer = Self {
            name: name.to_owned(),
            child,
            input: Mutex::new(input),
            last_id: AtomicU64::new(0),
            waiting,
            silent,
            ready: Value::Null,
            _home: home,
        };
        peer.ready = match timeout(START_LIMIT, is_up).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(_)) => panic!("{name} ended before it was up: {:?}", peer.child.wait()),
            Err(_) => panic!("{name} was not up within {START_LIMIT:?}"),
        };
        assert_eq!(peer.ready["ready"], true, "{name} said {}", peer.ready);
        peer
    }

    /// A fact the peer told when it came up, such as `address`.
    ///
    /// # Panics
    ///
    /// When it did not.
    pub fn fact(&self, key: &str) -> &str {
        let fact = self.ready[key].as_str();
        fact.unwrap_or_else(|| panic!("{} did not tell its {key}: {}", self.name, self.ready))
    }

    /// Asks for an operation with its fields, and waits for the result.
    ///
    /// # Panics
    ///
    /// When the peer cannot try the operation, dies, or does not answer in time; a failed call is a result.
    pub async fn ask(&self, op: &str, fields: Value) -> Value {
        let request = self.post(op, fields);
        request.await
    }

    /// Like [`ask`](Self::ask), but the question is on its way when this returns, before the answer is awaited.
    pub fn post(&self, op: &str, fields: Value) -> impl Future<Output = Value> + use<> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let mut request = match fields {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => panic!("the fields of an operation are an object, not {other}"),
        };
        let own_limit =
            ["timeoutMs", "deadlineMs"].iter().filter_map(|key| request.get(*key)?.as_u64()).max();
        let limit = ANSWER_LIMIT + Duration::from_millis(own_limit.unwrap_or(0));
        request.insert("id".into(), json!(id));
        request.insert("op".into(), json!(op));
        let mut line = serde_json::to_vec(&request).unwrap();
        line.push(b'\n');

        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, answer);
        if *self.silent.borrow() {
            self.waiting.lock().unwrap().clear();
        }
        let mut input = self.input.lock().unwrap();
        let written = input.as_mut().expect("the peer is not ended").write_all(&line);
        assert!(written.is_ok(), "{} does not listen to {op}: {written:?}", self.name);

        let what = format!("{} {op}", self.name);
        async move {
            match timeout(limit, answered).await {
                Ok(Ok(mut answer)) => {
                    assert!(answer.get("failure").is_none(), "{what} could not be tried: {answer}");
                    answer["result"].take()
                }
                Ok(Err(_)) => panic!("{what}: the peer ended without an answer"),
                Err(_) => panic!("{what}: no answer within {limit:?}"),
            }
        }
    }

    /// Takes the oldest event of a kind that the peer recorded, waiting up to five seconds for one.
    pub async fn next(&self, kind: &str) -> Value {
        self.ask("next", json!({ "kind": kind })).await
    }

    /// Ends the peer in good order, which a go-micro service uses to say goodbye, and waits until it is gone.
    pub async fn end(mut self) {
        drop(self.input.lock().unwrap().take());
        let gone = self.silent.wait_for(|silent| *silent);
        let in_time = timeout(START_LIMIT, gone).await.is_ok();
        assert!(in_time, "{} did not end within {START_LIMIT:?}", self.name);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    /// Kills the peer as a crash would: without a goodbye.
    pub fn crash(self) {
        drop(self);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_answers(output: ChildStdout, up: oneshot::Sender<Value>, waiting: &Waiting) {
    let mut up = Some(up);
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        let answer: Value = match serde_json::from_str(&line) {
            Ok(answer) => answer,
            Err(error) => {
                eprintln!("a peer answered {line:?}: {error}");
                return;
            }
        };
        if let Some(up) = up.take() {
            let _ = up.send(answer);
            continue;
        }
        let asked = answer["id"].as_u64().and_then(|id| waiting.lock().unwrap().remove(&id));
        match asked {
            Some(asked) => {
                let _ = asked.send(answer);
            }
            None => eprintln!("an answer to no question: {line}"),
        }
    }
}
