//! Bounds of server and client, TLS and middleware.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod middleware;
#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use micro::{
    Client, ClientTls, Code, Compression, Context, Error, Raw, Result, ServerTls, Streaming,
};
use support::{call, client, echo, held, memory, service};

#[tokio::test]
async fn calls_past_the_limit_are_shed_and_others_served() -> Result<()> {
    let registry = memory();
    let (endpoint, held) = held();
    let running = service(&registry, "slow")
        .server(|server| server.max_concurrent_calls(1))
        .handle(endpoint)
        .start()
        .await?;
    let client = client(&registry);
    let first = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "slow").await }
    });
    held.entered.notified().await;
    let error = call(&client, "slow").await.expect_err("one call is the limit");
    assert_eq!(error.code(), Code::ResourceExhausted);
    held.release.notify_one();
    first.await.expect("the call ends")?;
    held.release.notify_one();
    call(&client, "slow").await?;
    running.stop().await
}

#[tokio::test]
async fn messages_over_the_limit_are_refused_on_either_side() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "echo")
        .server(|server| server.max_message_size(1_000))
        .handle(echo())
        .endpoint("Echo.Large", |_: Context, _: Raw| async { Ok(Raw::from(vec![0; 5_000])) })
        .start()
        .await?;
    let small = Client::builder().registry(registry.clone()).max_message_size(2_000).build()?;
    let large = small.call::<_, Raw>("echo", "Echo.Call", Raw::from(vec![0; 1_001])).await;
    assert_eq!(large.expect_err("request too large").code(), Code::ResourceExhausted);
    let reply = small.call::<_, Raw>("echo", "Echo.Large", Raw::default()).await;
    assert_eq!(reply.expect_err("reply too large").code(), Code::ResourceExhausted);
    call(&small, "echo").await?;
    running.stop().await
}

#[tokio::test]
async fn compressed_messages_go_both_ways() -> Result<()> {
    let registry = memory();
    let message = Raw::from(b"compress me ".repeat(500));
    for compression in [Compression::Gzip, Compression::Zstd] {
        let running = service(&registry, "echo")
            .server(|server| server.compression(compression))
            .handle(echo())
            .start()
            .await?;
        let client =
            Client::builder().registry(registry.clone()).compression(compression).build()?;
        let call = client.call::<_, Raw>("echo", "Echo.Call", message.clone());
        let reply = call.address(running.address().to_string()).send().await?;
        assert_eq!(reply.message, message);
        assert_eq!(reply.headers.get("grpc-encoding"), Some(compression.name()));
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn metadata_goes_both_ways() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "echo")
        .endpoint("Echo.Call", |cx: Context, _: Raw| async move {
            let tenant = cx.metadata().get("TENANT").unwrap_or_default().to_owned();
            cx.set_header("seen", &tenant)?;
            cx.set_trailer("bye", "now")?;
            Ok(Raw::default())
        })
        .start()
        .await?;
    let call = client(&registry).call::<_, Raw>("echo", "Echo.Call", Raw::default());
    let reply = call.metadata("Tenant", "blue").send().await?;
    assert_eq!(reply.headers.get("seen"), Some("blue"));
    assert_eq!(reply.trailers.get("bye"), Some("now"));
    let smuggled = client(&registry).call::<_, Raw>("echo", "Echo.Call", Raw::default());
    let error = smuggled.metadata("content-length", "1").await.expect_err("reserved");
    assert_eq!(error.code(), Code::InvalidArgument);
    running.stop().await
}

#[tokio::test]
async fn a_handlers_calls_inherit_metadata_and_trace() -> Result<()> {
    let registry = memory();
    let leaf = service(&registry, "leaf")
        .endpoint("Echo.Call", |cx: Context, _: Raw| async move {
            let seen = |name| cx.metadata().get(name).unwrap_or("-").to_owned();
            let (tenant, caller) = (seen("tenant"), cx.caller().unwrap_or("-").to_owned());
            Ok(Raw::from(format!("{tenant} {caller} {} {}", cx.trace().trace_id(), seen("te"))))
        })
        .start()
        .await?;
    let inner = Client::builder().registry(registry.clone()).name("relay").build()?;
    let relay = service(&registry, "relay")
        .endpoint("Echo.Call", move |_: Context, request: Raw| {
            let inner = inner.clone();
            async move { inner.call::<_, Raw>("leaf", "Echo.Call", request).await }
        })
        .start()
        .await?;
    let outer = client(&registry);
    let reply: Raw = outer
        .call("relay", "Echo.Call", Raw::default())
        .metadata("tenant", "blue")
        .metadata("micro-trace-id", "trace-1")
        .await?;
    let text = String::from_utf8_lossy(&reply.0).into_owned();
    assert!(text.starts_with("blue relay "), "{text}");
    relay.stop().await?;
    leaf.stop().await
}

