//! A shop whose configuration comes from a file, a file of this machine that may be missing, and variables, and changes while it runs.

use micro::config::{Config, Env, Secret};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Database {
    url: String,
    #[serde(default = "four")]
    pool: usize,
    password: Option<Secret<String>>,
}

fn four() -> usize {
    4
}

#[tokio::main]
async fn main() -> micro::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let config = Config::builder()
        .source(format!("file://{folder}/shop.yaml"))
        .optional(format!("file://{folder}/local.yaml"))
        .source(Env::prefix("SHOP"))
        .check::<Database>("db")
        .load()
        .await?;

    let port = config.get("port").int().unwrap_or(8080);
    let database = config.live::<Database>("db")?;
    let mut pools = config.watch("db.pool");
    println!("listening on {port}, with {:?}", database.get());
    println!("{}", config.why("db.url"));
    if database.get().password.as_ref().is_none_or(|password| password.expose().is_empty()) {
        println!("without a password");
    }

    while let Some(pool) = pools.next().await {
        // What holds `database` sees the same, without being told.
        println!("the pool is {pool} now, of {}", database.get().url);
        if database.get().pool == 0 {
            break;
        }
    }
    Ok(())
}
