//! What is compressed: by the server's settings, a handler's choice, a call's, and message by message.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod support;

use futures_util::{StreamExt as _, stream};
use micro::{Compression, Context, Raw, Result, Streaming};
use support::{client, memory, service};

/// A handler tells whether it was sent something compressed.
fn seen(context: &Context) -> Raw {
    Raw::from(if context.request_compressed() { &b"compressed"[..] } else { b"plain" })
}

/// What a handler chooses is in the request: the name of a compression, or nothing.
fn wanted(request: &Raw) -> Option<Compression> {
    [Compression::Gzip, Compression::Zstd]
        .into_iter()
        .find(|known| request.0 == known.name().as_bytes())
}

#[tokio::test]
async fn handler_sees_whether_the_request_came_compressed() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "seeing")
        .endpoint("Seeing.Call", |context: Context, _: Raw| async move { Ok(seen(&context)) })
        .bidi_stream("Seeing.Chat", |context: Context, requests: Streaming<Raw>| async move {
            Ok(requests.map(move |request| request.map(|_| seen(&context))))
        })
        .start()
        .await?;
    let client = client(&registry);
    let call = || client.call::<_, Raw>("seeing", "Seeing.Call", Raw::from(b"hello".to_vec()));
    assert_eq!(call().await?.0, "plain");
    assert_eq!(call().compression(Compression::Zstd).await?.0, "compressed");
    assert_eq!(call().compression(Compression::Gzip).no_compression().await?.0, "plain");

    let chat = client.open::<Raw, Raw>("seeing", "Seeing.Chat").compression(Compression::Gzip);
    let (outgoing, mut replies) = chat.await?;
    for expected in ["compressed", "plain", "compressed"] {
        let message = Raw::from(b"hello".to_vec());
        if expected == "plain" {
            outgoing.send_uncompressed(message).await?;
        } else {
            outgoing.send(message).await?;
        }
        assert_eq!(replies.message().await?.expect("a reply").0, expected);
    }
    drop((outgoing, replies));
    running.stop().await
}

#[tokio::test]
async fn handlers_choice_comes_before_the_servers() -> Result<()> {
    for settings in [None, Some(Compression::Zstd)] {
        let registry = memory();
        let running = service(&registry, "choosing")
            .server(|server| match settings {
                Some(compression) => server.compression(compression),
                None => server,
            })
            .endpoint("Choosing.Call", |context: Context, request: Raw| async move {
                context.set_compression(wanted(&request));
                Ok(Raw::from(vec![7; 1_000]))
            })
            .start()
            .await?;
        let client = client(&registry);
        for choice in ["gzip", "zstd", ""] {
            let request = Raw::from(choice.as_bytes().to_vec());
            let reply = client.call::<_, Raw>("choosing", "Choosing.Call", request).send().await?;
            let named = reply.headers.get("grpc-encoding").unwrap_or_default();
            assert_eq!((named, reply.compressed), (choice, !choice.is_empty()), "{settings:?}");
            assert_eq!(reply.message.0, vec![7; 1_000]);
        }
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn stream_changes_between_compressed_and_plain_under_the_name_in_its_head() -> Result<()> {
    let registry = memory();
    let choices = ["gzip", "", "zstd", "gzip"];
    let running = service(&registry, "choosing")
        .server_stream("Choosing.List", move |context: Context, first: Raw| async move {
            context.set_compression(wanted(&first));
            Ok(stream::iter(choices).map(move |choice| {
                let message = Raw::from(choice.as_bytes().to_vec());
                context.set_compression(wanted(&message));
                Ok(message)
            }))
        })
        .start()
        .await?;
    let client = client(&registry);
    for head in ["gzip", "zstd", ""] {
        let request = Raw::from(head.as_bytes().to_vec());
        let mut list: Streaming<Raw> =
            client.server_stream("choosing", "Choosing.List", request).await?;
        let named = list.headers().await.expect("headers").get("grpc-encoding");
        assert_eq!(named.unwrap_or_default(), head);
        for choice in choices {
            let message = list.message().await?.expect("a message");
            assert_eq!(message.0, choice);
            assert_eq!(list.compressed(), !choice.is_empty() && choice == head, "{head} {choice}");
        }
        assert!(list.message().await?.is_none(), "the end");
    }
    running.stop().await
}

#[tokio::test]
async fn headers_of_a_stream_are_there_before_a_message_and_take_none_away() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "chat")
        .bidi_stream("Chat.Talk", |context: Context, requests: Streaming<Raw>| async move {
            context.set_header("hello", "there")?;
            context.set_trailer("bye", "now")?;
            Ok(requests)
        })
        .bidi_stream("Chat.Refuse", |_: Context, _: Streaming<Raw>| async move {
            Err::<Streaming<Raw>, _>(micro::Error::not_found("no such stream"))
        })
        .start()
        .await?;
    let client = client(&registry);
    let (outgoing, mut replies) = client.open::<Raw, Raw>("chat", "Chat.Talk").await?;
    assert_eq!(replies.headers().await.expect("headers").get("hello"), Some("there"));
    outgoing.send(Raw::from(b"one".to_vec())).await?;
    assert_eq!(replies.headers().await.expect("still").get("hello"), Some("there"));
    assert_eq!(replies.message().await?.expect("an echo").0, "one");
    assert!(replies.trailers().is_none(), "there may be more messages");
    outgoing.close();
    assert!(replies.message().await?.is_none(), "the end");
    assert_eq!(replies.trailers().expect("trailers").get("bye"), Some("now"));

    let (_outgoing, mut refused) = client.open::<Raw, Raw>("chat", "Chat.Refuse").await?;
    assert!(refused.headers().await.is_none(), "there is nothing but a failure");
    let error = refused.message().await.expect_err("the failure is not lost");
    assert_eq!(error.code(), micro::Code::NotFound);
    assert!(refused.message().await?.is_none(), "nothing follows a failure");
    running.stop().await
}
