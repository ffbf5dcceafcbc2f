//! Servers of others, each on a free port of this network, with its data in a folder of its own. They end with the test.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::toolchain::{Missing, Need, exists};

/// How long a server may take to accept connections.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A server that can be killed, stopped and started again.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl Server {
    /// `nats-server` with JetStream; `more` are its own arguments.
    ///
    /// # Panics
    /// When it does not start. The test needs [`Need::Nats`].
    pub async fn nats(more: &[&str]) -> Self {
        Self::begin(Need::Nats.path(), |port, folder| {
            let folder = folder.display();
            let own =
                format!("--addr 127.0.0.1 --port {port} --jetstream --store_dir {folder}/data");
            own.split(' ').chain(more.iter().copied()).map(str::to_owned).collect()
        })
        .await
    }

    /// As [`Server::nats`], without JetStream.
    ///
    /// # Panics
    /// When it does not start. The test needs [`Need::Nats`].
    pub async fn bare_nats(more: &[&str]) -> Self {
        Self::begin(Need::Nats.path(), |port, _| {
            let own = format!("--addr 127.0.0.1 --port {port}");
            own.split(' ').chain(more.iter().copied()).map(str::to_owned).collect()
        })
        .await
    }

    /// `redis-server` that syncs every write to its disk before it answers; `more` are its own arguments.
    ///
    /// # Panics
    /// When it does not start. The test needs [`Need::Redis`].
    pub async fn redis(more: &[&str]) -> Self {
        Self::begin(Need::Redis.path(), |port, folder| {
            let folder = folder.display();
            let own = format!(
                "--bind 127.0.0.1 --port {port} --dir {folder} --appendonly yes --appendfsync always --save "
            );
            own.split(' ').chain(more.iter().copied()).map(str::to_owned).collect()
        })
        .await
    }

    /// As [`Server::redis`], by TLS alone; `more` name its certificate and key.
    ///
    /// # Panics
    /// When it does not start. The test needs [`Need::Redis`].
    pub async fn redis_by_tls(more: &[&str]) -> Self {
        Self::begin(Need::Redis.path(), |port, folder| {
            let folder = folder.display();
            let own = format!("--bind 127.0.0.1 --port 0 --tls-port {port} --dir {folder}");
            own.split(' ').chain(more.iter().copied()).map(str::to_owned).collect()
        })
        .await
    }

    /// `etcd` as a cluster of one; `more` are its own arguments.
    ///
    /// # Panics
    /// When it does not start. The test needs [`Need::Etcd`].
    pub async fn etcd(more: &[&str]) -> Self {
        Self::etcd_by("http", more).await
    }

    /// As [`Server::etcd`], by TLS alone; `more` name its certificate and key.
    ///
    /// # Panics
    /// When it does not start. The test needs [`Need::Etcd`].
    pub async fn etcd_by_tls(more: &[&str]) -> Self {
        Self::etcd_by("https", more).await
    }

    async fn etcd_by(scheme: &str, more: &[&str]) -> Self {
        Self::begin(Need::Etcd.path(), |port, folder| {
            let (folder, peer) = (folder.display(), free_port());
            let own = format!(
                "--data-dir {folder}/data --listen-client-urls {scheme}://127.0.0.1:{port} --advertise-client-urls \
                 {scheme}://127.0.0.1:{port} --listen-peer-urls http://127.0.0.1:{peer} --initial-advertise-peer-urls \
                 http://127.0.0.1:{peer} --initial-cluster default=http://127.0.0.1:{peer}"
            );
            own.split(' ').chain(more.iter().copied()).map(str::to_owned).collect()
        })
        .await
    }

    /// As [`Server::etcd`], as a cluster of three.
    ///
    /// # Panics
    /// When one does not start. The test needs [`Need::Etcd`].
    pub async fn etcd_cluster() -> Vec<Self> {
        let peers: Vec<_> =
            ["a", "b", "c"].map(|name| (name, format!("http://127.0.0.1:{}", free_port()))).into();
        let all: Vec<_> = peers.iter().map(|(name, peer)| format!("{name}={peer}")).collect();
        let (all, mut servers) = (all.join(","), Vec::new());
        for (name, peer) in peers {
            let server = Self::begin(Need::Etcd.path(), |port, folder| {
                let (folder, client) = (folder.display(), format!("http://127.0.0.1:{port}"));
                let own = format!(
                    "--name {name} --data-dir {folder}/data --listen-client-urls {client} --advertise-client-urls {client} \
                     --listen-peer-urls {peer} --initial-advertise-peer-urls {peer} --initial-cluster {all}"
                );
                own.split(' ').map(str::to_owned).collect()
            });
            servers.push(server.await);
        }
        servers
    }

    async fn begin(program: PathBuf, arguments: impl FnOnce(u16, &Path) -> Vec<String>) -> Self {
        let folder = TempDir::new().unwrap();
        let port = free_port();
        let arguments = arguments(port, folder.path());
        let mut server = Self { program, arguments, port, folder, child: None };
        server.start().await;
        server
    }

    /// Where it listens: `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it keeps its data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it, at the same port with the same data, and waits until it accepts connections.
    ///
    /// # Panics
    /// When it ends instead, with what it said.
    pub async fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.program.display()));
        let child = self.child.insert(child);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            let ended = child.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > START_LIMIT {
                let mut said = String::new();
                let log = std::fs::File::open(self.folder.path().join("log"));
                log.unwrap().read_to_string(&mut said).unwrap();
                panic!("{} is not up ({ended:?}):\n{said}", self.program.display());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it without a warning, as `kill -9` does.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal to it, such as `STOP`.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success(), "kill -s {name} {pid}");
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn nats() -> Result<PathBuf, Missing> {
    let python = crate::python::make_environment("nats-server")?;
    Ok(python.with_file_name("nats-server"))
}

pub(crate) fn redis() -> Result<PathBuf, Missing> {
    match exists("redis-server", "--version") {
        true => Ok("redis-server".into()),
        false => Err(Missing("no redis-server".into())),
    }
}

pub(crate) fn etcd() -> Result<PathBuf, Missing> {
    match exists("etcd", "--version") {
        true => Ok("etcd".into()),
        false => Err(Missing("no etcd".into())),
    }
}
