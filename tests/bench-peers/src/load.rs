//! The load both clients make, and the figures they report.

use std::future::Future;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, Subcommand};
use serde::Serialize;
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
    /// Milliseconds before the measured window.
    #[arg(long, default_value_t = 300, global = true)]
    warm: u64,
    /// Milliseconds of the measured window.
    #[arg(long, default_value_t = 1000, global = true)]
    millis: u64,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Shape {
    /// Unary calls.
    Call,
    /// Server streams.
    Stream,
}

/// What a client reports on standard output, as one line of JSON.
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
    /// Writes the line the harness reads.
    pub fn report(&self) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", serde_json::to_string(self)?)
    }
}

/// The measured window; whatever starts or ends outside of it does not count.
#[derive(Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

#[derive(Default)]
struct Tally {
    completed: u64,
    nanos: Vec<u64>,
}

/// Puts `load` on `caller`. Every reply is compared with what was asked; the first wrong or failed
/// one ends the run with an error.
pub async fn measure<C: Caller>(caller: C, load: Load) -> Result<Figures, String> {
    let from = Instant::now() + Duration::from_millis(load.warm);
    let window = Window { from, until: from + Duration::from_millis(load.millis) };
    let mut tasks = JoinSet::new();
    for _ in 0..load.concurrency.max(1) {
        let caller = caller.clone();
        tasks.spawn(async move {
            match load.shape {
                Shape::Call => calls(caller, load.size, window).await,
                Shape::Stream => streams(caller, load.size, window).await,
            }
        });
    }
    let mut total = Tally::default();
    while let Some(joined) = tasks.join_next().await {
        let tally = joined.map_err(|error| error.to_string())??;
        total.completed += tally.completed;
        total.nanos.extend(tally.nanos);
    }
    total.nanos.sort_unstable();
    let seconds = Duration::from_millis(load.millis).as_secs_f64();
    Ok(Figures {
        completed: total.completed,
        rate: total.completed as f64 / seconds,
        p50_us: percentile(&total.nanos, 50) / 1e3,
        p99_us: percentile(&total.nanos, 99) / 1e3,
    })
}

async fn calls<C: Caller>(caller: C, size: u32, window: Window) -> Result<Tally, String> {
    let body = Bytes::from(vec![b'x'; size as usize]);
    let mut tally = Tally::default();
    loop {
        let started = Instant::now();
        if started >= window.until {
            return Ok(tally);
        }
        let reply = caller.call(Payload { body: body.clone() }).await?;
        if reply.body != body {
            return Err(format!("asked with {size} bytes, answered {:?}", reply.body));
        }
        tally.add(window, started, 1);
    }
}

async fn streams<C: Caller>(caller: C, size: u32, window: Window) -> Result<Tally, String> {
    let mut tally = Tally::default();
    loop {
        let started = Instant::now();
        if started >= window.until {
            return Ok(tally);
        }
        let drained = caller.stream(StreamRequest { count: MESSAGES, size }).await?;
        let messages = u64::from(MESSAGES);
        if drained != (Drained { messages, bytes: messages * u64::from(size) }) {
            return Err(format!("asked for {messages} messages of {size} bytes, got {drained:?}"));
        }
        tally.add(window, started, messages);
    }
}

impl Tally {
    fn add(&mut self, window: Window, started: Instant, completed: u64) {
        let ended = Instant::now();
        if started >= window.from && ended <= window.until {
            self.completed += completed;
            if self.nanos.len() < SAMPLES {
                self.nanos.push((ended - started).as_nanos() as u64);
            }
        }
    }
}

fn percentile(sorted: &[u64], percent: usize) -> f64 {
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).map_or(0.0, |&nanos| nanos as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        Load { shape, concurrency: 1, size: 64, warm: 0, millis: 1000 }
    }

    #[tokio::test]
    async fn a_wrong_reply_fails_the_measurement() {
        let error = measure(Liar, load(Shape::Call)).await.unwrap_err();
        assert!(error.contains("something else"), "{error}");
    }

    #[tokio::test]
    async fn a_short_stream_fails_the_measurement() {
        let error = measure(Liar, load(Shape::Stream)).await.unwrap_err();
        assert!(error.contains("messages: 1"), "{error}");
    }

    #[test]
    fn the_median_of_three_is_the_middle_one() {
        assert_eq!(percentile(&[1, 5, 100], 50), 5.0);
    }
}
