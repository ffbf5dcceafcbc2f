//! A PostgreSQL of the test's own, in a temporary folder, reached by a socket in it, and by TCP where a test wants that.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::toolchain::{Missing, skip};

/// How long it may take to start.
const START: Duration = Duration::from_secs(60);

/// A server, which ends with the test. Its superuser is `shop`, who needs no password.
#[derive(Debug)]
pub struct Server {
    programs: PathBuf,
    folder: TempDir,
    /// Of the socket, and of TCP where it listens there.
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Makes a database and serves it by a socket; `None`, said aloud, where there is no PostgreSQL.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(test: &str) -> Option<Self> {
        Self::begin(test, 5432, "", |_| Vec::new()).await
    }

    /// As [`Server::start`], on a free port of this machine as well, with what `prepare` puts into its folder and says of its settings,
    /// each as `name=value`.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn listening(test: &str, prepare: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self::begin(test, port, "127.0.0.1", prepare).await
    }

    async fn begin(
        test: &str,
        port: u16,
        addresses: &str,
        prepare: impl FnOnce(&Path) -> Vec<String>,
    ) -> Option<Self> {
        let Some(programs) = programs() else {
            skip(test, &Missing("no PostgreSQL: apt-get install postgresql".into()));
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let mut arguments = vec![
            format!("listen_addresses={addresses}"),
            format!("port={port}"),
            "fsync=off".into(),
            "max_connections=50".into(),
        ];
        arguments.extend(prepare(folder.path()));
        let mut server = Self { programs, folder, port, arguments, child: None };
        if let Some((user, group)) = another_user() {
            let files = fs::read_dir(server.folder()).unwrap().map(|file| file.unwrap().path());
            for path in files.chain([server.folder().to_owned()]) {
                chown(path, Some(user), Some(group)).expect("its folder");
            }
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
    ///
    /// # Panics
    /// When it does not start.
    pub async fn serve(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).expect("a log");
        let mut serve = self.command("postgres");
        serve.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        for argument in &self.arguments {
            serve.arg("-c").arg(argument);
        }
        self.child = Some(serve.stderr(log).spawn().expect("postgres starts"));
        let begun = Instant::now();
        let mut ready = self.command("pg_isready");
        ready.args(["-q", "-p", &self.port.to_string(), "-h"]).arg(self.folder.path());
        while !ready.status().expect("pg_isready starts").success() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < START, "it does not start:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it without a word.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
    }

    /// Sends a signal, such as `STOP`, to it and to all its processes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, name: &str) {
        let first = self.child.as_ref().expect("it runs").id();
        let mut all = vec![first.to_string()];
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children"));
        all.extend(children.unwrap_or_default().split_whitespace().map(str::to_owned));
        // One of them may have ended meanwhile.
        let _ = Command::new("kill").args(["-s", name]).args(all).status().expect("it is sent");
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Does what the SQL says as its superuser, by the socket; what it answers, line by line.
    ///
    /// # Panics
    /// When it fails.
    pub fn psql(&self, sql: &str) -> String {
        let mut psql = self.command("psql");
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "shop",
            "-d",
            "postgres",
        ]);
        psql.args(["-p", &self.port.to_string(), "-h"]).arg(self.folder.path()).args(["-c", sql]);
        let output = psql.stdout(Stdio::piped()).output().expect("psql starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {said}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Where its socket is.
    pub fn folder(&self) -> &Path {
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

/// Where Debian or a path has its programs, the newest first.
fn programs() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = debian.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders.into_iter().find(|folder| {
        ["initdb", "pg_isready", "postgres", "psql"]
            .iter()
            .all(|program| folder.join(program).is_file())
    })
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
