//! Layers of a client: what they see, what they may do, and in which order.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use micro::client::ClientBuilder;
use micro::client::layers::{AttemptResponse, AttemptWay, CallWay, Request, Response};
use micro::middleware::from_fn;
use micro::registry::Memory;
use micro::resilience::Backoff;
use micro::selector::{Finished, Node, Outcome, Pick, RoundRobin, Strategy};
use micro::server::{Body, Endpoint, Server};
use micro::{
    Client, Code, Compression, Context, Error, Messages, Raw, Result, Service, Shape, Streaming,
};

mod support;
use support::{call, echo, held, memory, service};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().expect("the log").push(line.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("the log"))
    }
}

fn builder(registry: &Arc<Memory>) -> ClientBuilder {
    Client::builder().registry(registry.clone())
}

/// A service whose `Echo.Call` answers with the request, and whose streams do message by message. All of them say what the
/// header `tag` was.
async fn tagged(registry: &Arc<Memory>, name: &str) -> Result<Service> {
    let tag = |context: &Context| {
        let tag = context.metadata().get("tag").unwrap_or("none").to_owned();
        context.set_header("tag", &tag).expect("a header");
        context.set_trailer("end", "yes").expect("a trailer");
        tag
    };
    service(registry, name)
        .endpoint("Echo.Call", move |context: Context, Raw(message): Raw| {
            let tag = tag(&context);
            async move { Ok(Raw::from([&message[..], b" ", tag.as_bytes()].concat())) }
        })
        .server_stream("Echo.Three", move |context: Context, request: Raw| {
            tag(&context);
            async move { Ok(stream::iter([Ok(request.clone()), Ok(request.clone()), Ok(request)])) }
        })
        .client_stream("Echo.Join", move |context: Context, requests: Streaming<Raw>| {
            tag(&context);
            async move {
                let all: Vec<Result<Raw>> = requests.collect().await;
                let all = all.into_iter().collect::<Result<Vec<_>>>()?;
                let parts: Vec<_> = all.iter().map(|part| &part.0[..]).collect();
                Ok(Raw::from(parts.concat()))
            }
        })
        .bidi_stream("Echo.Each", move |context: Context, requests: Streaming<Raw>| {
            tag(&context);
            async move { Ok(requests) }
        })
        .start()
        .await
}

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

/// `Echo.Call` that fails `times` times as a handler that is down does, and says which header `tag` it had.
fn flaky(times: usize, log: &Log) -> Endpoint {
    let (left, log) = (AtomicUsize::new(times), log.clone());
    Endpoint::unary("Echo.Call", move |context: Context, request: Raw| {
        let fails = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        log.add(context.metadata().get("tag").unwrap_or("none"));
        async move { if fails { Err(Error::unavailable("down")) } else { Ok(request) } }
    })
    .idempotent()
}

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
