//! gRPC's interop servers and clients in other languages, started as their authors meant them to be.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, PipeReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{env, fs, thread};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::cases::{CASE_LIMIT, SOAK_ITERATIONS};
use crate::toolchain::{Missing, Need, cache, exists, interop, lock, run};

/// Chooses the balancing that hands load reports to the cases which ask for them.
const ORCA: &str = r#"{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}"#;

/// An implementation of gRPC with its own interop client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// grpc-go, pinned by `interop/grpc-go/go.mod`.
    Go,
    /// grpc-java, pinned by `interop/grpc-java/pom.xml`.
    Java,
}

impl Foreign {
    /// What a test passes to [`isolated`](crate::isolated).
    pub fn need(self) -> Need {
        match self {
            Self::Go => Need::GrpcGo,
            Self::Java => Need::GrpcJava,
        }
    }

    /// Name of the suite in reports.
    pub fn suite(self) -> &'static str {
        match self {
            Self::Go => "gRPC interop (grpc-go)",
            Self::Java => "gRPC interop (grpc-java)",
        }
    }

    /// Version that is pinned.
    ///
    /// # Panics
    /// When the pin cannot be found.
    pub fn version(self) -> String {
        let (text, before) = match self {
            Self::Go => (include_str!("../../interop/grpc-go/go.mod"), "google.golang.org/grpc v"),
            Self::Java => {
                (include_str!("../../interop/grpc-java/pom.xml"), "interop-testing.version>")
            }
        };
        let after = text.split_once(before).expect("a pin").1;
        let version = after.split(|c: char| c.is_whitespace() || c == '<').next();
        format!("v{}", version.expect("a version"))
    }

    fn program(self, side: &str) -> Command {
        let place = self.need().path();
        let mut command = match self {
            Self::Go => Command::new(place.join(side)),
            Self::Java => {
                let mut command = Command::new("java");
                // These programs live for seconds.
                command.args([
                    "-XX:TieredStopAtLevel=1",
                    "-XX:+UseSerialGC",
                    "-Xshare:auto",
                    "-cp",
                ]);
                command.arg(place.join("*"));
                command.arg(format!(
                    "io.grpc.testing.integration.TestService{}",
                    if side == "client" { "Client" } else { "Server" }
                ));
                command
            }
        };
        for (variable, _) in env::vars_os() {
            if variable.to_string_lossy().to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(variable);
            }
        }
        command.env("GRPC_GO_LOG_SEVERITY_LEVEL", "info").stdin(Stdio::null());
        command
    }

    /// Runs one case of its client against the server at `address`; an error is what the client said.
    ///
    /// # Errors
    /// When the case fails, or takes longer than [`CASE_LIMIT`].
    pub async fn run(self, case: &str, address: &str) -> Result<(), String> {
        let (host, port) = address.rsplit_once(':').expect("host:port");
        let soak = SOAK_ITERATIONS.to_string();
        let mut flags = vec![
            ("server_host", host),
            ("server_port", port),
            ("test_case", case),
            ("use_tls", "false"),
        ];
        if case.ends_with("_soak") {
            // The suite is no benchmark: slowness shows as the limit of the case.
            flags.push(("soak_iterations", &soak));
            flags.push(("soak_overall_timeout_seconds", "50"));
            flags.push(("soak_per_iteration_max_acceptable_latency_ms", "20000"));
        }
        if case.starts_with("orca_") {
            flags.push(("service_config_json", ORCA));
        }
        let mut command = self.program("client");
        command.args(flags.iter().map(|(name, value)| format!("--{name}={value}")));
        command.env("GRPC_GO_LOG_SEVERITY_LEVEL", "error");
        let (mut process, output) = Process::start(command);
        let ended = timeout(CASE_LIMIT, process.read(output, |_| false)).await;
        match ended.map(|_| process.wait()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(process.said()),
            Err(_) => Err(format!("did not end within {CASE_LIMIT:?}:\n{}", process.said())),
        }
    }

    /// Starts its server on `port` of this network, which no other program may use.
    ///
    /// # Panics
    /// When the server does not come up.
    pub async fn serve(self, port: u16) -> Serving {
        let mut command = self.program("server");
        command.args([format!("--port={port}"), "--use_tls=false".into()]);
        let line = match self {
            Self::Go => "interop server listening",
            Self::Java => "Server started",
        };
        let (process, output) = Process::start(command);
        let up = timeout(CASE_LIMIT, process.read(output, move |said| said.contains(line))).await;
        assert_eq!(up, Ok(true), "{self:?}'s server did not come up:\n{}", process.said());
        Serving { address: format!("127.0.0.1:{port}"), _process: process }
    }
}

