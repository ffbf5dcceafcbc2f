//! Services on a registry in a folder of the test's own, and the program that looks at them.

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use micro::registry::{Local, Registry};
use micro::service::ServiceBuilder;
use micro::{Context, Error, Json, Raw, Service};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// Longest any command of these tests may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder where services of one test are registered.
pub(crate) struct Fleet {
    folder: TempDir,
    registry: Arc<dyn Registry>,
}

/// How a command ended.
pub(crate) struct Micro {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Micro {
    /// What it printed, read as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?} {:?}", self.stdout, self.stderr))
    }
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = Arc::new(Local::at(folder.path()).expect("a registry"));
        Self { folder, registry }
    }

    /// Starts a node of the service `greeter`.
    pub(crate) async fn greeter(&self, version: &'static str) -> Service {
        self.greeter_with(version, |builder| builder).await
    }

    /// Starts a node of the service `greeter` with more settings.
    pub(crate) async fn greeter_with(
        &self,
        version: &'static str,
        set: impl FnOnce(ServiceBuilder) -> ServiceBuilder,
    ) -> Service {
        let hello = move |cx: Context, Json(request): Json<Value>| async move {
            let name = request["name"].as_str().unwrap_or_default();
            if name.is_empty() {
                return Err(Error::invalid_argument("name is empty").with_id("greeter"));
            }
            let tenant = json!(cx.metadata().get("tenant"));
            // Written by hand: the order of the fields shows that they were not sorted.
            Ok(Raw::from(format!(
                r#"{{"greeting":"Hello, {name}!","version":"{version}","tenant":{tenant}}}"#
            )))
        };
        let count = |_: Context, Json(to): Json<u32>| async move {
            Ok(stream::iter((1..=to).map(|n| match n {
                10 => Err(Error::new(micro::Code::OutOfRange, "ten is too much")),
                n => Ok(Json(json!({ "n": n }))),
            })))
        };
        let wait = |cx: Context, _: Raw| async move {
            cx.cancelled().await;
            Ok(Raw::default())
        };
        set(Service::builder("greeter"))
            .version(version)
            .address("127.0.0.1:0")
            .registry(self.registry.clone())
            .propagation(Duration::ZERO)
            .endpoint("Greeter.Hello", hello)
            .server_stream("Greeter.Count", count)
            .endpoint("Greeter.Wait", wait)
            .endpoint("Greeter.Echo", |_: Context, request: Raw| async move { Ok(request) })
            .start()
            .await
            .expect("the service starts")
    }

    /// Starts the program.
    pub(crate) fn start<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Child {
        Command::new(env!("CARGO_BIN_EXE_micro"))
            .args(arguments)
            .env("MICRO_REGISTRY", format!("local://{}", self.folder.path().display()))
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts")
    }

    /// Runs the program to its end.
    pub(crate) async fn micro<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Micro {
        self.micro_reading(arguments, "").await
    }

    /// Runs the program to its end with `input` on stdin.
    pub(crate) async fn micro_reading<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a str>,
        input: &str,
    ) -> Micro {
        let mut child = self.start(arguments);
        let mut stdin = child.stdin.take().expect("stdin");
        // A program that reads nothing may end before this is written.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let Output { status, stdout, stderr } = ended.expect("it ends in time").expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Micro {
            code: status.code().expect("an exit code"),
            stdout: text(stdout),
            stderr: text(stderr),
        }
    }
}
