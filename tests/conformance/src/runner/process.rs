//! An adapter at work: a process that is told lines and answers them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Outcome;
use super::adapters::Adapter;
use super::events::Events;
use crate::Line;

/// How long an adapter may take for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long an interpreter may take to begin.
const BEGIN: Duration = Duration::from_secs(30);
/// Lines that are kept to explain a failure.
const KEPT: usize = 40;
/// Characters of a line that are kept.
const KEPT_WIDTH: usize = 300;

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// The process of an adapter; killed when it is dropped.
pub(super) struct Process {
    /// No other process of this run has it.
    pub(super) number: u64,
    child: tokio::sync::Mutex<Child>,
    requests: Mutex<Option<mpsc::UnboundedSender<String>>>,
    shared: Arc<Shared>,
    ids: AtomicU64,
}

/// What the tasks that read know.
struct Shared {
    answers: Mutex<Answers>,
    trace: Mutex<VecDeque<String>>,
}

#[derive(Default)]
struct Answers {
    /// What waits for the lines about an id; `None` once the process is gone.
    waiting: Option<HashMap<u64, mpsc::UnboundedSender<Line>>>,
    ended: HashSet<u64>,
    /// Promises of the protocol that were broken.
    broken: Vec<String>,
}

/// The lines about one id.
pub(super) struct Answering {
    pub(super) id: u64,
    lines: mpsc::UnboundedReceiver<Line>,
}

impl Answering {
    /// The next line.
    pub(super) async fn next(&mut self) -> Result<Line, String> {
        match timeout(PATIENCE, self.lines.recv()).await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => Err("the adapter ended".to_owned()),
            Err(_) => Err(format!("nothing came within {} s", PATIENCE.as_secs())),
        }
    }

    /// The next line, however long it takes; nothing once the adapter has ended.
    pub(super) async fn whenever(&mut self) -> Option<Line> {
        self.lines.recv().await
    }

    /// A line that is there already.
    pub(super) fn now(&mut self) -> Option<Line> {
        self.lines.try_recv().ok()
    }
}

impl Process {
    /// Starts an adapter in a role.
    pub(super) async fn start(
        adapter: &Adapter,
        role: &str,
        events: &Arc<Events>,
    ) -> Outcome<Arc<Self>> {
        let told = |error: &str| format!("{} as {role}: {error}", adapter.name);
        let (program, arguments) =
            adapter.run.split_first().ok_or_else(|| told("nothing to run"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .arg(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| told(&format!("cannot run {program}: {error}")))?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let answers = Answers { waiting: Some(HashMap::new()), ..Answers::default() };
        let shared = Arc::new(Shared { answers: Mutex::new(answers), trace: Mutex::default() });
        let (requests, mut written) = mpsc::unbounded_channel::<String>();
        let (ready, begun) = mpsc::unbounded_channel();
        if let Some(mut input) = child.stdin.take() {
            tokio::spawn(async move {
                while let Some(line) = written.recv().await {
                    if input.write_all(line.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
        if let Some(output) = child.stdout.take() {
            let (shared, events) = (shared.clone(), events.clone());
            tokio::spawn(async move {
                shared
                    .read(output, |line| match line.verb.as_str() {
                        "event" => events.push(number, line),
                        "ready" => drop(ready.send(())),
                        _ => shared.route(line),
                    })
                    .await;
                shared.answers().waiting = None;
            });
        }
        if let Some(errors) = child.stderr.take() {
            let shared = shared.clone();
            tokio::spawn(async move {
                let mut lines = BufReader::new(errors).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    shared.note("!", &line);
                }
            });
        }
        let process = Arc::new(Self {
            number,
            child: child.into(),
            requests: Mutex::new(Some(requests)),
            shared,
            ids: AtomicU64::new(1),
        });
        let mut begun = begun;
        match timeout(BEGIN, begun.recv()).await {
            Ok(Some(())) => Ok(process),
            _ => Err(told(&format!("it did not say `ready`\n{}", process.trace())).into()),
        }
    }

    /// Tells it a line under a new id.
    pub(super) fn begin(&self, line: impl FnOnce(Line) -> Line, verb: &str) -> Answering {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (sender, lines) = mpsc::unbounded_channel();
        if let Some(waiting) = &mut self.shared.answers().waiting {
            waiting.insert(id, sender);
        }
        self.tell(&line(Line::new(verb).with("id", id)));
        Answering { id, lines }
    }

    /// Tells it a line about something that began before.
    pub(super) fn tell(&self, line: &Line) {
        let text = line.to_string();
        self.shared.note(">", &text);
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(requests) = &*requests {
            // A process that is gone is noticed by the step that waits for its answer.
            let _ = requests.send(text + "\n");
        }
    }

    /// Tells it a line and waits for the answer.
    pub(super) async fn ask(
        &self,
        verb: &str,
        line: impl FnOnce(Line) -> Line,
    ) -> Result<Line, String> {
        let mut answering = self.begin(line, verb);
        let answer = answering.next().await;
        answer.map_err(|error| format!("`{verb}`: {error}"))
    }

    /// True until its output has ended.
    pub(super) fn lives(&self) -> bool {
        self.shared.answers().waiting.is_some()
    }

    /// Promises of the protocol it broke since this was asked last.
    pub(super) fn broken(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.answers().broken)
    }

    /// What was said last.
    pub(super) fn trace(&self) -> String {
        let trace = self.shared.trace.lock().unwrap_or_else(PoisonError::into_inner);
        trace.iter().map(|line| format!("    {line}\n")).collect()
    }

    /// Ends it without a warning.
    pub(super) async fn kill(&self) -> Result<(), String> {
        let killed = self.child.lock().await.kill().await;
        // It says nothing any more, and the end of what it has said may not have been read yet.
        self.shared.answers().waiting = None;
        killed.map_err(|error| format!("it could not be killed: {error}"))
    }

    /// Asks it to end; it must do so by itself, and say that all was well.
    pub(super) async fn exit(&self) -> Result<(), String> {
        self.tell(&Line::new("exit"));
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut child = self.child.lock().await;
        match timeout(PATIENCE, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("the adapter ended with {status}")),
            Ok(Err(error)) => Err(format!("the adapter cannot be waited for: {error}")),
            Err(_) => Err(format!("the adapter did not end within {} s", PATIENCE.as_secs())),
        }
    }
}

impl Shared {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, mark: &str, line: &str) {
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        if trace.len() == KEPT {
            trace.pop_front();
        }
        trace.push_back(format!("{mark} {}", line.chars().take(KEPT_WIDTH).collect::<String>()));
    }

    async fn read(&self, output: impl AsyncRead + Unpin, take: impl Fn(Line)) {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(text)) = lines.next_line().await {
            self.note("<", &text);
            match Line::parse(&text) {
                Ok(line) => take(line),
                Err(error) => self.answers().broken.push(format!("`{text}` is no line: {error}")),
            }
        }
    }

    /// Hands a line to the step that waits for it.
    fn route(&self, line: Line) {
        let mut answers = self.answers();
        let id = line.number("id").unwrap_or_default();
        let again = line.verb == "result" && !answers.ended.insert(id);
        let Some(waiting) = &mut answers.waiting else { return };
        if waiting.get(&id).is_some_and(|sender| sender.send(line.clone()).is_ok()) {
            return;
        }
        waiting.remove(&id);
        // No step waits any more for the first end of what a failed scenario left behind.
        if again || line.verb != "result" {
            answers.broken.push(format!("`{line}` was not asked for"));
        }
    }
}
