//! Every example as a user runs it: service and client as processes, on a registry of the test's own.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

mod native;
mod operator;

use std::ffi::OsStr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use micro::registry::{Local, Registry as _};
use micro::{Client, Code, Json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

/// Longest any step may take.
const PATIENCE: Duration = Duration::from_secs(30);

struct Scenario {
    folder: TempDir,
    service: Child,
    stderr: BufReader<ChildStderr>,
}

impl Scenario {
    /// Starts a service and waits until it is registered.
    async fn of(name: &str, program: impl AsRef<OsStr>) -> Self {
        Self::told(name, program, &[], &[]).await
    }

    /// The same for a program whose operator says something: its flags, and variables.
    async fn told(
        name: &str,
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = Local::at(folder.path()).expect("a registry");
        let mut watcher = registry.watch(Some(name)).await.expect("a watch");
        let mut command = command(program, &folder);
        command.args(arguments).envs(variables.iter().copied()).stderr(Stdio::piped());
        let mut service = command.spawn().expect("the service starts");
        let stderr = BufReader::new(service.stderr.take().expect("its standard error"));
        let registered = timeout(PATIENCE, watcher.next()).await.expect("registered in time");
        registered.expect("the watch goes on");
        Self { folder, service, stderr }
    }

    /// The next line it says to its standard error.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.stderr.read_line(&mut line)).await;
        read.expect("it says something in time").expect("text");
        line
    }

    /// Asks the service to stop, which it does well.
    async fn stop(mut self) {
        self.stopped().await;
    }

    /// The same. What it said to its standard error.
    async fn stopped(&mut self) -> String {
        let process = self.service.id().expect("it runs").to_string();
        let asked = Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &process]).status();
        assert!(asked.await.expect("a shell").success());
        let mut said = String::new();
        let read = timeout(PATIENCE, self.stderr.read_to_string(&mut said)).await;
        read.expect("it stops in time").expect("text");
        let ended = timeout(PATIENCE, self.service.wait()).await.expect("it stops in time");
        assert!(ended.expect("its status").success(), "{said}");
        said
    }

    fn registry(&self) -> Local {
        Local::at(self.folder.path()).expect("a registry")
    }

    /// Runs a program to its end and returns what it printed.
    async fn run(&self, program: impl AsRef<OsStr>) -> String {
        let program = program.as_ref();
        let output = command(program, &self.folder).output();
        let output = timeout(PATIENCE, output).await.expect("it ends in time").expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program:?}: {}: {stderr}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }
}

fn command(program: impl AsRef<OsStr>, folder: &TempDir) -> Command {
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
    for service in
        [env!("CARGO_BIN_EXE_greeter-service").into(), native::program("greeter-service")]
    {
        let scenario = Scenario::of("greeter", service).await;
        for client in
            [env!("CARGO_BIN_EXE_greeter-client").into(), native::program("greeter-client")]
        {
            let printed = scenario.run(client).await;
            let process = scenario.service.id().expect("it runs");
            assert_eq!(printed, format!("Hello, Ada! I am process {process}.\n"));
        }
        scenario.stop().await;
    }
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
    let services =
        [env!("CARGO_BIN_EXE_streaming-service").into(), native::program("streaming-service")];
    for service in services {
        let scenario = Scenario::of("numbers", service).await;
        for client in
            [env!("CARGO_BIN_EXE_streaming-client").into(), native::program("streaming-client")]
        {
            assert_eq!(
                scenario.run(client).await,
                "counted 1\ncounted 2\ncounted 3\nthe sum is 6\n\
                 twice 1 is 2\ntwice 2 is 4\ntwice 4 is 8\ntwice 8 is 16\n"
            );
        }
        scenario.stop().await;
    }
}

#[tokio::test]
async fn errors_say_what_happened() {
    for service in [env!("CARGO_BIN_EXE_errors-service").into(), native::program("errors-service")]
    {
        let scenario = Scenario::of("accounts", service).await;
        for client in [env!("CARGO_BIN_EXE_errors-client").into(), native::program("errors-client")]
        {
            tells_errors(&scenario.run(client).await);
        }
        scenario.stop().await;
    }
}

