//! A service, a caller or a watcher on another machine, which takes its registry from the environment.
//!
//! `neighbour serve NAME`, and `call`, `find` and `watch` in the place of `serve`: what happens is printed,
//! a line for each.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program, driven over its stdout"
)]

use std::time::Duration;

use micro::{Client, Context, Json, Result, Service, registry};

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let (task, name) = (words.next().expect("a task"), words.next().expect("a name"));
    match task.as_str() {
        "serve" => serve(&name).await,
        "call" => call(&name).await,
        "find" => find(&name).await,
        _ => watch(&name).await,
    }
}

async fn serve(name: &str) -> Result<()> {
    let service = Service::builder(name)
        .endpoint("Greeter.Hello", |cx: Context, Json(name): Json<String>| async move {
            let _ = cx;
            Ok(Json(format!("Hello, {name}!")))
        })
        .start()
        .await?;
    println!("{} {}", service.registry().name(), service.node().address);
    let mut known = (service.registry().name(), service.node().address);
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = (service.registry().name(), service.node().address);
        if now != known {
            println!("{} {}", now.0, now.1);
            known = now;
        }
    }
}

/// Calls until that works, as long as the test has patience.
async fn call(name: &str) -> Result<()> {
    let client = Client::builder().build()?;
    loop {
        let call = client.call(name, "Greeter.Hello", Json("Ann".to_owned()));
        match call.timeout(Duration::from_secs(2)).await {
            Ok(reply) => {
                let Json(reply): Json<String> = reply;
                println!("{reply}");
                return Ok(());
            }
            Err(error) => println!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Looks until there is a node, as long as the test has patience.
async fn find(name: &str) -> Result<()> {
    let registry = registry::from_environment()?;
    loop {
        match registry.get(name).await {
            Ok(found) => {
                for node in found.iter().flat_map(|service| &service.nodes) {
                    println!("{}", node.address);
                }
                return Ok(());
            }
            Err(error) => println!("{error}"),
        }
    }
}

async fn watch(name: &str) -> Result<()> {
    let registry = registry::from_environment()?;
    let mut watcher = registry.watch(Some(name)).await?;
    println!("watching");
    loop {
        let change = watcher.next().await?;
        for node in change.service.nodes {
            println!("{} {}", change.action, node.address);
        }
    }
}
