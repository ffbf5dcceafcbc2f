//! Failures that were not worded for callers: they are told where the log has the words.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, stream};
use micro::server::{Endpoint, Server};
use micro::{Client, Code, Context, Error, Json, Raw, Result, Streaming};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

mod support;

const SECRET: &str = "/etc/passwords-of-everybody";

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0.lock().expect("a log"), "{field}={value:?} ");
    }
}

/// A type that cannot be written.
#[derive(Debug, Default, serde::Deserialize)]
struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(SECRET))
    }
}

fn read() -> Result<Raw> {
    let missing = std::io::Error::new(std::io::ErrorKind::NotFound, SECRET);
    Ok(Raw(Err::<Vec<u8>, _>(missing)?.into()))
}

async fn server() -> Server {
    let builder = Server::builder("files")
        .address("127.0.0.1:0")
        .handle(Endpoint::unary("Files.Read", |_: Context, _: Raw| async { read() }))
        .handle(Endpoint::unary("Files.Parse", |_: Context, _: Raw| async {
            Err::<Raw, _>(Error::unexpected(SECRET))
        }))
        .handle(Endpoint::unary("Files.Panic", |_: Context, _: Raw| async {
            if true {
                panic!("{SECRET}");
            }
            Ok(Raw::default())
        }))
        .handle(Endpoint::unary("Files.Write", |_: Context, _: Raw| async { Ok(Json(Unwritable)) }))
        .handle(Endpoint::server_stream("Files.Lines", |_: Context, _: Raw| async {
            Ok(stream::iter([read()]))
        }))
        .handle(Endpoint::server_stream("Files.Tail", |_: Context, _: Raw| async {
            Ok(stream::iter([()]).map(|()| -> Result<Raw> { panic!("{SECRET}") }))
        }));
    builder.start().await.expect("the server starts")
}

#[tokio::test]
async fn its_text_stays_in_the_log_and_the_caller_is_told_where() {
    let log = Log::default();
    let _logging = tracing::subscriber::set_default(log.clone());
    let server = server().await;
    let client =
        Client::builder().registry(support::memory()).address(server.address().to_string());
    let client = client.content_type("application/grpc+json").build().expect("a client");
    for endpoint in
        ["Files.Read", "Files.Parse", "Files.Panic", "Files.Write", "Files.Lines", "Files.Tail"]
    {
        let error = if matches!(endpoint, "Files.Lines" | "Files.Tail") {
            let replies = client.server_stream("files", endpoint, Raw::default()).await;
            let mut replies: Streaming<Raw> = replies.expect("the stream opens");
            replies.next().await.expect("an answer").expect_err("it fails")
        } else {
            let answer: Result<Raw> = client.call("files", endpoint, Raw::default()).await;
            answer.expect_err("it fails")
        };
        let seen = (error.code(), error.http_code(), error.id());
        assert_eq!(seen, (Code::Internal, 500, "go.micro.server"), "{endpoint}");
        assert!(!error.to_string().contains("passwords"), "{error}");
        let incident = error.detail().rsplit(' ').next().expect("a last word");
        assert!(incident.len() == 16 && incident.bytes().all(|b| b.is_ascii_hexdigit()), "{error}");
        let logged = std::mem::take(&mut *log.0.lock().expect("a log"));
        for part in [incident, SECRET, endpoint] {
            assert!(logged.contains(part), "{endpoint}: {part} is not in {logged}");
        }
    }
    server.stop().await;
}

#[test]
fn on_its_own_side_an_error_of_the_system_says_what_it_is() {
    let error = read().expect_err("it fails");
    assert_eq!((error.code(), error.detail()), (Code::NotFound, SECRET));
    assert!(error.incident().is_some());
    assert_eq!(Error::not_found("no such file").incident(), None);
}
