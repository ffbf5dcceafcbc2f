//! The go-micro peer: the original framework, and grpc-go without it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::peer::Peer;
use crate::toolchain::{Missing, Need, exists, interop, lock, run};

/// How long a service may stay unfound.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// Builds the peer of `interop/go-micro`.
pub(crate) fn build() -> Result<PathBuf, Missing> {
    static BUILT: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    BUILT.get_or_init(|| build_program("go-micro", ".")).clone()
}

/// Builds a program of the module in `interop/<module>` next to the test binaries; Go's own cache makes it quick after the
/// first time.
pub(crate) fn build_program(module: &str, package: &str) -> Result<PathBuf, Missing> {
    if !exists("go", "version") {
        return Err(Missing("no go toolchain".into()));
    }
    let folder = std::env::current_exe().unwrap().with_file_name(format!("interop-{module}"));
    let _lock = lock(&folder);
    let program = folder.join("peer");
    run(Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(package)
        .current_dir(interop().join(module)));
    Ok(program)
}

async fn start(name: &str, arguments: &[&str]) -> Peer {
    let mut command = Command::new(Need::Go.path());
    command.args(arguments);
    Peer::start(name, command).await
}

/// A go-micro service with the `Greeter` handler, found by mDNS under `name`.
pub async fn serve(name: &str) -> Peer {
    start(name, &["serve", "--name", name]).await
}

/// Like [`serve`], with more of the peer's flags, such as `["--version", "2.0.0"]`.
pub async fn serve_with(name: &str, flags: &[&str]) -> Peer {
    start(name, &[&["serve", "--name", name], flags].concat()).await
}

/// A go-micro client; its registry cache lives as long as the peer does.
pub async fn client() -> Peer {
    start("go-micro client", &["client", "--name", "go.caller"]).await
}

/// Like [`client`], with more of the peer's flags and with variables of go-micro, such as `MICRO_PROXY`.
pub async fn client_with(flags: &[&str], variables: &[(&str, &str)]) -> Peer {
    let mut command = Command::new(Need::Go.path());
    command.args(["client", "--name", "go.caller"]).args(flags);
    command.envs(variables.iter().copied());
    Peer::start("go-micro client", command).await
}

/// go-micro's HTTP gateway; it tells its `address`.
pub async fn gateway() -> Peer {
    start("go-micro gateway", &["gateway"]).await
}

/// A grpc-go server that answers as `answers` says and records what it is sent; registered by mDNS under `name`.
///
/// Each call takes the next answer; the last one stays. See `answer` in `interop/go-micro/wire.go` for the fields.
pub async fn scripted(name: &str, answers: Value) -> Peer {
    let peer = start(name, &["wire", "--name", name]).await;
    peer.ask("script", json!({ "answers": answers })).await;
    peer
}

/// Calls through the go-micro client and returns the outcome: `response` or `error`, `nodes` (one per attempt).
pub async fn call(client: &Peer, service: &str, endpoint: &str, request: Value) -> Value {
    call_with(client, service, endpoint, json!({ "request": request })).await
}

/// Like [`call`], with more of the fields of `call` in `interop/go-micro/calls.go`.
pub async fn call_with(client: &Peer, service: &str, endpoint: &str, mut fields: Value) -> Value {
    fields["service"] = json!(service);
    fields["endpoint"] = json!(endpoint);
    once_found(client, "call", fields).await
}

/// Asks for an operation that looks a service up, again if that found no node.
///
/// go-micro looks for 100 ms and no longer. On a starved machine these can pass before any node had a chance to answer.
pub async fn once_found(client: &Peer, op: &str, fields: Value) -> Value {
    let until = Instant::now() + LOOKUP_LIMIT;
    loop {
        let outcome = client.ask(op, fields.clone()).await;
        let missed = |key: &str| outcome.get(key).is_some_and(|found| *found == json!([]));
        let detail = outcome["error"]["detail"].as_str().unwrap_or_default();
        let unknown = detail.starts_with("service ") && detail.ends_with(": not found");
        if !(unknown || missed("services") || missed("names")) || Instant::now() > until {
            return outcome;
        }
    }
}

/// A message as the fields `messages` and `frame` carry it, and back with [`unframe`].
pub fn message(message: &impl prost::Message) -> Value {
    bytes(&message.encode_to_vec())
}

/// Bytes as the peer's JSON carries them.
pub fn bytes(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

/// Bytes that the peer's JSON carries; panics when it is something else.
pub fn unframe(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no base64 text"));
    STANDARD.decode(text).unwrap_or_else(|error| panic!("{value} is no base64: {error}"))
}

/// One call with bare grpc-go; `fields` are those of `wireCall` in `interop/go-micro/wire.go`.
pub async fn wire(peer: &Peer, address: &str, path: &str, mut fields: Value) -> Value {
    fields["address"] = json!(address);
    fields["path"] = json!(path);
    peer.ask("wire", fields).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolated;

    #[test]
    fn a_go_client_calls_a_go_service_by_name() {
        isolated(&[Need::Go], || async {
            let service = serve("greeter").await;
            let client = client().await;
            let outcome = call(&client, "greeter", "Greeter.Hello", json!({ "name": "Ann" })).await;
            assert_eq!(outcome["response"]["greeting"], "Hello Ann", "{outcome}");
            assert_eq!(outcome["nodes"], json!([service.fact("address")]));
            service.end().await;
            client.end().await;
        });
    }

    #[test]
    fn a_scripted_server_answers_and_tells_what_it_saw() {
        isolated(&[Need::Go], || async {
            let server =
                scripted("scripted", json!([{ "status": { "code": 5, "message": "gone" } }])).await;
            let client = client().await;
            let fields = json!({ "retries": 0 });
            let outcome = call_with(&client, "scripted", "Greeter.Hello", fields).await;
            assert_eq!(outcome["error"]["detail"], "gone", "{outcome}");
            assert_eq!(server.next("call").await["path"], "/scripted.Greeter/Hello");
        });
    }
}
