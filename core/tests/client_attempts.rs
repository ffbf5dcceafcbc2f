//! Layers of a client around each attempt, and strategies that hear how attempts ended.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, stream};
use micro::client::layers::AttemptResponse;
use micro::resilience::Backoff;
use micro::selector::{Finished, Node, Outcome, Pick, RoundRobin, Strategy};
use micro::server::{Endpoint, Server};
use micro::{Code, Compression, Context, Error, Raw, Result, Streaming};

mod support;
use support::layers::{Log, builder, flaky, tagged};
use support::{call, echo, held, memory, service};

#[tokio::test]
async fn an_attempt_layer_sees_each_attempt_with_its_node_and_changes_that_attempt_alone()
-> Result<()> {
    let (registry, seen) = (memory(), Log::default());
    let one = service(&registry, "echo").handle(flaky(1, &seen)).start().await?;
    let (log, calls) = (Log::default(), Arc::new(AtomicUsize::new(0)));
    let (attempts, counted) = (log.clone(), calls.clone());
    let client = builder(&registry)
        .backoff(Backoff::None)
        .layer_fn(move |request, next| {
            counted.fetch_add(1, SeqCst);
            async move { next.run(request).await }
        })
        .attempt_layer_fn(move |mut attempt, next| {
            let log = attempts.clone();
            async move {
                log.add(format!("{} at {}", attempt.number(), attempt.node().id()));
                if attempt.number() == 0 {
                    attempt.metadata.insert("tag", "first")?;
                }
                attempt.message = attempt.message.map(|m| [&m[..], b"!"].concat().into());
                let mut answer = next.run(attempt).await?;
                answer.message = answer.message.map(|m| [&m[..], b"?"].concat().into());
                Ok(answer)
            }
        })
        .build()?;
    for compression in [None, Some(Compression::Gzip)] {
        let mut call = client.call::<_, Raw>("echo", "Echo.Call", Raw::from("hi"));
        if let Some(compression) = compression {
            call = call.compression(compression);
        }
        assert_eq!(call.metadata("tag", "own").await?, Raw::from("hi!?"));
    }
    let node = one.node().id;
    assert_eq!(
        log.take(),
        [format!("0 at {node}"), format!("1 at {node}"), format!("0 at {node}")]
    );
    assert_eq!(seen.take(), ["first", "own", "first"]);
    assert_eq!(calls.load(SeqCst), 2, "layers around calls run once a call");
    one.stop().await
}

#[tokio::test]
async fn an_attempt_layer_sends_an_attempt_elsewhere_without_what_is_for_nodes_of_the_registry()
-> Result<()> {
    let registry = memory();
    let elsewhere = Server::builder("other")
        .address("127.0.0.1:0")
        .handle(Endpoint::unary("Echo.Call", |context: Context, _: Raw| async move {
            let secret = context.metadata().get("authorization").unwrap_or("no secret");
            Ok(Raw::from(format!("elsewhere, {secret}")))
        }))
        .start()
        .await?;
    let running = service(&registry, "echo").handle(echo()).start().await?;
    let address = elsewhere.address().to_string();
    let client = builder(&registry)
        .attempt_layer_fn(move |mut attempt, next| {
            attempt.set_address(address.clone());
            async move { next.run(attempt).await }
        })
        .build()?;
    let outer = service(&registry, "outer")
        .endpoint("Outer.Call", move |_: Context, request: Raw| {
            let client = client.clone();
            async move { client.call::<_, Raw>("echo", "Echo.Call", request).await }
        })
        .start()
        .await?;
    let caller = builder(&registry).build()?;
    let call = caller.call::<_, Raw>("outer", "Outer.Call", Raw::from("hi"));
    assert_eq!(call.metadata("authorization", "secret").await?, Raw::from("elsewhere, no secret"));
    outer.stop().await?;
    running.stop().await?;
    elsewhere.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_attempt_layer_answers_refuses_and_sees_the_opening_of_streams() -> Result<()> {
    let registry = memory();
    let running = tagged(&registry, "echo").await?;
    let log = Log::default();
    let opened = log.clone();
    let client = builder(&registry)
        .attempt_layer_fn(move |mut attempt, next| {
            let log = opened.clone();
            async move {
                log.add(format!("{:?} {}", attempt.shape(), attempt.message.is_some()));
                attempt.metadata.insert("tag", "attempt")?;
                match attempt.metadata.get("do") {
                    Some("answer") => Ok(AttemptResponse::message("self")),
                    Some("refuse") => Err(Error::permission_denied("not there")),
                    _ => next.run(attempt).await,
                }
            }
        })
        .build()?;
    let unary = |what: &str| {
        let call = client.call::<_, Raw>("echo", "Echo.Call", Raw::from("hi"));
        call.metadata("do", what).send()
    };
    assert_eq!(unary("answer").await?.message, Raw::from("self"));
    let refused = unary("refuse").await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.origin().expect("where").attempts, 1);
    assert_eq!(log.take(), ["Unary true", "Unary true"]);

    let mut three: Streaming<Raw> =
        client.server_stream("echo", "Echo.Three", Raw::from("x")).await?;
    assert_eq!(three.headers().await.and_then(|head| head.get("tag")), Some("attempt"));
    assert_eq!(three.count().await, 3);
    let two = stream::iter([Raw::from("a"), Raw::from("b")]);
    let mut each: Streaming<Raw> = client.bidi_stream("echo", "Echo.Each", two).await?;
    assert_eq!(each.headers().await.and_then(|head| head.get("tag")), Some("attempt"));
    assert_eq!(each.count().await, 2);
    assert_eq!(log.take(), ["ServerStream true", "BidiStream false"]);
    let refused = client.server_stream::<_, Raw>("echo", "Echo.Three", Raw::from("x"));
    let error = refused.metadata("do", "refuse").await.expect_err("refused");
    assert_eq!(error.code(), Code::PermissionDenied);
    let answered = client.server_stream::<_, Raw>("echo", "Echo.Three", Raw::from("x"));
    let error = answered.metadata("do", "answer").await.expect_err("there is no stream");
    assert!(error.detail().contains("layer around the call"), "{error}");
    running.stop().await
}