fn tells_errors(printed: &str) {
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
        "UNAVAILABLE go.micro.client: service payments: not found: it has no node now, is it running, and in this registry? (0 attempts; start it, or wait_for_ready)"
    );
}

#[tokio::test]
async fn middleware_in_c_sees_every_call() {
    let mut scenario = Scenario::of("shop", native::program("middleware-service")).await;
    let client = Client::builder().registry(Arc::new(scenario.registry())).build();
    let client = client.expect("a client");
    let buy = || client.call::<_, Json<String>>("shop", "Shop.Buy", Json(2));
    let error = buy().await.expect_err("it has no tenant");
    assert_eq!((error.code(), error.detail()), (Code::Unauthenticated, "send the header `tenant`"));
    let Json(bought) = buy().metadata("tenant", "blue").await.expect("a reply");
    assert_eq!(bought, "2 pieces");
    let said = scenario.stopped().await;
    assert!(said.ends_with("Shop.Buy: failed\nShop.Buy: fine\n"), "{said}");
}

#[tokio::test]
async fn middleware_sees_every_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = command(env!("CARGO_BIN_EXE_middleware"), &folder).output();
    let output = timeout(PATIENCE, output).await.expect("it ends in time").expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("text");
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        [
            "attempt 0 at Shop.Open",
            "Shop.Open: fine",
            "open: true",
            "attempt 0 at Shop.Buy",
            "Shop.Buy: fine",
            "2 pieces for 6, to blue",
            "attempt 0 at Shop.Buy",
            "Shop.Buy: failed",
            "INVALID_ARGUMENT go.micro.validator: pieces: order at least one",
        ]
    );
}

#[tokio::test]
async fn orders_that_were_published_meanwhile_are_billed_and_one_that_fails_is_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = || {
        let mut program = command(env!("CARGO_BIN_EXE_messages"), &folder);
        program.env("MICRO_BROKER", format!("durable://{}/data", folder.path().display()));
        program
    };
    let publish = async |order: &str| {
        let output = timeout(PATIENCE, program().arg(order).output()).await;
        let output = output.expect("it ends in time").expect("it runs");
        assert!(output.status.success(), "{output:?}");
    };
    let next = async |lines: &mut Lines<BufReader<ChildStdout>>| {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("in time");
        line.expect("text").expect("a line")
    };
    let registry = Local::at(folder.path()).expect("a registry");
    let mut watcher = registry.watch(Some("billing")).await.expect("a watch");
    let start = || {
        let mut service = program().stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(service.stdout.take().expect("a pipe")).lines();
        (service, lines)
    };
    let (mut first, mut lines) = start();
    let registered = timeout(PATIENCE, watcher.next()).await.expect("registered in time");
    registered.expect("the watch goes on");
    // It subscribes once it is registered; messages of before are not for a queue that is new.
    let mut order = 100;
    while timeout(Duration::from_millis(200), lines.next_line()).await.is_err() {
        publish(&order.to_string()).await;
        order += 1;
    }
    first.kill().await.expect("it ends");
    for order in ["7", "13"] {
        publish(order).await;
    }
    let (mut second, mut lines) = start();
    let mut printed = Vec::new();
    while printed.len() < 2 {
        let line = next(&mut lines).await;
        if !line.starts_with("order 10") {
            printed.push(line);
        }
    }
    printed.sort();
    assert_eq!(printed[0], "order 13 was given up: FAILED_PRECONDITION: the card was refused");
    assert_eq!(printed[1], "order 7, attempt 1");
    second.kill().await.expect("it ends");
}

