//! The server under test.

use std::io;
use std::time::Duration;

use micro::server::Server;
use micro::{Compression, ServerTls};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::messages::{ServerCompatRequest, ServerCompatResponse};
use super::{read, service, write};

/// How long the suite may need one server.
const LONGEST_RUN: Duration = Duration::from_secs(600);

/// Serves as the suite asks on stdin until it ends the program with SIGTERM.
///
/// # Panics
/// When the suite asks for what cannot be.
pub async fn run() {
    let asked: ServerCompatRequest = read(io::stdin()).unwrap().expect("the suite asks first");
    let builder = Server::builder("connectrpc.conformance.v1")
        .address("127.0.0.1:0")
        .compression(Compression::Gzip);
    let builder = match usize::try_from(asked.message_receive_limit).unwrap() {
        0 => builder,
        limit => builder.max_message_size(limit),
    };
    let mut pem = Vec::new();
    let builder = match asked.server_creds.filter(|_| asked.use_tls) {
        None => builder,
        Some(own) => {
            pem.clone_from(&own.cert);
            builder.tls(match asked.client_tls_cert.is_empty() {
                true => ServerTls::new(&own.cert, &own.key).unwrap(),
                false => ServerTls::mutual(&own.cert, &own.key, &asked.client_tls_cert).unwrap(),
            })
        }
    };
    let builder = service::endpoints().into_iter().fold(builder, |b, e| b.handle(e));
    let server = builder.start().await.unwrap();
    let (host, port) = (server.address().ip().to_string(), u32::from(server.address().port()));
    write(io::stdout(), &ServerCompatResponse { host, port, pem_cert: pem }).unwrap();
    let mut told_to_end = signal(SignalKind::terminate()).unwrap();
    // A suite that died does not tell.
    let _ = timeout(LONGEST_RUN, told_to_end.recv()).await;
    server.stop().await;
}