/// A server that runs. Dropping it kills the process.
#[derive(Debug)]
pub struct Serving {
    /// Where it listens, as `host:port`.
    pub address: String,
    _process: Process,
}

/// Most of what a process said that is kept, in bytes.
const SAID: usize = 64 << 10;

#[derive(Debug)]
struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Process {
    /// The process and its output, both streams in one.
    fn start(mut command: Command) -> (Self, PipeReader) {
        let (output, writer) = std::io::pipe().unwrap();
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        (Self { child, said: Arc::default() }, output)
    }

    /// Goes on reading the output for as long as there is any. Resolves with true at a line that is `awaited`, else with false at
    /// the end.
    fn read<F>(&self, output: PipeReader, awaited: F) -> impl Future<Output = bool> + use<F>
    where
        F: Fn(&str) -> bool + Send + 'static,
    {
        let (seen, is_seen) = oneshot::channel();
        let said = self.said.clone();
        thread::spawn(move || {
            let mut seen = Some(seen);
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                if awaited(&line)
                    && let Some(seen) = seen.take()
                {
                    let _ = seen.send(());
                }
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                if said.len() + line.len() < SAID {
                    said.push_str(&line);
                    said.push('\n');
                }
            }
        });
        async { is_seen.await.is_ok() }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the process, whose output has ended, succeeded.
    fn wait(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds grpc-go's programs next to the test binaries; Go's own cache makes it quick after the first time.
pub(crate) fn go() -> Result<PathBuf, Missing> {
    static BUILT: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    let build = || {
        if !exists("go", "version") {
            return Err(Missing("no go toolchain".into()));
        }
        let folder = env::current_exe().unwrap().with_file_name("interop-grpc-go");
        let _lock = lock(&folder);
        let mut command = Command::new("go");
        command.arg("build").arg("-o").arg(&folder).arg("tool");
        run(command.current_dir(interop().join("grpc-go")));
        Ok(folder)
    };
    BUILT.get_or_init(build).clone()
}

/// Fetches grpc-java's jars, once per version of the pins.
pub(crate) fn java() -> Result<PathBuf, Missing> {
    static FETCHED: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    let fetch = || {
        if !exists("java", "-version") {
            return Err(Missing("no java".into()));
        }
        if !exists("mvn", "--version") {
            return Err(Missing("no mvn".into()));
        }
        let sources = interop().join("grpc-java");
        let mut hash = DefaultHasher::new();
        fs::read(sources.join("pom.xml")).unwrap().hash(&mut hash);
        let folder = cache()?.join(format!("grpc-java-{:016x}", hash.finish()));
        let _lock = lock(&folder);
        let (jars, complete) = (folder.join("jars"), folder.join("complete"));
        if !complete.exists() {
            let mut command = Command::new("mvn");
            command.args(["--batch-mode", "--quiet", "dependency:copy-dependencies"]);
            command.arg("-DincludeScope=runtime");
            command.arg(format!("-DoutputDirectory={}", jars.display()));
            run(command.current_dir(sources));
            fs::write(complete, "").unwrap();
        }
        Ok(jars)
    };
    FETCHED.get_or_init(fetch).clone()
}