#[tokio::test]
async fn a_caller_who_gives_long_leaves_as_long_to_the_calls_within() -> Result<()> {
    let registry = memory();
    let leaf = service(&registry, "leaf")
        .endpoint("Echo.Call", |cx: Context, _: Raw| async move {
            Ok(Raw::from(format!(
                "{:?}",
                cx.remaining().map(|left| left > Duration::from_secs(20))
            )))
        })
        .start()
        .await?;
    let mut told = Vec::new();
    for (name, timeout) in [("relay", None), ("bounded", Some(Duration::from_secs(5)))] {
        let inner = Client::builder().registry(registry.clone());
        let inner = match timeout {
            Some(timeout) => inner.timeout(timeout),
            None => inner,
        };
        let inner = inner.build()?;
        let relay = service(&registry, name)
            .endpoint("Echo.Call", move |_: Context, request: Raw| {
                let inner = inner.clone();
                async move { inner.call::<_, Raw>("leaf", "Echo.Call", request).await }
            })
            .start()
            .await?;
        let outer = client(&registry);
        let call = outer.call::<_, Raw>(name, "Echo.Call", Raw::default());
        told.push(call.timeout(Duration::from_secs(30)).await?);
        relay.stop().await?;
    }
    assert_eq!(told, [Raw::from("Some(true)"), Raw::from("Some(false)")]);
    leaf.stop().await
}

/// The certificates of a test: an authority and what it signed for `localhost`.
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

