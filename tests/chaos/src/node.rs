//! The process of one service, with handlers whose capacity is known.

use std::sync::Arc;
use std::time::Duration;

use micro::resilience::Limiter;
use micro::server::Endpoint;
use micro::{Context, Error, Raw, Service};
use tokio::sync::Semaphore;

use crate::Outcome;

/// Name of the service.
pub(crate) const SERVICE: &str = "fleet";
/// Answers after `--takes`; repeating it is harmless.
pub(crate) const READ: &str = "Work.Read";
/// As [`READ`], but it may not be repeated.
pub(crate) const WRITE: &str = "Work.Write";
/// As [`READ`] with `--workers` at a time, the others in line.
pub(crate) const POOL: &str = "Work.Pool";
/// Keeps a processor busy for `--rounds`, one call at a time, beside the threads that answer.
pub(crate) const SPIN: &str = "Work.Spin";

/// How a node works.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Address to listen on.
    #[arg(long)]
    pub(crate) address: String,
    /// Address that callers use, if another one.
    #[arg(long)]
    pub(crate) advertise: Option<String>,
    /// What a call takes, in milliseconds.
    #[arg(long, default_value_t = 1)]
    pub(crate) takes: u64,
    /// Workers of the pool.
    #[arg(long, default_value_t = 16)]
    pub(crate) workers: usize,
    /// Rounds of arithmetic of a call that needs the processor.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) rounds: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// Leaves the limiter off.
    #[arg(long)]
    pub(crate) no_limiter: bool,
}

/// Serves until it is told to stop.
pub(crate) fn run(options: &Options) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.threads)
        .enable_all()
        .build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Options) -> Outcome {
    let limiter = if options.no_limiter { Limiter::off() } else { Limiter::adaptive() };
    let takes = Duration::from_millis(options.takes);
    let pool = Arc::new(Semaphore::new(options.workers));
    let rounds = options.rounds;
    let processor = Arc::new(Semaphore::new(1));
    let mut service = Service::builder(SERVICE)
        .address(&options.address)
        .server(|server| server.limiter(limiter))
        .handle(Endpoint::unary(READ, move |_, request: Raw| answer(request, takes)).idempotent())
        .endpoint(WRITE, move |_: Context, request: Raw| answer(request, takes))
        .endpoint(POOL, move |_: Context, request: Raw| {
            let pool = pool.clone();
            async move {
                let _worker = pool.acquire().await;
                answer(request, takes).await
            }
        })
        .endpoint(SPIN, move |_: Context, request: Raw| {
            let processor = processor.clone();
            async move {
                // Work that begins is done to its end, so its turn goes with it.
                let turn = processor.acquire_owned().await;
                let work = tokio::task::spawn_blocking(move || {
                    spin(rounds);
                    drop(turn);
                });
                work.await.map_err(|error| Error::internal(error.to_string()))?;
                Ok(request)
            }
        })
        .after_start(|| async {
            println!("ready");
            Ok(())
        });
    if let Some(advertise) = &options.advertise {
        service = service.advertise(advertise);
    }
    service.run().await?;
    Ok(())
}

/// Keeps a processor busy.
fn spin(rounds: u64) {
    let sum = (0..rounds).fold(1_u64, |sum, round| {
        std::hint::black_box(sum.wrapping_mul(6_364_136_223_846_793_005) ^ round)
    });
    std::hint::black_box(sum);
}

async fn answer(request: Raw, takes: Duration) -> micro::Result<Raw> {
    tokio::time::sleep(takes).await;
    Ok(request)
}
