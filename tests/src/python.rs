//! The grpcio peers: a gRPC stack that shares no code with ours or with go-micro's.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::peer::Peer;
use crate::toolchain::{Missing, Need, cache, exists, interop, lock, run};

/// The interpreter for the grpcio peers.
pub(crate) fn environment() -> Result<PathBuf, Missing> {
    static MADE: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    MADE.get_or_init(|| make_environment("grpcio")).clone()
}

/// The interpreter of a virtual environment with the pinned requirements of `interop/<peer>`, made once per version of them.
pub(crate) fn make_environment(peer: &str) -> Result<PathBuf, Missing> {
    if !exists("python3", "--version") {
        return Err(Missing("no python3".into()));
    }
    if !exists("python3", "-cimport venv, ensurepip") {
        return Err(Missing("python3 has no venv".into()));
    }
    let requirements = interop().join(peer).join("requirements.txt");
    let mut hash = DefaultHasher::new();
    fs::read(&requirements).unwrap().hash(&mut hash);
    run(Command::new("python3").arg("--version")).hash(&mut hash);
    let folder = cache()?.join(format!("{peer}-{:016x}", hash.finish()));
    let _lock = lock(&folder);
    let (venv, complete) = (folder.join("venv"), folder.join("complete"));
    let python = venv.join("bin").join("python");
    if !complete.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "-r"])
            .arg(requirements));
        fs::write(complete, "").unwrap();
    }
    Ok(python)
}

/// The pinned version of a package of `interop/<peer>`, such as `4.3.0`.
///
/// # Panics
/// When it is not among the peer's requirements.
pub fn pinned(peer: &str, package: &str) -> String {
    let requirements = fs::read_to_string(interop().join(peer).join("requirements.txt")).unwrap();
    let version =
        requirements.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix("=="));
    version
        .unwrap_or_else(|| panic!("{package} is not among the requirements of {peer}"))
        .to_owned()
}

async fn start(program: &str, arguments: &[&str]) -> Peer {
    let mut command = Command::new(Need::Grpcio.path());
    command.arg("-B").arg(interop().join("grpcio").join(program)).args(arguments);
    Peer::start(program, command).await
}

/// A grpcio server with `greeter.Greeter`, health and reflection.
pub async fn server() -> Peer {
    start("server.py", &[]).await
}

/// Like [`server`], with flags such as `["--gzip"]` or `["--reflection", "v1alpha"]`.
pub async fn server_with(flags: &[&str]) -> Peer {
    start("server.py", flags).await
}

/// A grpcio client; its channels live as long as the peer does.
pub async fn client() -> Peer {
    start("client.py", &[]).await
}

/// A unary call; returns `response` or `error`, `header` and `trailer`.
pub async fn call(client: &Peer, address: &str, path: &str, request: Value) -> Value {
    client.ask("call", json!({ "address": address, "path": path, "request": request })).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolated;

    #[test]
    fn a_grpcio_client_calls_a_grpcio_server() {
        isolated(&[Need::Grpcio], || async {
            let server = server().await;
            let client = client().await;
            let request = json!({ "name": "Ann" });
            let outcome =
                call(&client, server.fact("address"), "/greeter.Greeter/Hello", request).await;
            assert_eq!(outcome["response"]["greeting"], "Hello Ann", "{outcome}");
            server.end().await;
            client.end().await;
        });
    }
}
