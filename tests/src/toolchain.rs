//! What a test needs from the machine beyond Rust.
//!
//! Needs are met before the test enters its own network, because a build may have to download. On a developer's machine a
//! missing toolchain skips the test aloud; on CI (`CI=true`) it fails, so that a green run always means that all ran.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A peer that a test drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The go-micro peer of `interop/go-micro`; needs `go`.
    Go,
    /// The suite pinned in `interop/connectconformance`; needs `go`.
    ConnectConformance,
    /// The grpcio peers of `interop/grpcio`; needs `python3` with `venv`.
    Grpcio,
    /// The suite pinned in `interop/h2spec`; needs `go`.
    H2spec,
    /// The peers of `interop/hostile`; needs `python3` with `venv`.
    Hostile,
    /// grpc-go's interop client and server of `interop/grpc-go`; needs `go`.
    GrpcGo,
    /// grpc-java's interop client and server of `interop/grpc-java`; needs `java` and `mvn`.
    GrpcJava,
    /// The server pinned in `interop/nats-server`; needs `python3` with `venv`.
    Nats,
    /// `redis-server`, as the system has it.
    Redis,
    /// `etcd`, as the system has it.
    Etcd,
}

impl Need {
    /// The variable that tells the test in its namespace where the peer is.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Go => "MICRO_TEST_GO_PEER",
            Self::ConnectConformance => "MICRO_TEST_CONNECT_CONFORMANCE",
            Self::Grpcio => "MICRO_TEST_PYTHON",
            Self::H2spec => "MICRO_TEST_H2SPEC",
            Self::Hostile => "MICRO_TEST_HOSTILE",
            Self::GrpcGo => "MICRO_TEST_GRPC_GO",
            Self::GrpcJava => "MICRO_TEST_GRPC_JAVA",
            Self::Nats => "MICRO_TEST_NATS_SERVER",
            Self::Redis => "MICRO_TEST_REDIS_SERVER",
            Self::Etcd => "MICRO_TEST_ETCD",
        }
    }

    /// Where the peer is, inside the namespace.
    pub(crate) fn path(self) -> PathBuf {
        let variable = self.variable();
        env::var_os(variable)
            .unwrap_or_else(|| panic!("pass Need::{self:?} to isolated(): {variable} is not set"))
            .into()
    }
}

/// What the machine lacks, such as `no go toolchain`.
#[derive(Clone, Debug)]
pub struct Missing(pub String);

/// Reports a test that cannot run here: prints it, fails on CI, and adds a line to the file named by `MICRO_SKIPS`.
pub fn skip(test: &str, missing: &Missing) {
    let line = format!("{test}: {}\n", missing.0);
    // Not `eprintln!`: libtest hides what a passing test prints.
    io::stderr().write_all(format!("SKIPPED {line}").as_bytes()).unwrap();
    assert!(env::var("CI").as_deref() != Ok("true"), "CI skips nothing: {line}");
    if let Some(path) = env::var_os("MICRO_SKIPS") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// The folder of the peers' sources.
pub(crate) fn interop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop")
}

/// Where what was fetched is kept: outside the clone, so that `cargo clean` and `git clean` do not cost a download.
pub(crate) fn cache() -> Result<PathBuf, Missing> {
    if let Some(folder) = env::var_os("MICRO_CACHE") {
        return Ok(folder.into());
    }
    match env::home_dir() {
        Some(home) => Ok(home.join(".cache").join("micro")),
        None => Err(Missing("no home folder for a cache; set MICRO_CACHE".into())),
    }
}

/// Runs `command` to its end and returns what it printed; panics with its output when it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?} failed with {}:\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr),
    );
    text(&output.stdout)
}

/// Whether a program can be started at all.
pub(crate) fn exists(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Holds a folder against the other test processes of the run until dropped.
pub(crate) fn lock(folder: &Path) -> File {
    fs::create_dir_all(folder).unwrap();
    let file = File::create(folder.join("lock")).unwrap();
    file.lock().unwrap();
    file
}
