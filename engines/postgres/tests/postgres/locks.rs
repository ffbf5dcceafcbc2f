//! Locks over PostgreSQL, between processes.

use std::io::BufRead as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use micro::Reason;
use micro::store::{Batch, Change, Place, Store};
use micro::sync::contract::{Subject, cases};
use micro::sync::{Held, Locks};
use micro_postgres::Postgres;
use micro_tests::postgres::Server;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};

const TTL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract_of_locks() {
    let name = "postgres_keeps_the_contract_of_locks";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    for options in ["?connections=4", "?connections=4&pooler=true"] {
        let rest = format!("shop@127.0.0.1:{}/postgres{options}", server.port());
        for case in cases() {
            eprintln!("{options} {}", case.name());
            let store = || Postgres::new("postgres", &rest).unwrap();
            case.run(Subject::over(store(), store())).await;
        }
    }
}

/// Writes under its token, as one does that does not look whether it still has the lock.
async fn write(store: &dyn Store, held: &Held, lock: &str) -> micro::Result<Vec<u64>> {
    let change = Change::write(Place::default(), "stock", held.token().to_string());
    let fence = micro::store::Fence { lock: lock.to_owned(), token: held.token() };
    store.apply(Batch { fences: vec![fence], ..change.into() }).await
}

#[test]
#[ignore = "started by the test below, as a process of its own"]
fn a_holder_of_another_process() {
    let url = std::env::var("HOLDER_STORE").expect("a store");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(Postgres::new("postgres", &url).unwrap());
        let locks = micro::sync::over(store.clone());
        let held = locks.lock("stock").ttl(TTL).await.unwrap();
        let fence = held.fence().await.unwrap();
        println!("\nheld {}", held.token());
        let mut lines = std::io::stdin().lock().lines();
        while lines.next().is_some() {
            let wrote = write(&*store, &held, &fence.lock).await;
            let wrote = match wrote.as_ref().map_err(micro::Error::reason) {
                Ok(_) => "written",
                Err(Some(Reason::StaleToken)) => "stale",
                Err(_) => "failed",
            };
            println!("\n{wrote} lost={}", held.is_lost());
        }
    });
}

struct Holder {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn start(server: &Server) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "locks::a_holder_of_another_process"])
            .env("HOLDER_STORE", format!("shop@127.0.0.1:{}/postgres", server.port()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, lines: BufReader::new(stdout).lines() }
    }

    /// The next line that begins so; the rest of it.
    async fn says(&mut self, begin: &str) -> String {
        let said = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("it says more");
                if let Some(rest) = line.strip_prefix(begin) {
                    return rest.trim().to_owned();
                }
            }
        };
        timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("it says {begin}"))
    }

    async fn write(&mut self) {
        self.stdin.write_all(b"\n").await.unwrap();
    }

    async fn signal(&self, name: &str) {
        let process = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status().await;
        assert!(sent.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_stopped_past_its_time_is_refused_and_one_that_is_killed_is_followed() {
    let name =
        "a_process_that_is_stopped_past_its_time_is_refused_and_one_that_is_killed_is_followed";
    let Some(server) = Server::listening(name, |_| Vec::new()).await else { return };
    let store = super::store(&server, "");
    let locks: Arc<dyn Locks> = micro::sync::over(store.clone());

    let mut stopped = Holder::start(&server);
    let token: u64 = stopped.says("held ").await.parse().unwrap();
    stopped.write().await;
    assert_eq!(stopped.says("written ").await, "lost=false");
    stopped.signal("STOP").await;
    let held =
        timeout(PATIENCE, locks.lock("stock").ttl(TTL).into_future()).await.unwrap().unwrap();
    assert!(held.token() > token);
    let fence = held.fence().await.unwrap();
    stopped.signal("CONT").await;
    stopped.write().await;
    assert_eq!(stopped.says("stale ").await, "lost=true");
    write(&*store, &held, &fence.lock).await.unwrap();

    let mut killed = Holder::start(&server);
    let mut moves = locks.watch(&fence.lock).await.unwrap();
    let waits = async {
        while locks.line(&fence.lock).await.unwrap().len() < 2 {
            moves.next().await.unwrap();
        }
    };
    timeout(PATIENCE, waits).await.expect("it waits");
    held.unlock().await.unwrap();
    killed.says("held ").await;
    killed.child.kill().await.unwrap();
    let dead = Instant::now();
    let held =
        timeout(PATIENCE, locks.lock("stock").ttl(TTL).into_future()).await.unwrap().unwrap();
    let waited = dead.elapsed();
    assert!(waited < TTL + TTL, "{waited:?} after its end");
    held.unlock().await.unwrap();
}
