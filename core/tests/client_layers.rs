//! Layers of a client around its calls: what they see, what they may do, and in which order.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use micro::client::layers::{AttemptWay, CallWay, Request, Response};
use micro::middleware::from_fn;
use micro::server::Body;
use micro::{Code, Compression, Context, Error, Messages, Raw, Result, Shape, Streaming};

mod support;
use support::layers::{Log, builder, flaky, tagged};
use support::{call, echo, memory, service};

#[tokio::test]
async fn the_first_layer_is_outermost_around_the_call_and_around_each_attempt() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "echo").handle(echo()).start().await?;
    let log = Log::default();
    let around_calls = |name: &'static str| {
        let log = log.clone();
        from_fn(move |request: Request, next: CallWay| {
            let log = log.clone();
            async move {
                log.add(name);
                let answer = next.run(request).await;
                log.add(format!("/{name}"));
                answer
            }
        })
    };
    let around_attempts = |name: &'static str| {
        let log = log.clone();
        from_fn(move |attempt, next: AttemptWay| {
            let log = log.clone();
            async move {
                log.add(name);
                let answer = next.run(attempt).await;
                log.add(format!("/{name}"));
                answer
            }
        })
    };
    let client = builder(&registry)
        .attempt_layer(around_attempts("attempt 1"))
        .layer(around_calls("call 1"))
        .layer(around_calls("call 2"))
        .attempt_layer(around_attempts("attempt 2"))
        .build()?;
    let client_alone = [
        "call 1",
        "call 2",
        "attempt 1",
        "attempt 2",
        "/attempt 2",
        "/attempt 1",
        "/call 2",
        "/call 1",
    ];
    call(&client, "echo").await?;
    assert_eq!(log.take(), client_alone);
    let own = client
        .call::<_, Raw>("echo", "Echo.Call", Raw::from("hi"))
        .layer(around_calls("own 1"))
        .attempt_layer(around_attempts("own attempt 1"))
        .layer(around_calls("own 2"))
        .attempt_layer(around_attempts("own attempt 2"));
    own.await?;
    assert_eq!(
        log.take(),
        [
            "call 1",
            "call 2",
            "own 1",
            "own 2",
            "attempt 1",
            "attempt 2",
            "own attempt 1",
            "own attempt 2",
            "/own attempt 2",
            "/own attempt 1",
            "/attempt 2",
            "/attempt 1",
            "/own 2",
            "/own 1",
            "/call 2",
            "/call 1",
        ]
    );
    running.stop().await
}

#[tokio::test]
async fn a_layer_sees_the_call_and_changes_its_metadata_and_messages() -> Result<()> {
    let registry = memory();
    let running = tagged(&registry, "echo").await?;
    let client = builder(&registry)
        .layer_fn(|mut request, next| async move {
            assert_eq!((request.service(), request.endpoint()), ("echo", "Echo.Call"));
            assert_eq!(request.shape(), Shape::Unary);
            assert!(request.deadline().is_some() && request.context().is_none());
            assert_eq!(request.metadata().get("own"), Some("1"));
            request.metadata_mut().insert("tag", "blue")?;
            let Body::Message(message) = &request.body else { panic!("one message") };
            request.body = Body::Message([&message[..], b"!"].concat().into());
            let mut answer = next.run(request).await?;
            assert_eq!(answer.headers.get("tag"), Some("blue"));
            let message = answer.body.into_message().await?;
            answer.body = Body::Message([b"<", &message[..], b">"].concat().into());
            Ok(answer)
        })
        .build()?;
    let sent = client.call::<_, Raw>("echo", "Echo.Call", Raw::from("hi")).metadata("own", "1");
    let reply = sent.send().await?;
    assert_eq!(reply.message, Raw::from("<hi! blue>"));
    assert_eq!(reply.headers.get("tag"), Some("blue"));
    assert_eq!(reply.trailers.get("end"), Some("yes"));
    running.stop().await
}