fn certificates() -> Certificates {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let authority_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).expect("an authority");
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .and_then(|params| params.signed_by(&key, &issuer))
        .expect("a certificate");
    Certificates {
        authority: authority.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

#[tokio::test]
async fn tls_is_verified_or_absent() -> Result<()> {
    let ours = certificates();
    let theirs = certificates();
    let registry = memory();
    let running = service(&registry, "echo")
        .tls(ServerTls::new(ours.certificate.as_bytes(), ours.key.as_bytes())?)
        .handle(echo())
        .start()
        .await?;
    let trusting = |authority: &str| {
        let tls = ClientTls::trusting(authority.as_bytes())?;
        Client::builder().registry(registry.clone()).tls(tls).retries(0).build()
    };
    call(&trusting(&ours.authority)?, "echo").await?;
    let stranger = call(&trusting(&theirs.authority)?, "echo").await.expect_err("not trusted");
    assert_eq!(stranger.code(), Code::Unavailable);
    assert!(stranger.detail().contains("TLS handshake"), "{stranger}");
    let plain = Client::builder().registry(registry.clone()).retries(0).build()?;
    assert!(call(&plain, "echo").await.is_err(), "plaintext to a TLS server");
    running.stop().await
}

#[tokio::test]
async fn mutual_tls_lets_in_only_known_clients() -> Result<()> {
    let ours = certificates();
    let registry = memory();
    let bytes = |text: &String| text.as_bytes().to_vec();
    let (authority, certificate, key) =
        (bytes(&ours.authority), bytes(&ours.certificate), bytes(&ours.key));
    let running = service(&registry, "echo")
        .tls(ServerTls::mutual(&certificate, &key, &authority)?)
        .handle(echo())
        .start()
        .await?;
    let with = |tls| Client::builder().registry(registry.clone()).tls(tls).retries(0).build();
    call(&with(ClientTls::mutual(&authority, &certificate, &key)?)?, "echo").await?;
    assert!(call(&with(ClientTls::trusting(&authority)?)?, "echo").await.is_err());
    running.stop().await
}

#[tokio::test]
async fn a_slow_reader_holds_the_sender_back() -> Result<()> {
    let registry = memory();
    let made = Arc::new(AtomicUsize::new(0));
    let counted = made.clone();
    let running = service(&registry, "flood")
        .server_stream("Flood.Run", move |_: Context, _: Raw| {
            let counted = counted.clone();
            async move {
                Ok(stream::repeat_with(move || {
                    counted.fetch_add(1, Ordering::SeqCst);
                    Ok(Raw::from(vec![0; 64 * 1024]))
                }))
            }
        })
        .start()
        .await?;
    let mut replies: Streaming<Raw> =
        client(&registry).server_stream("flood", "Flood.Run", Raw::default()).await?;
    replies.message().await?;
    // Until the count stands still: the windows are full and nothing is read.
    let mut before = 0;
    loop {
        tokio::time::timeout(Duration::from_millis(200), std::future::pending::<()>()).await.ok();
        let now = made.load(Ordering::SeqCst);
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < 200, "{before} messages of 64 KiB were made for a reader of one");
    drop(replies);
    running.stop().await
}

#[tokio::test]
async fn a_panic_in_a_stream_fails_that_stream_only() -> Result<()> {
    let registry = memory();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let running = service(&registry, "echo")
        .handle(echo())
        .server_stream("Echo.Panic", |_: Context, request: Raw| async move {
            Ok(stream::iter(0..3).map(move |n| {
                if n == 2 {
                    panic!("third");
                }
                Ok(request.clone())
            }))
        })
        .start()
        .await?;
    let client = client(&registry);
    let mut replies: Streaming<Raw> =
        client.server_stream("echo", "Echo.Panic", Raw::from("x")).await?;
    loop {
        match replies.message().await {
            Ok(Some(message)) => seen.lock().expect("seen").push(message),
            Ok(None) => panic!("the stream ended well"),
            Err(error) => {
                assert_eq!(error.code(), Code::Internal);
                assert!(error.detail().starts_with("panic recovered: "), "{error}");
                assert!(!error.detail().contains("third"), "{error}");
                break;
            }
        }
    }
    assert_eq!(seen.lock().expect("seen").len(), 2);
    call(&client, "echo").await?;
    running.stop().await
}

#[tokio::test]
async fn every_call_is_counted_on_its_edge_on_both_sides() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "echo")
        .handle(echo())
        .server_stream("Echo.Two", |_: Context, request: Raw| async move {
            Ok(stream::iter([Ok(request.clone()), Ok(request)]))
        })
        .endpoint("Echo.Fail", |_: Context, _: Raw| async {
            Result::<Raw>::Err(Error::not_found("nothing"))
        })
        .start()
        .await?;
    let web = Client::builder().registry(registry.clone()).name("web").build()?;
    call(&web, "echo").await?;
    let two: Streaming<Raw> = web.server_stream("echo", "Echo.Two", Raw::default()).await?;
    assert_eq!(two.count().await, 2);
    assert!(web.call::<_, Raw>("echo", "Echo.Fail", Raw::default()).await.is_err());
    assert!(web.server_stream::<_, Raw>("echo", "Echo.None", Raw::default()).await.is_err());
    running.stop().await?;
    let counted = |metrics: &micro::telemetry::Metrics| {
        let edges = metrics.snapshot().into_iter();
        edges
            .map(|(edge, stats)| {
                assert_eq!((&*edge.caller, &*edge.callee), ("web", "echo"));
                assert_eq!(stats.in_flight(), 0);
                (edge.endpoint.to_string(), stats.calls(), stats.errors())
            })
            .collect::<Vec<_>>()
    };
    let row = |endpoint: &str, calls, errors| (endpoint.to_owned(), calls, errors);
    let known = [row("Echo.Call", 1, 0), row("Echo.Fail", 1, 1)];
    let two = row("Echo.Two", 1, 0);
    assert_eq!(
        counted(running.server().metrics()),
        [&known[..], std::slice::from_ref(&two)].concat()
    );
    let none = row("Echo.None", 1, 1);
    assert_eq!(counted(web.metrics()), [&known[..], &[none, two]].concat());
    Ok(())
}
