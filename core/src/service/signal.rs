//! The signals that end a service.

use crate::error::Result;

/// Waits for SIGTERM, SIGINT or SIGQUIT; on Windows for Ctrl-C.
pub(super) struct Signals {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 3],
}

impl Signals {
    /// Starts to listen; signals that come later are kept.
    #[cfg(unix)]
    pub(super) fn listen() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            signals: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::quit())?,
            ],
        })
    }

    /// Starts to listen.
    #[cfg(not(unix))]
    pub(super) fn listen() -> Result<Self> {
        Ok(Self {})
    }

    /// The next signal's name.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> &'static str {
        let [terminate, interrupt, quit] = &mut self.signals;
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = quit.recv() => "SIGQUIT",
        }
    }

    /// The next signal's name.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) -> &'static str {
        let _ = tokio::signal::ctrl_c().await;
        "Ctrl-C"
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;
    use std::process::{Child, Command, ExitStatus, Stdio};
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::timeout;

    use crate::Service;
    use crate::registry::{Local, Registry as _};

    /// Names the folder of the registry to the process that serves.
    const FOLDER: &str = "MICRO_TEST_SIGNALS_FOLDER";
    /// Whether that process handles signals.
    const HANDLES: &str = "MICRO_TEST_SIGNALS_HANDLED";
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A process that is killed at the latest when it is dropped.
    struct Process(Child);

    impl Drop for Process {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[tokio::test]
    #[ignore = "the process with the service, started by the tests below"]
    async fn process_with_a_service() {
        let Some(folder) = std::env::var_os(FOLDER) else { return };
        let handles = std::env::var(HANDLES).is_ok_and(|handles| handles == "true");
        let registry = Local::at(folder).expect("a registry");
        let service = Service::builder("greeter").address("127.0.0.1:0");
        let service = service.registry(Arc::new(registry)).propagation(Duration::ZERO);
        service.handle_signals(handles).run().await.expect("it ends well");
    }

    /// How a service in a process of its own ends that is sent a signal.
    async fn sent(signal: &str, handles: bool) -> ExitStatus {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = Local::at(folder.path()).expect("a registry");
        let mut watcher = registry.watch(Some("greeter")).await.expect("a watch");
        let mut process = start(folder.path(), handles);
        let registered = timeout(PATIENCE, watcher.next()).await.expect("it starts in time");
        registered.expect("the watch goes on");
        let id = process.0.id();
        kill(signal, id);
        let wait = tokio::task::spawn_blocking(move || process.0.wait());
        let Ok(ended) = timeout(PATIENCE, wait).await else {
            kill("KILL", id);
            panic!("SIG{signal} does not end it");
        };
        ended.expect("the thread that waits").expect("a status")
    }

    fn kill(signal: &str, process: u32) {
        let kill = format!("kill -{signal} {process}");
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(sent.success(), "{kill}");
    }

    fn start(folder: &Path, handles: bool) -> Process {
        let program = std::env::current_exe().expect("this test");
        let child = Command::new(program)
            .args(["--ignored", "--exact", "service::signal::tests::process_with_a_service"])
            .env(FOLDER, folder)
            .env(HANDLES, handles.to_string())
            .stdout(Stdio::null())
            .spawn();
        Process(child.expect("it starts"))
    }

    #[tokio::test]
    async fn every_signal_ends_a_service_without_an_error() {
        for signal in ["TERM", "INT", "QUIT"] {
            let status = sent(signal, true).await;
            assert!(status.success(), "{signal}: {status}");
        }
    }

    #[tokio::test]
    async fn signals_are_left_alone_where_the_program_says_so() {
        // The system's own way with the signal.
        assert_eq!(sent("TERM", false).await.signal(), Some(15));
    }
}