#[tokio::test]
async fn a_layer_answers_and_refuses_without_the_service() -> Result<()> {
    let registry = memory();
    let client = builder(&registry)
        .layer_fn(|request, next| async move {
            match request.endpoint() {
                "Echo.Call" => Ok(Response::message("by itself")),
                "Echo.Three" => {
                    let replies = stream::iter(["1", "2"]).map(|reply| Ok(reply.into()));
                    Ok(Response::stream(Messages::new(replies)))
                }
                "Echo.Refused" => Err(Error::permission_denied("not you")),
                _ => next.run(request).await,
            }
        })
        .build()?;
    assert_eq!(call(&client, "echo").await?, Raw::from("by itself"));
    let three = client.server_stream("echo", "Echo.Three", Raw::from("x")).await?;
    let three: Vec<Result<Raw>> = three.collect().await;
    assert_eq!(three, [Ok(Raw::from("1")), Ok(Raw::from("2"))]);
    let refused = client.call::<_, Raw>("echo", "Echo.Refused", Raw::default()).await;
    assert_eq!(refused.expect_err("refused").code(), Code::PermissionDenied);
    let passed = client.call::<_, Raw>("echo", "Echo.Other", Raw::default()).await;
    assert_eq!(passed.expect_err("no nodes").code(), Code::Unavailable);
    let calls = |endpoint: &str| {
        let edges = client.metrics().snapshot();
        edges
            .iter()
            .filter(|(edge, _)| &*edge.endpoint == endpoint)
            .map(|(_, stats)| stats.calls())
            .sum::<u64>()
    };
    assert_eq!(
        (calls("Echo.Call"), calls("Echo.Other")),
        (0, 1),
        "what was not called does not count"
    );
    Ok(())
}

/// Counts messages both ways, and marks them.
fn marked(counts: &Arc<[AtomicUsize; 2]>) -> impl Fn(Messages, usize) -> Messages + Clone + use<> {
    let counts = counts.clone();
    move |messages, way| {
        let counts = counts.clone();
        messages.wrap(move |messages| {
            messages.map(move |message| {
                counts[way].fetch_add(1, SeqCst);
                message.map(|message| [&message[..], ["+", "-"][way].as_bytes()].concat().into())
            })
        })
    }
}

#[tokio::test]
async fn a_layer_sees_every_message_of_a_stream_both_ways() -> Result<()> {
    let registry = memory();
    let running = tagged(&registry, "echo").await?;
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    let mark = marked(&counts);
    let client = builder(&registry)
        .layer_fn(move |mut request, next| {
            let mark = mark.clone();
            async move {
                request.metadata_mut().insert("tag", "red")?;
                request.body = Body::Stream(mark(request.body.into_messages(), 0));
                let mut answer = next.run(request).await?;
                answer.body = Body::Stream(mark(answer.body.into_messages(), 1));
                Ok(answer)
            }
        })
        .build()?;
    let seen = || (counts[0].swap(0, SeqCst), counts[1].swap(0, SeqCst));

    let mut three: Streaming<Raw> =
        client.server_stream("echo", "Echo.Three", Raw::from("x")).await?;
    for _ in 0..3 {
        assert_eq!(three.message().await?, Some(Raw::from("x+-")));
    }
    assert_eq!(three.message().await?, None);
    assert_eq!(three.headers().await.and_then(|head| head.get("tag")), Some("red"));
    assert_eq!(three.trailers().and_then(|end| end.get("end")), Some("yes"));
    assert_eq!(seen(), (1, 3));

    let two = || stream::iter([Raw::from("a"), Raw::from("b")]);
    let joined = client.client_stream::<_, _, Raw>("echo", "Echo.Join", two()).send().await?;
    assert_eq!(joined.message, Raw::from("a+b+-"));
    assert_eq!(joined.headers.get("tag"), Some("red"));
    assert_eq!(joined.trailers.get("end"), Some("yes"));
    assert_eq!(seen(), (2, 1));

    let each: Streaming<Raw> = client.bidi_stream("echo", "Echo.Each", two()).await?;
    let each: Vec<Result<Raw>> = each.collect().await;
    assert_eq!(each, [Ok(Raw::from("a+-")), Ok(Raw::from("b+-"))]);
    assert_eq!(seen(), (2, 2));

    let (outgoing, mut replies) = client.open::<Raw, Raw>("echo", "Echo.Each").await?;
    for word in ["c", "d"] {
        outgoing.send(Raw::from(word)).await?;
        assert_eq!(replies.message().await?, Some(Raw::from(format!("{word}+-"))));
    }
    outgoing.close();
    assert_eq!(replies.message().await?, None);
    assert_eq!(seen(), (2, 2));
    running.stop().await
}

