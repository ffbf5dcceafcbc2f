//! Commands that are run under a lock, or on the leader.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![cfg(unix)]

use std::process::{Output, Stdio};
use std::time::Duration;

use micro_tests::postgres::Server;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

fn micro(server: &Server, arguments: &[&str]) -> Command {
    let mut micro = Command::new(env!("CARGO_BIN_EXE_micro"));
    micro
        .args(arguments)
        .env("MICRO_STORE", format!("postgres://shop@127.0.0.1:{}/postgres", server.port()))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    micro
}

async fn ends(mut command: Command) -> Output {
    let output = command.stdout(Stdio::piped()).output();
    timeout(PATIENCE, output).await.expect("it ends in time").expect("it runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("it ends by itself: {output:?}"))
}

/// One that goes on, and prints.
struct Runs {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Runs {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("a pipe");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("a line in time");
        line.expect("text").expect("it prints more")
    }

    async fn signal(&self, name: &str) {
        signal(name, &self.child.id().expect("it runs").to_string()).await;
    }

    async fn ends(self) -> Output {
        timeout(PATIENCE, self.child.wait_with_output()).await.expect("in time").expect("its end")
    }
}

async fn signal(name: &str, process: &str) {
    let sent = Command::new("kill").args(["-s", name, process]).status().await.expect("kill");
    assert!(sent.success());
}

#[tokio::test]
async fn a_command_runs_alone_with_a_token_and_its_end_is_told() {
    let name = "a_command_runs_alone_with_a_token_and_its_end_is_told";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    let first =
        ["lock", "stock", "--", "sh", "-c", "echo $MICRO_LOCK_NAME $MICRO_LOCK_TOKEN; exit 7"];
    let output = ends(micro(&server, &first)).await;
    assert_eq!(code(&output), 7, "{output:?}");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let token = printed.trim().strip_prefix("stock ").and_then(|token| token.parse::<u64>().ok());
    assert!(token.is_some_and(|token| token > 0), "{printed}");

    let runs = ["lock", "stock", "--who", "web-1", "--", "sh", "-c", "echo $$; exec sleep 60"];
    let mut runs = Runs::start(micro(&server, &runs));
    let sleeps = runs.line().await;
    let refused = ends(micro(&server, &["lock", "stock", "--no-wait", "--", "true"])).await;
    assert_eq!(code(&refused), 1);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("\"stock\" is not free: \"web-1\" holds it since"), "{said}");
    let mut waits = Runs::start(micro(&server, &["lock", "stock", "--", "echo", "now"]));
    signal("TERM", &sleeps).await;
    assert_eq!(code(&runs.ends().await), 128 + 15);
    assert_eq!(waits.line().await, "now");
    assert_eq!(code(&waits.ends().await), 0);

    let missing = ends(micro(&server, &["lock", "stock", "--", "/no/such/program"])).await;
    assert_eq!(code(&missing), 1);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("cannot run /no/such/program"), "{said}");
}

#[tokio::test]
async fn a_command_is_ended_when_its_lock_is_lost() {
    let name = "a_command_is_ended_when_its_lock_is_lost";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    // One that does not end when it is told to.
    let stubborn = "trap '' TERM; echo $$; while :; do sleep 1; done";
    let runs = ["lock", "stock", "--ttl", "2s", "--", "sh", "-c", stubborn];
    let mut runs = Runs::start(micro(&server, &runs));
    let shell = runs.line().await;
    server.signal("STOP");
    let output = runs.ends().await;
    server.signal("CONT");
    assert_eq!(code(&output), 1, "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("stock is lost: the command is ended"), "{said}");
    assert!(!std::path::Path::new(&format!("/proc/{shell}")).exists(), "it was killed");
}

#[tokio::test]
async fn a_leader_that_is_killed_is_followed_by_the_next() {
    let name = "a_leader_that_is_killed_is_followed_by_the_next";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    let nobody = ends(micro(&server, &["leader", "show", "mailer"])).await;
    assert_eq!(code(&nobody), 1);
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("nobody leads mailer"));

    let stands = |who: &str, note: &str| {
        let mut command = micro(
            &server,
            &["leader", "run", "mailer", "--ttl", "1s", "--who", who, "--note", note],
        );
        command.args(["--", "sh", "-c", "echo $$; exec sleep 60"]);
        Runs::start(command)
    };
    let show = async || -> Value {
        let shown = ends(micro(&server, &["leader", "show", "mailer", "-o", "json"])).await;
        assert_eq!(code(&shown), 0, "{shown:?}");
        serde_json::from_slice(&shown.stdout).expect("JSON")
    };
    let mut first = stands("a", "10.0.0.1:80");
    let orphan = first.line().await;
    let shown = show().await;
    assert_eq!((&shown["who"], &shown["note"]), (&"a".into(), &"10.0.0.1:80".into()), "{shown}");
    let mut watches = Runs::start(micro(&server, &["leader", "show", "mailer", "--watch"]));
    assert_eq!(watches.line().await, "a leads mailer");
    let mut second = stands("b", "");
    first.child.kill().await.expect("it is killed");
    let sleeps = second.line().await;
    let told = show().await;
    assert_eq!(told["who"], "b", "{told}");
    assert!(told["token"].as_u64() > shown["token"].as_u64(), "{told}");
    // Whether nobody was seen to lead in between is a matter of moments.
    while watches.line().await != "b leads mailer" {}
    signal("KILL", &orphan).await;

    second.signal("TERM").await;
    assert_eq!(code(&second.ends().await), 128 + 15, "as its command");
    assert!(!std::path::Path::new(&format!("/proc/{sleeps}")).exists());
    while watches.line().await != "nobody leads mailer" {}
    watches.signal("INT").await;
    assert_eq!(code(&watches.ends().await), 0);
}
