//! What it costs to know a fleet: the way from a name to a node, the memory of a large cache and
//! the price of one change in it. Prints one line of JSON.

use std::alloc::System;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bench_peers::runtime::Workers;
use clap::{Parser, Subcommand};
use micro::directory::Cache;
use micro::registry::{Endpoint, Memory, Node, Registry, Service};
use micro::selector::{P2c, Pick, select};
use serde::Serialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::time::timeout;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Batches of picks.
const BATCHES: usize = 101;
/// Changes applied one after the other.
const CHANGES: u32 = 200;
/// Longest a change may take to show.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    workers: Workers,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// From a name to a node, warm.
    Pick {
        /// Nodes of the service.
        #[arg(long)]
        nodes: usize,
        /// Picks of one batch; the median of many batches is reported.
        #[arg(long)]
        count: u32,
    },
    /// A cache that knows many services.
    Fleet {
        /// Services of ten nodes each.
        #[arg(long)]
        services: usize,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Figures {
    Pick {
        /// Microseconds per resolve and pick.
        pick_us: f64,
    },
    Fleet {
        /// Resident memory in megabytes, the registry behind the cache included.
        resident_megabytes: f64,
        /// Microseconds from the registration of a changed node until the cache shows it.
        change_us: f64,
        /// Bytes allocated meanwhile.
        change_bytes: f64,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let figures = arguments.workers.run(async move {
        let figures = match arguments.what {
            What::Pick { nodes, count } => pick(nodes, count).await,
            What::Fleet { services } => fleet(services).await,
        };
        figures.map_err(|error| error.to_string())
    })??;
    writeln!(io::stdout(), "{}", serde_json::to_string(&figures)?)?;
    Ok(())
}

async fn pick(nodes: usize, count: u32) -> Result<Figures, Box<dyn Error>> {
    let cache = Cache::new(Arc::new(Memory::preloaded([service(0, nodes)])));
    let strategy = P2c::new();
    let name = name(0);
    let mut batches = Vec::new();
    for _ in 0..BATCHES {
        let started = Instant::now();
        for _ in 0..count {
            let snapshot = cache.resolve(black_box(&name)).await?;
            black_box(select(&strategy, snapshot.nodes(), &Pick::new(&name, "Greeter.Hello"))?);
        }
        batches.push(started.elapsed());
    }
    // The first batches are cold and some are interrupted; the median is neither.
    batches.sort_unstable();
    let median = batches[BATCHES / 2];
    Ok(Figures::Pick { pick_us: median.as_secs_f64() * 1e6 / f64::from(count) })
}

async fn fleet(services: usize) -> Result<Figures, Box<dyn Error>> {
    let registry = Arc::new(Memory::preloaded((0..services).map(|number| service(number, 10))));
    let cache = Cache::new(registry.clone());
    for number in 0..services {
        cache.resolve(&name(number)).await?;
    }
    let resident_megabytes = resident_megabytes()?;

    let mut changed = service(services / 2, 10);
    // A node registers itself alone.
    changed.nodes.truncate(1);
    let name = changed.name.clone();
    let allocations = Region::new(ALLOCATOR);
    let started = Instant::now();
    for change in 0..CHANGES {
        let before = cache.resolve(&name).await?;
        changed.nodes[0].metadata.insert("weight".to_owned(), change.to_string());
        registry.register(&changed, None).await?;
        timeout(PATIENCE, async {
            while cache.peek(&name).is_none_or(|now| Arc::ptr_eq(&now, &before)) {
                tokio::task::yield_now().await;
            }
        })
        .await?;
    }
    let elapsed = started.elapsed();
    let allocated = allocations.change().bytes_allocated;
    Ok(Figures::Fleet {
        resident_megabytes,
        change_us: elapsed.as_secs_f64() * 1e6 / f64::from(CHANGES),
        change_bytes: allocated as f64 / f64::from(CHANGES),
    })
}

fn name(number: usize) -> String {
    format!("go.micro.srv.service-{number}")
}

/// A record as a go-micro service registers it.
fn service(number: usize, nodes: usize) -> Service {
    let name = name(number);
    let mut service = Service::new(&name, "latest");
    service.endpoints = ["Greeter.Hello", "Greeter.Stream", "Debug.Health"]
        .map(|endpoint| Endpoint { name: endpoint.to_owned(), ..Endpoint::default() })
        .into();
    service.nodes = (0..nodes)
        .map(|node| Node {
            id: format!("{name}-9b3d6c5e-8f11-4a57-9d2c-{number:06}{node:06}"),
            address: format!("10.{}.{}.{}:8080", number % 256, node / 256, node % 256),
            metadata: [
                ("broker", "memory"),
                ("protocol", "grpc"),
                ("registry", "mdns"),
                ("server", "grpc"),
                ("transport", "grpc"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        })
        .collect();
    service
}

fn resident_megabytes() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kilobytes: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
        .ok_or("/proc/self/status has no VmRSS: run on Linux")?
        .parse()?;
    Ok(kilobytes / 1024.0)
}