#[tokio::test]
async fn what_a_layer_puts_into_a_stream_of_requests_as_an_error_ends_the_call() -> Result<()> {
    let registry = memory();
    let running = tagged(&registry, "echo").await?;
    let client = builder(&registry)
        .layer_fn(|mut request, next| async move {
            let only_small = |message: Result<bytes::Bytes>| {
                message.and_then(|message| match message.len() {
                    0..4 => Ok(message),
                    _ => Err(Error::invalid_argument("three bytes at most")),
                })
            };
            request.body =
                Body::Stream(request.body.into_messages().wrap(|body| body.map(only_small)));
            next.run(request).await
        })
        .build()?;
    let (outgoing, mut replies) = client.open::<Raw, Raw>("echo", "Echo.Each").await?;
    outgoing.send(Raw::from("abc")).await?;
    assert_eq!(replies.message().await?, Some(Raw::from("abc")));
    outgoing.send(Raw::from("abcd")).await?;
    let error = replies.message().await.expect_err("too long");
    assert_eq!((error.code(), error.detail()), (Code::InvalidArgument, "three bytes at most"));
    running.stop().await
}

#[tokio::test]
async fn a_stream_message_that_is_to_go_as_it_is_does_so_through_layers() -> Result<()> {
    let registry = memory();
    let compressed = |context: Context, mut requests: Streaming<Raw>| async move {
        let mut seen = String::new();
        while requests.message().await?.is_some() {
            seen.push(if context.request_compressed() { 'c' } else { 'p' });
        }
        Ok(Raw::from(seen))
    };
    let running = service(&registry, "echo").client_stream("Echo.Seen", compressed).start().await?;
    let client = builder(&registry)
        .compression(Compression::Gzip)
        .layer_fn(|request, next| async move { next.run(request).await })
        .build()?;
    let (outgoing, mut replies) = client.open::<Raw, Raw>("echo", "Echo.Seen").await?;
    outgoing.send(Raw::from("one")).await?;
    outgoing.send_uncompressed(Raw::from("two")).await?;
    outgoing.send(Raw::from("three")).await?;
    outgoing.close();
    assert_eq!(replies.message().await?, Some(Raw::from("cpc")));
    running.stop().await
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_hangs_ends_at_the_deadline_and_may_shorten_it() -> Result<()> {
    let registry = memory();
    let hangs = builder(&registry).layer_fn(|_, _| std::future::pending()).build()?.call::<_, Raw>(
        "echo",
        "Echo.Call",
        Raw::default(),
    );
    let began = tokio::time::Instant::now();
    let error = hangs.timeout(Duration::from_secs(3)).await.expect_err("it hangs");
    assert_eq!((error.code(), began.elapsed().as_secs()), (Code::DeadlineExceeded, 3));

    let shorter = builder(&registry)
        .wait_for_ready(true)
        .layer_fn(|mut request, next| async move {
            request.options = request.options.timeout(Duration::from_secs(1));
            next.run(request).await
        })
        .build()?
        .call::<_, Raw>("echo", "Echo.Call", Raw::default());
    let began = tokio::time::Instant::now();
    let error = shorter.timeout(Duration::from_secs(3)).await.expect_err("there is no node");
    assert_eq!((error.code(), began.elapsed().as_secs()), (Code::DeadlineExceeded, 1));
    Ok(())
}

#[tokio::test]
async fn a_tower_layer_keeps_its_state_over_the_calls_of_a_client() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "echo").handle(echo()).start().await?;
    let log = Log::default();
    let ids: Arc<Mutex<HashSet<usize>>> = Arc::default();
    let made = ids.clone();
    let layer = tower_layer::layer_fn(move |next: CallWay| {
        let mut ids = made.lock().expect("the set");
        let id = ids.len();
        ids.insert(id);
        next
    });
    let client = builder(&registry).layer(layer).build()?;
    for _ in 0..3 {
        call(&client, "echo").await?;
        log.add("called");
    }
    assert_eq!((ids.lock().expect("the set").len(), log.take().len()), (1, 3));
    running.stop().await
}

#[tokio::test]
async fn a_layer_that_goes_on_twice_makes_two_calls() -> Result<()> {
    let (registry, seen) = (memory(), Log::default());
    let endpoint = flaky(1, &seen);
    let running = service(&registry, "echo").handle(endpoint).start().await?;
    let client = builder(&registry)
        .retries(0)
        .layer_fn(|request, next| async move {
            let again = request.try_clone();
            match (next.run(request).await, again) {
                (Err(_), Some(again)) => next.run(again).await,
                (answer, _) => answer,
            }
        })
        .build()?;
    assert_eq!(call(&client, "echo").await?, Raw::from("hi"));
    assert_eq!(seen.take().len(), 2);
    running.stop().await
}