#[tokio::test]
async fn jobs_run_by_the_clock_in_a_fleet_and_on_a_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = command(env!("CARGO_BIN_EXE_jobs"), &folder);
    program
        .env("MICRO_BROKER", format!("durable://{}/data", folder.path().display()))
        .env("CLEAN_UP", "* * * * * *");
    let mut service = program.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(service.stdout.take().expect("a pipe")).lines();
    let (mut cleaned, mut refreshed) = (0, 0);
    while cleaned < 2 || refreshed < 2 {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("in time");
        match &*line.expect("text").expect("a line") {
            "cleaned, attempt 1" => cleaned += 1,
            "refreshed" => refreshed += 1,
            other => panic!("{other}"),
        }
    }
    service.kill().await.expect("it ends");
}

#[tokio::test]
async fn nodes_of_a_shop_agree_who_does_what() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = timeout(PATIENCE, command(env!("CARGO_BIN_EXE_locks"), &folder).output()).await;
    let output = output.expect("it ends in time").expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let printed = "sold one, 41 are left\none of two reports is made\nnobody leads\nsent 3 mails\nthe prices were moved\nall are here\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), printed);
}

#[tokio::test]
async fn orders_are_kept_changed_by_version_and_watched() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = command(env!("CARGO_BIN_EXE_store"), &folder);
    program.env("MICRO_STORE", format!("file://{}/data", folder.path().display()));
    let output = timeout(PATIENCE, program.output()).await;
    let output = output.expect("it ends in time").expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let printed = "order 7 is paid: true\n7: tea\nwritten once more: conflict\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), printed);
}

#[tokio::test]
async fn orders_are_announced_by_the_transaction_that_takes_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = command(env!("CARGO_BIN_EXE_outbox"), &folder);
    let output = timeout(PATIENCE, program.arg(folder.path()).output()).await;
    let output = output.expect("it ends in time").expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "announced 7\nannounced 8\n");
}

#[tokio::test]
async fn the_answer_of_a_task_is_asked_for_by_another_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = || {
        let mut program = command(env!("CARGO_BIN_EXE_tasks"), &folder);
        program.env("MICRO_BROKER", format!("durable://{}/data", folder.path().display()));
        program
    };
    let printed = async |arguments: &[&str]| {
        let output = timeout(PATIENCE, program().args(arguments).output()).await;
        let output = output.expect("it ends in time").expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let id = printed(&["send", "21"]).await;
    let mut worker = program().spawn().expect("it starts");
    let answer = printed(&["ask", &id]).await;
    assert_eq!(answer.lines().last(), Some("42"), "{answer}");
    worker.kill().await.expect("it ends");
    assert_eq!(printed(&["ask", &id]).await, "Done\n42");
}

#[tokio::test]
async fn a_configuration_says_where_it_comes_from_and_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.yaml");
    let write = |pool: &str| {
        let text =
            format!("port: 80\ndb:\n  url: postgres://${{HOST:-localhost}}\n  pool: {pool}\n");
        std::fs::write(&file, text).expect("it is written");
    };
    write("8");
    let mut program = command(env!("CARGO_BIN_EXE_config"), &folder);
    program.arg(folder.path()).envs([("SHOP_DB_PASSWORD", "hunter2"), ("HOST", "db.example")]);
    let mut program = program.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(program.stdout.take().expect("a pipe")).lines();
    let mut line = async || {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("in time");
        line.expect("text").expect("a line")
    };
    let url = r#""postgres://db.example""#;
    let database = format!("Database {{ url: {url}, pool: 8, password: Some((secret)) }}");
    assert_eq!(line().await, format!("listening on 80, with {database}"));
    assert_eq!(line().await, format!("db.url = {url}"));
    let written = format!("  from {}:3: \"postgres://${{HOST:-localhost}}\"", file.display());
    assert_eq!(line().await, written);
    write("9");
    assert_eq!(line().await, "the pool is 9 now, of postgres://db.example");
    // What is no pool changes nothing.
    write("many");
    write("0");
    assert_eq!(line().await, "the pool is 0 now, of postgres://db.example");
    assert!(timeout(PATIENCE, program.wait()).await.expect("in time").expect("a status").success());
}
