//! How a server talks to the harness that started it.

use std::io::{self, Write};
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::io::AsyncReadExt;

use crate::wire::{Payload, StreamRequest};

/// Largest message and longest stream a peer agrees to make.
const MAX_SIZE: u32 = 1 << 20;
const MAX_COUNT: u32 = 1 << 20;

/// Says that calls to `address` are answered from now on, and returns when the harness closes
/// standard input: a server never outlives the program that started it.
pub async fn ready(address: SocketAddr) -> io::Result<()> {
    io::stdout().write_all(format!("listening {address}\n").as_bytes())?;
    io::stdout().flush()?;
    let mut ignored = [0; 64];
    while tokio::io::stdin().read(&mut ignored).await? > 0 {}
    Ok(())
}

/// The messages both servers answer to `request`.
pub fn messages(request: &StreamRequest) -> impl Stream<Item = Payload> + Send + 'static + use<> {
    let body = Bytes::from(vec![b'm'; request.size.min(MAX_SIZE) as usize]);
    let count = request.count.min(MAX_COUNT);
    stream::iter((0..count).map(move |_| Payload { body: body.clone() }))
}
