//! Replies of a stream that are ready together leave together.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

use futures_util::{StreamExt as _, stream};
use micro::server::{Endpoint, Server};
use micro::{Client, Code, Compression, Context, Json, Raw, Streaming};

mod support;

const WHY: &str = "this one fails";

/// A number, or what cannot be written after a part of it was.
struct Half(bool);

impl serde::Serialize for Half {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq as _;
        let mut parts = serializer.serialize_seq(None)?;
        parts.serialize_element(&1)?;
        if self.0 {
            return Err(serde::ser::Error::custom(WHY));
        }
        parts.end()
    }
}

impl<'de> serde::Deserialize<'de> for Half {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 1] as serde::Deserialize>::deserialize(deserializer).map(|_| Self(false))
    }
}

#[tokio::test]
async fn the_whole_messages_arrive_and_no_part_of_the_one_that_fails() {
    let unwritable = |_: Context, _: Raw| async {
        Ok(stream::iter([false, false, false, false, true]).map(|half| Ok(Json(Half(half)))))
    };
    let panics = |_: Context, _: Raw| async {
        Ok(stream::iter([false, false, false, false, true]).map(
            |last| -> micro::Result<Json<Half>> {
                assert!(!last, "{WHY}");
                Ok(Json(Half(false)))
            },
        ))
    };
    for compression in [None, Some(Compression::Gzip)] {
        let mut server = Server::builder("files")
            .address("127.0.0.1:0")
            .handle(Endpoint::server_stream("Files.Half", unwritable))
            .handle(Endpoint::server_stream("Files.Panic", panics));
        if let Some(compression) = compression {
            server = server.compression(compression);
        }
        let server = server.start().await.expect("the server starts");
        let client =
            Client::builder().registry(support::memory()).address(server.address().to_string());
        let client = client.content_type("application/grpc+json").build().expect("a client");
        for endpoint in ["Files.Half", "Files.Panic"] {
            let replies = client.server_stream("files", endpoint, Raw::default()).await;
            let mut replies: Streaming<Raw> = replies.expect("the stream opens");
            for _ in 0..4 {
                let message = replies.message().await.expect("no failure").expect("a message");
                assert_eq!(message.0, "[1]", "{endpoint}");
                assert_eq!(replies.compressed(), compression.is_some(), "{endpoint}");
            }
            let error = replies.message().await.expect_err("the fifth fails");
            assert_eq!(error.code(), Code::Internal, "{endpoint}: {error}");
        }
        server.stop().await;
    }
}
