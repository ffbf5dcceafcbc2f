//! Writers and relays that are killed again and again: what was committed arrives, in order, and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use micro::broker::{Broker as _, Durable, Message};
use micro_outbox::{Relay, postgres, sqlite};
use micro_tests::postgres::Server;
use rusqlite::Connection;
use tokio_postgres::NoTls;

use crate::server::config;
use crate::{next, received};

const ROLE: &str = "MICRO_TEST_OUTBOX_ROLE";
const SHOP: &str = "MICRO_TEST_OUTBOX_SHOP";
const DATA: &str = "MICRO_TEST_OUTBOX_DATA";
const KEYS: u32 = 5;
/// Processes that are killed in each run.
const KILLS: u32 = 12;
/// Table of what was committed beside the messages.
const ORDERS: &str =
    "CREATE TABLE orders (name text, number bigint, token text, PRIMARY KEY (name, number))";

/// Where a process has its database: a file of SQLite, or the folder of PostgreSQL's socket.
fn path(variable: &str) -> PathBuf {
    std::env::var_os(variable).expect("told by the test").into()
}

/// A message of an order, and whether its transaction is to be committed.
fn order(name: &str, number: i64) -> (Message, String, bool) {
    let token = format!("{:016x}", fastrand::u64(..));
    let mut message = Message::new("orders", format!("{name} {number} {token}"));
    message.key = Some(name.into());
    (message, token, fastrand::u8(..4) > 0)
}

fn write_sqlite(shop: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let outbox = sqlite::Outbox::new("outbox")?;
    let mut database = Connection::open(shop)?;
    database.busy_timeout(Duration::from_secs(10))?;
    loop {
        let name = format!("k{}", fastrand::u32(..KEYS));
        let transaction =
            database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let last = "SELECT coalesce(max(number), 0) FROM orders WHERE name = ?1";
        let last: i64 = transaction.query_row(last, [&name], |row| row.get(0))?;
        let (message, token, is_good) = order(&name, last + 1);
        outbox.publish(&transaction, &message)?;
        let insert = "INSERT INTO orders VALUES (?1, ?2, ?3)";
        transaction.execute(insert, rusqlite::params![name, last + 1, token])?;
        if is_good { transaction.commit()? } else { transaction.rollback()? }
    }
}

async fn write_postgres(shop: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let outbox = postgres::Outbox::new("outbox")?;
    let (mut client, connection) = config(shop).connect(NoTls).await?;
    tokio::spawn(connection);
    loop {
        let name = format!("k{}", fastrand::u32(..KEYS));
        let transaction = client.transaction().await?;
        // Orders of one name are written one after the other, as their key says.
        let lock = "SELECT pg_advisory_xact_lock(hashtext($1))";
        transaction.execute(lock, &[&name]).await?;
        let last = "SELECT coalesce(max(number), 0) FROM orders WHERE name = $1";
        let last: i64 = transaction.query_one(last, &[&name]).await?.get(0);
        let (message, token, is_good) = order(&name, last + 1);
        outbox.publish(&transaction, &message).await?;
        let insert = "INSERT INTO orders VALUES ($1, $2, $3)";
        transaction.execute(insert, &[&name, &(last + 1), &token]).await?;
        if is_good { transaction.commit().await? } else { transaction.rollback().await? }
    }
}

fn relay(role: &str) -> Relay {
    let (shop, broker) = (path(SHOP), Arc::new(Durable::new(path(DATA))));
    if role.ends_with("sqlite") {
        let outbox = sqlite::Outbox::new("outbox").expect("a name");
        return Relay::sqlite(shop, outbox, broker);
    }
    let outbox = postgres::Outbox::new("outbox").expect("a name");
    Relay::postgres(config(&shop), NoTls, outbox, broker)
}

/// Writes, or relays, until it is killed.
#[tokio::test]
#[ignore = "started by the tests below, as a process of its own"]
async fn process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    match &*role {
        "write sqlite" => write_sqlite(&path(SHOP)).expect("it writes"),
        "write postgres" => write_postgres(&path(SHOP)).await.expect("it writes"),
        role => {
            let _relay = relay(role);
            std::future::pending::<()>().await;
        }
    }
}

fn start(role: &str, shop: &Path, data: &Path) -> Process {
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "crash::process", "--nocapture"])
        .env(ROLE, role)
        .env(SHOP, shop)
        .env(DATA, data)
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    Process(child)
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kills writers and relays; then all that was committed, by `committed`, has to arrive.
async fn run(
    kind: &str,
    shop: &Path,
    data: &Path,
    committed: impl AsyncFn() -> BTreeMap<(String, i64), String>,
) {
    let roles = [format!("write {kind}"), format!("relay {kind}")];
    let mut processes: Vec<(usize, Process)> =
        [0, 0, 1, 1].into_iter().map(|role| (role, start(&roles[role], shop, data))).collect();
    for kill in 0..KILLS {
        // Something is written between two deaths, so that none is for nothing.
        let (before, begun) = (committed().await.len(), Instant::now());
        while committed().await.len() < before + 20 {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is written");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let index = kill as usize % processes.len();
        let role = processes[index].0;
        processes[index] = (role, start(&roles[role], shop, data));
    }
    processes.retain(|(role, _)| *role == 1);
    let expected = committed().await;
    let broker = Durable::new(data);
    let mut received = received(&broker).await;
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for _ in 0..expected.len() {
        let message = next(&mut received).await;
        let body = String::from_utf8(message.body.to_vec()).expect("text");
        let [name, number, token] = body.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{body}")
        };
        let number: i64 = number.parse().expect("a number");
        let known = expected.get(&(name.to_owned(), number));
        assert_eq!(known.map(String::as_str), Some(token), "{body} was not committed");
        let last = last.entry(name.to_owned()).or_default();
        assert_eq!(number, *last + 1, "{body} came out of order, or twice");
        *last = number;
    }
    // It has its number only if nothing else is there.
    broker.publish(Message::new("orders", "the end")).await.expect("published");
    assert_eq!(next(&mut received).await.body, "the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_in_sqlite_arrives_once_in_order_whoever_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let shop = folder.path().join("shop.db");
    let mut database = Connection::open(&shop).expect("a database");
    database.busy_timeout(Duration::from_secs(10)).expect("set");
    database.pragma_update(None, "journal_mode", "WAL").expect("set");
    sqlite::Outbox::new("outbox").expect("a name").migrate(&mut database).expect("tables");
    database.execute(ORDERS, []).expect("a table");
    let committed = async || {
        let mut all = database.prepare("SELECT name, number, token FROM orders").expect("a query");
        let rows = all.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)));
        rows.and_then(Iterator::collect).expect("rows")
    };
    run("sqlite", &shop, &folder.path().join("data"), committed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_in_postgres_arrives_once_in_order_whoever_is_killed() {
    let name = "what_is_committed_in_postgres_arrives_once_in_order_whoever_is_killed";
    let Some(server) = Server::start(name).await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (mut client, connection) = config(server.folder()).connect(NoTls).await.expect("connected");
    tokio::spawn(connection);
    let outbox = postgres::Outbox::new("outbox").expect("a name");
    outbox.migrate(&mut client).await.expect("tables");
    client.batch_execute(ORDERS).await.expect("a table");
    let committed = async || {
        let rows = client.query("SELECT name, number, token FROM orders", &[]).await.expect("rows");
        let row = |row: &tokio_postgres::Row| ((row.get(0), row.get(1)), row.get(2));
        rows.iter().map(row).collect()
    };
    run("postgres", server.folder(), &folder.path().join("data"), committed).await;
}