/// Hears how attempts end.
#[derive(Debug, Default)]
struct Heard {
    inner: RoundRobin,
    outcomes: Arc<Mutex<Vec<(String, Outcome)>>>,
}

impl Strategy for Heard {
    fn pick<'a>(&self, nodes: &'a [Arc<Node>], request: &Pick<'_>) -> Option<&'a Arc<Node>> {
        self.inner.pick(nodes, request)
    }

    fn name(&self) -> &'static str {
        "heard"
    }

    fn finished(&self, attempt: &Finished<'_>) {
        assert_eq!((attempt.service, attempt.endpoint), ("echo", "Echo.Call"));
        let heard = (attempt.node.id().to_owned(), attempt.outcome);
        self.outcomes.lock().expect("the list").push(heard);
    }
}

#[tokio::test]
async fn a_strategy_hears_how_each_attempt_ended_once() -> Result<()> {
    let (registry, seen) = (memory(), Log::default());
    let running = service(&registry, "echo").handle(flaky(1, &seen)).start().await?;
    let node = running.node().id;
    let strategy = Heard::default();
    let outcomes = strategy.outcomes.clone();
    let heard = move || std::mem::take(&mut *outcomes.lock().expect("the list"));
    let client = builder(&registry).backoff(Backoff::None).strategy(Arc::new(strategy)).build()?;
    call(&client, "echo").await?;
    assert_eq!(heard(), [(node.clone(), Outcome::Failure), (node.clone(), Outcome::Success)]);
    running.stop().await?;

    let (endpoint, held) = held();
    let running = service(&registry, "echo").handle(endpoint).start().await?;
    let given_up = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "echo").await }
    });
    held.entered.notified().await;
    assert_eq!(heard(), []);
    given_up.abort();
    given_up.await.expect_err("it was given up");
    assert_eq!(heard(), [(running.node().id, Outcome::Cancelled)]);
    held.release.notify_one();
    running.stop().await
}

#[tokio::test]
async fn a_layer_that_gives_an_attempt_up_says_nothing_of_the_node() -> Result<()> {
    let registry = memory();
    let (endpoint, held) = held();
    let running = service(&registry, "echo").handle(endpoint.idempotent()).start().await?;
    let strategy = Heard::default();
    let outcomes = strategy.outcomes.clone();
    let (entered, gave_up) = (held.entered.clone(), Arc::new(tokio::sync::Notify::new()));
    let told = gave_up.clone();
    let client = builder(&registry)
        .backoff(Backoff::None)
        .strategy(Arc::new(strategy))
        .attempt_layer_fn(move |attempt, next| {
            let (entered, told) = (entered.clone(), told.clone());
            async move {
                if attempt.number() > 0 {
                    return next.run(attempt).await;
                }
                // Given up once the handler has it.
                tokio::select! {
                    answer = next.run(attempt) => answer,
                    () = entered.notified() => {
                        told.notify_one();
                        Err(Error::unavailable("too slow for me"))
                    }
                }
            }
        })
        .build()?;
    let calling = tokio::spawn(async move { call(&client, "echo").await });
    gave_up.notified().await;
    held.entered.notified().await;
    held.release.notify_one();
    assert_eq!(calling.await.expect("no panic")?, Raw::from("hi"));
    let ended: Vec<_> =
        outcomes.lock().expect("the list").iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(ended, [Outcome::Cancelled, Outcome::Success]);
    running.stop().await
}
