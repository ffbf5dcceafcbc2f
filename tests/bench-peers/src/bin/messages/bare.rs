//! The best that a program does without us: the client of each server as its documentation uses it, and the disk alone.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::Client;
use bench_peers::load::{Caller, Drained, Load};
use bench_peers::wire::{Payload, StreamRequest};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use crate::text::text;

/// What is published to, and the stream that keeps it.
const SUBJECT: &str = "bench";
/// A file is written from its beginning again after so many bytes, as a log begins a new file.
const FILE_BYTES: u64 = 64 << 20;
/// Requests that may wait in front of a connection: as many as there are.
const WAITING: usize = 1024;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The server.
    #[arg(long)]
    address: String,
    #[command(flatten)]
    pub(crate) load: Load,
}

fn no_stream<T>() -> Result<T, String> {
    Err("only publishing is measured".to_owned())
}

#[derive(Clone)]
pub(crate) struct JetStream(Client);

impl JetStream {
    /// The stream is made unless it is there. A publisher asks the server to store a message, and the answer is its acknowledgement:
    /// that is all the client's own module for JetStream does.
    pub(crate) async fn new(arguments: &Arguments) -> Result<Self, String> {
        let client = async_nats::connect(&arguments.address).await.map_err(text)?;
        let config = serde_json::json!({
            "name": SUBJECT, "subjects": [SUBJECT], "storage": "file", "max_bytes": 1_u64 << 30, "discard": "old",
        });
        let subject = format!("$JS.API.STREAM.CREATE.{SUBJECT}");
        acknowledged(&client, subject, config.to_string().into()).await?;
        Ok(Self(client))
    }
}

/// Asks the server, which answers what was wrong if anything was.
async fn acknowledged(client: &Client, subject: String, body: bytes::Bytes) -> Result<(), String> {
    let answer = client.request(subject, body).await.map_err(text)?.payload;
    let said: serde_json::Value = serde_json::from_slice(&answer).map_err(text)?;
    match said.get("error") {
        Some(error) => Err(error.to_string()),
        None => Ok(()),
    }
}

impl Caller for JetStream {
    async fn call(&self, request: Payload) -> Result<Payload, String> {
        acknowledged(&self.0, SUBJECT.to_owned(), request.body.clone()).await?;
        Ok(request)
    }

    async fn stream(&self, _: StreamRequest) -> Result<Drained, String> {
        no_stream()
    }
}

#[derive(Clone)]
pub(crate) struct Nats(Client);

impl Nats {
    pub(crate) async fn new(arguments: &Arguments) -> Result<Self, String> {
        Ok(Self(async_nats::connect(&arguments.address).await.map_err(text)?))
    }
}

impl Caller for Nats {
    /// Handed to the system, as ours does.
    async fn call(&self, request: Payload) -> Result<Payload, String> {
        self.0.publish(SUBJECT, request.body.clone()).await.map_err(text)?;
        self.0.flush().await.map_err(text)?;
        Ok(request)
    }

    async fn stream(&self, _: StreamRequest) -> Result<Drained, String> {
        no_stream()
    }
}

#[derive(Clone)]
pub(crate) struct Redis(MultiplexedConnection);

impl Redis {
    pub(crate) async fn new(arguments: &Arguments) -> Result<Self, String> {
        let client =
            redis::Client::open(format!("redis://{}/", arguments.address)).map_err(text)?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let config = config.set_pipeline_buffer_size(WAITING);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        Ok(Self(connection.map_err(text)?))
    }
}

impl Caller for Redis {
    async fn call(&self, request: Payload) -> Result<Payload, String> {
        let mut append = redis::cmd("XADD");
        // About as much as the others keep.
        append.arg(SUBJECT).arg("MAXLEN").arg("~").arg(100_000).arg("*").arg("body");
        append.arg(&request.body[..]);
        let _: String = append.query_async(&mut self.0.clone()).await.map_err(text)?;
        Ok(request)
    }

    async fn stream(&self, _: StreamRequest) -> Result<Drained, String> {
        no_stream()
    }
}

#[derive(Clone)]
pub(crate) struct Disk {
    file: Arc<File>,
    at: Arc<AtomicU64>,
}

impl Disk {
    pub(crate) fn new(folder: &Path) -> Result<Self, String> {
        let file = File::create(folder.join("floor")).map_err(text)?;
        Ok(Self { file: Arc::new(file), at: Arc::default() })
    }
}

impl Caller for Disk {
    async fn call(&self, request: Payload) -> Result<Payload, String> {
        let length = request.body.len() as u64;
        let at = self.at.fetch_add(length, Ordering::Relaxed) % FILE_BYTES;
        // It has nothing else to do meanwhile.
        self.file.write_all_at(&request.body, at).map_err(text)?;
        self.file.sync_data().map_err(text)?;
        Ok(request)
    }

    async fn stream(&self, _: StreamRequest) -> Result<Drained, String> {
        no_stream()
    }
}
