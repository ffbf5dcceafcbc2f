//! The load both clients make, and the figures they report.
//!
//! A client stays alive for many short windows: the harness asks for one by a line with its length
//! in milliseconds and reads one line of figures back. Windows of both sides can so alternate
//! quickly, and what else the machine does meets both alike.

use std::future::Future;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use crate::wire::{Payload, StreamRequest};

/// Latencies kept per task; a run that makes more keeps the first ones.
const SAMPLES: usize = 1 << 18;
/// Messages of one stream.
const MESSAGES: u32 = 2_000;

/// A client under measurement. Errors are text: the harness only prints them.
pub trait Caller: Clone + Send + Sync + 'static {
    /// One unary call of `bench.Echo/Call`.
    fn call(&self, request: Payload) -> impl Future<Output = Result<Payload, String>> + Send;

    /// One call of `bench.Echo/Stream`; counts the bytes of every message until the stream ends.
    fn stream(
        &self,
        request: StreamRequest,
    ) -> impl Future<Output = Result<Drained, String>> + Send;
}

/// What came out of one stream.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Messages received.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl Drained {
    /// Counts one message.
    pub fn add(&mut self, message: &Payload) {
        self.messages += 1;
        self.bytes += message.body.len() as u64;
    }
}

/// How hard and how long.
#[derive(Debug, Clone, Copy, Args)]
pub struct Load {
    /// What is called.
    #[command(subcommand)]
    shape: Shape,
    /// Calls or streams in flight.
    #[arg(long, default_value_t = 1, global = true)]
    concurrency: usize,
    /// Bytes of each body.
    #[arg(long, default_value_t = 64, global = true)]
    size: u32,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Shape {
    /// Unary calls.
    Call,
    /// Server streams.
    Stream,
}

impl Load {
    /// Calls or streams in flight.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }
}

/// What a client reports of one window, as one line of JSON.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Figures {
    /// Calls answered correctly, or messages received, in the measured window.
    pub completed: u64,
    /// The same per second.
    pub rate: f64,
    /// Median duration of a call (or of a whole stream) in microseconds.
    pub p50_us: f64,
    /// 99th percentile of the same.
    pub p99_us: f64,
}

impl Figures {
    /// Of what took these times, in nanoseconds, within so many seconds.
    pub fn of(mut nanos: Vec<u64>, seconds: f64) -> Self {
        nanos.sort_unstable();
        Self {
            completed: nanos.len() as u64,
            rate: nanos.len() as f64 / seconds,
            p50_us: percentile(&nanos, 50) / 1e3,
            p99_us: percentile(&nanos, 99) / 1e3,
        }
    }
}

#[derive(Default)]
struct Tally {
    completed: u64,
    nanos: Vec<u64>,
}

/// Puts `load` on `caller` for every window asked for on standard input, until it closes.
pub async fn serve<C: Caller>(caller: C, load: Load) -> Result<(), String> {
    let mut windows = BufReader::new(tokio::io::stdin()).lines();
    while let Some(millis) = windows.next_line().await.map_err(|error| error.to_string())? {
        let millis =
            millis.parse().map_err(|_| format!("{millis:?} is no time in milliseconds"))?;
        let figures = measure(&caller, load, Duration::from_millis(millis)).await?;
        let line = serde_json::to_string(&figures).map_err(|error| error.to_string())?;
        writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Puts `load` on `caller` for one window. Every reply is compared with what was asked; the first
/// wrong or failed one is an error.
async fn measure<C: Caller>(caller: &C, load: Load, window: Duration) -> Result<Figures, String> {
    let started = Instant::now();
    let until = started + window;
    let mut tasks = JoinSet::new();
    for _ in 0..load.concurrency.max(1) {
        let caller = caller.clone();
        tasks.spawn(async move {
            match load.shape {
                Shape::Call => calls(caller, load.size, until).await,
                Shape::Stream => streams(caller, load.size, until).await,
            }
        });
    }
    let mut total = Tally::default();
    while let Some(joined) = tasks.join_next().await {
        let tally = joined.map_err(|error| error.to_string())??;
        total.completed += tally.completed;
        total.nanos.extend(tally.nanos);
    }
    let seconds = started.elapsed().as_secs_f64();
    let rate = total.completed as f64 / seconds;
    Ok(Figures { completed: total.completed, rate, ..Figures::of(total.nanos, seconds) })
}

async fn calls<C: Caller>(caller: C, size: u32, until: Instant) -> Result<Tally, String> {
    let body = Bytes::from(vec![b'x'; size as usize]);
    let mut tally = Tally::default();
    loop {
        let started = Instant::now();
        if started >= until {
            return Ok(tally);
        }
        let reply = caller.call(Payload { body: body.clone() }).await?;
        if reply.body != body {
            return Err(format!("asked with {size} bytes, answered {:?}", reply.body));
        }
        tally.add(started, 1);
    }
}

async fn streams<C: Caller>(caller: C, size: u32, until: Instant) -> Result<Tally, String> {
    let mut tally = Tally::default();
    loop {
        let started = Instant::now();
        if started >= until {
            return Ok(tally);
        }
        let drained = caller.stream(StreamRequest { count: MESSAGES, size }).await?;
        let messages = u64::from(MESSAGES);
        if drained != (Drained { messages, bytes: messages * u64::from(size) }) {
            return Err(format!("asked for {messages} messages of {size} bytes, got {drained:?}"));
        }
        tally.add(started, messages);
    }
}

impl Tally {
    fn add(&mut self, started: Instant, completed: u64) {
        self.completed += completed;
        if self.nanos.len() < SAMPLES {
            self.nanos.push(started.elapsed().as_nanos() as u64);
        }
    }
}

fn percentile(sorted: &[u64], percent: usize) -> f64 {
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).map_or(0.0, |&nanos| nanos as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[derive(Clone)]
    struct Liar;

    impl Caller for Liar {
        async fn call(&self, _: Payload) -> Result<Payload, String> {
            Ok(Payload { body: Bytes::from_static(b"something else") })
        }

        async fn stream(&self, _: StreamRequest) -> Result<Drained, String> {
            Ok(Drained { messages: 1, bytes: 0 })
        }
    }

    fn load(shape: Shape) -> Load {
        Load { shape, concurrency: 1, size: 64 }
    }

    #[tokio::test]
    async fn a_wrong_reply_fails_the_measurement() {
        let error = measure(&Liar, load(Shape::Call), SECOND).await.unwrap_err();
        assert!(error.contains("something else"), "{error}");
    }

    #[tokio::test]
    async fn a_short_stream_fails_the_measurement() {
        let error = measure(&Liar, load(Shape::Stream), SECOND).await.unwrap_err();
        assert!(error.contains("messages: 1"), "{error}");
    }

    #[test]
    fn the_median_of_three_is_the_middle_one() {
        assert_eq!(percentile(&[1, 5, 100], 50), 5.0);
    }
}
