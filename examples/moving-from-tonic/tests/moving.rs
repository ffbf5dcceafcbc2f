//! The greeter of `docs/moving-from-tonic.md`, before and after, each with its own caller and with the other's.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use micro::registry::{Local, Registry as _};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longest any step may take.
const PATIENCE: Duration = Duration::from_secs(30);
const PRINTED: &str = "Hello, Ada!\n1\n2\n3\nno name to greet\n";

fn command(program: &str, folder: &TempDir) -> Command {
    let mut command = Command::new(program);
    command
        .env("MICRO_REGISTRY", format!("local://{}", folder.path().display()))
        .env("MICRO_SERVER_ADDRESS", "127.0.0.1:0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(command: &mut Command) -> String {
    let output = timeout(PATIENCE, command.output()).await.expect("it ends").expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A greeter on tonic's server, once it takes connections.
async fn before(folder: &TempDir) -> (Child, String) {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let address = free.to_string();
    let mut service = command(env!("CARGO_BIN_EXE_tonic-service-before"), folder);
    let service = service.env("GREETER_ADDRESS", &address).spawn().expect("the service starts");
    let listens = async {
        while TcpStream::connect(free).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, listens).await.expect("it listens in time");
    (service, address)
}

#[tokio::test]
async fn both_greeters_answer_both_callers() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_before, address) = before(&folder).await;
    let mut old = command(env!("CARGO_BIN_EXE_tonic-client-before"), &folder);
    assert_eq!(run(old.env("GREETER_ADDRESS", &address)).await, PRINTED);

    let registry = Local::at(folder.path()).expect("a registry");
    let mut watcher = registry.watch(Some("greeter")).await.expect("a watch");
    let mut service = command(env!("CARGO_BIN_EXE_tonic-service-after"), &folder);
    let _after = service.spawn().expect("the service starts");
    timeout(PATIENCE, watcher.next()).await.expect("registered in time").expect("a change");
    let mut new = command(env!("CARGO_BIN_EXE_tonic-client-after"), &folder);
    assert_eq!(run(&mut new).await, PRINTED);
    // Callers that have not moved reach a service that has.
    let found = registry.get("greeter").await.expect("the greeter");
    let moved = found[0].nodes[0].address.clone();
    assert_eq!(run(old.env("GREETER_ADDRESS", moved)).await, PRINTED);
}
