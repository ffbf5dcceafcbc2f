//! A PostgreSQL of the test's own, in a temporary folder, reached by a socket in it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use micro_tests::toolchain::{Missing, skip};
use tempfile::TempDir;
use tokio_postgres::{Config, NoTls};

/// How long it may take to start.
const START: Duration = Duration::from_secs(60);

/// A server, which ends with the test.
pub(crate) struct Server {
    programs: PathBuf,
    folder: TempDir,
    child: Option<Child>,
}

impl Server {
    /// Makes a database and serves it; `None`, said aloud, where there is no PostgreSQL.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            skip(test, &Missing("no PostgreSQL: apt-get install postgresql".into()));
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Self { programs, folder, child: None };
        if let Some((user, group)) = another_user() {
            chown(server.folder.path(), Some(user), Some(group)).expect("its folder");
        }
        let data = server.data();
        let mut make = server.command("initdb");
        make.args([
            "--username=shop",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--pgdata",
        ]);
        let made = make.arg(&data).output().expect("initdb starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.serve().await;
        Some(server)
    }

    /// Serves, after the start or after it was killed.
    pub(crate) async fn serve(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).expect("a log");
        let mut serve = self.command("postgres");
        serve.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        serve.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50"]);
        self.child = Some(serve.stderr(log).spawn().expect("postgres starts"));
        let begun = Instant::now();
        while let Err(error) = self.config().connect(NoTls).await {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < START, "{error}\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
    }

    pub(crate) fn config(&self) -> Config {
        config(self.folder.path())
    }

    /// Where its socket is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some((user, group)) = another_user() {
            command.uid(user).gid(group);
        }
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // At once, with all its processes.
            let _ = Command::new("kill").args(["-s", "QUIT", &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }
}

/// The database whose socket is in a folder.
pub(crate) fn config(folder: &Path) -> Config {
    let mut config = Config::new();
    config.host_path(folder).user("shop").dbname("postgres");
    config
}

/// Where Debian or a path has its programs, the newest first.
fn programs() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = debian.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders
        .into_iter()
        .find(|folder| ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file()))
}

/// PostgreSQL refuses to be root's: whose it is then.
fn another_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let user = |name: &str| {
        let line = users.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    user("postgres").or_else(|| user("nobody"))
}
