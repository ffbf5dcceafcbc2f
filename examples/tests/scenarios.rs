//! Every example as a user runs it: service and client as processes, on a registry of the test's own.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

use std::process::Stdio;
use std::time::Duration;

use micro::registry::{Local, Registry as _};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longest any step may take.
const PATIENCE: Duration = Duration::from_secs(30);

struct Scenario {
    folder: TempDir,
    _service: Child,
}

impl Scenario {
    /// Starts a service and waits until it is registered.
    async fn of(name: &str, program: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = Local::at(folder.path()).expect("a registry");
        let mut watcher = registry.watch(Some(name)).await.expect("a watch");
        let service = command(program, &folder).spawn().expect("the service starts");
        let registered = timeout(PATIENCE, watcher.next()).await.expect("registered in time");
        registered.expect("the watch goes on");
        Self { folder, _service: service }
    }

    fn registry(&self) -> Local {
        Local::at(self.folder.path()).expect("a registry")
    }

    /// Runs a program to its end and returns what it printed.
    async fn run(&self, program: &str) -> String {
        let output = command(program, &self.folder).output();
        let output = timeout(PATIENCE, output).await.expect("it ends in time").expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {}: {stderr}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }
}

fn command(program: &str, folder: &TempDir) -> Command {
    let mut command = Command::new(program);
    command
        .env("MICRO_REGISTRY", format!("local://{}", folder.path().display()))
        .env("MICRO_SERVER_ADDRESS", "127.0.0.1:0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_greeter_greets() {
    let scenario = Scenario::of("greeter", env!("CARGO_BIN_EXE_greeter-service")).await;
    let printed = scenario.run(env!("CARGO_BIN_EXE_greeter-client")).await;
    assert!(printed.starts_with("Hello, Ada! I am process "), "{printed}");
}

#[tokio::test]
async fn the_greeter_greets_curl_as_the_documents_show() {
    let scenario = Scenario::of("greeter", env!("CARGO_BIN_EXE_greeter-service")).await;
    let found = scenario.registry().get("greeter").await.expect("the greeter");
    let page = include_str!("../../docs/getting-started.md");
    let shown = page.lines().find(|line| line.starts_with("curl ")).expect("a line for curl");
    let line = shown.replace("localhost:8080", &found[0].nodes[0].address);
    assert_ne!(line, shown, "it calls the service of this test");
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", &format!("{line} --silent --show-error --fail")]).output();
    let output = timeout(PATIENCE, output).await.expect("it ends in time").expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.starts_with(r#""Hello, Ada! I am process "#), "{output:?}");
}

#[tokio::test]
async fn streams_go_every_way() {
    let scenario = Scenario::of("numbers", env!("CARGO_BIN_EXE_streaming-service")).await;
    assert_eq!(
        scenario.run(env!("CARGO_BIN_EXE_streaming-client")).await,
        "counted 1\ncounted 2\ncounted 3\nthe sum is 6\n\
         twice 1 is 2\ntwice 2 is 4\ntwice 4 is 8\ntwice 8 is 16\n"
    );
}

#[tokio::test]
async fn errors_say_what_happened() {
    let scenario = Scenario::of("accounts", env!("CARGO_BIN_EXE_errors-service")).await;
    let printed = scenario.run(env!("CARGO_BIN_EXE_errors-client")).await;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "ada has 1815",
            "NOT_FOUND accounts: bob has no account (1 attempts; look for something else)",
        ]
    );
    assert!(lines[2].starts_with("DEADLINE_EXCEEDED "), "{printed}");
    assert_eq!(
        lines[3],
        "NOT_FOUND go.micro.client: service payments: not found (0 attempts; look for something else)"
    );
}
