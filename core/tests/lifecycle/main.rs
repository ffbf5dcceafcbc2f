//! Start, registration, heartbeat and stop of a service.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod registry;
#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use micro::registry::{Action, Registry, Service as Record, Watcher};
use micro::server::Endpoint;
use micro::{Code, Context, Error, Raw, Result, Service};
use support::{call, client, echo, held, memory, service};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_service_says_who_and_where_it_is() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "go.micro.srv.echo")
        .version("1.2.3")
        .id("one")
        .metadata("zone", "a")
        .handle(echo().metadata("path", "/echo").idempotent())
        .handle(Endpoint::unary("Hidden.Call", |_: Context, r: Raw| async { Ok(r) }).internal())
        .start()
        .await?;
    let found = registry.get("go.micro.srv.echo").await?;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].version, "1.2.3");
    let node = &found[0].nodes[0];
    assert_eq!(node.id, "go.micro.srv.echo-one");
    assert_eq!(node.address, running.address().to_string());
    let label = |key: &str| node.metadata.get(key).map(String::as_str);
    assert_eq!((label("zone"), label("protocol")), (Some("a"), Some("grpc")));
    for key in ["server", "transport", "registry", "broker"] {
        assert!(label(key).is_some(), "go-micro nodes carry `{key}`");
    }
    let names: Vec<_> = found[0].endpoints.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["Echo.Call"], "internal endpoints are not advertised");
    assert!(found[0].endpoints[0].is_idempotent());
    assert_eq!(found[0].endpoints[0].metadata["path"], "/echo");
    running.stop().await
}

#[tokio::test]
async fn hooks_run_in_order_around_start_and_stop() -> Result<()> {
    let registry = memory();
    let log = Arc::new(Mutex::new(Vec::new()));
    let hook = |name: &'static str| {
        let (log, registry) = (log.clone(), registry.clone());
        move || {
            let (log, registry) = (log.clone(), registry.clone());
            async move {
                let registered = registry.get("echo").await.is_ok();
                log.lock().expect("log").push((name, registered));
                Ok(())
            }
        }
    };
    let running = service(&registry, "echo")
        .handle(echo())
        .before_start(hook("before start 1"))
        .before_start(hook("before start 2"))
        .after_start(hook("after start"))
        .before_stop(hook("before stop"))
        .after_stop(hook("after stop"))
        .start()
        .await?;
    running.stop().await?;
    running.stop().await?;
    assert_eq!(
        *log.lock().expect("log"),
        [
            ("before start 1", false),
            ("before start 2", false),
            ("after start", true),
            ("before stop", true),
            ("after stop", false),
        ]
    );
    Ok(())
}

#[tokio::test]
async fn a_failing_start_hook_leaves_nothing_running() {
    let registry = memory();
    let fail = || async { Err(Error::failed_precondition("no database")) };
    let error = service(&registry, "echo").handle(echo()).after_start(fail).start().await;
    let error = error.expect_err("the hook failed");
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.detail().contains("no database"), "{error}");
    assert_eq!(registry.get("echo").await.expect_err("gone").code(), Code::NotFound);
}

#[tokio::test]
async fn a_failing_stop_hook_does_not_keep_the_service_up() -> Result<()> {
    let registry = memory();
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = stopped.clone();
    let running = service(&registry, "echo")
        .handle(echo())
        .before_stop(|| async { Err(Error::internal("first")) })
        .after_stop(move || {
            flag.store(true, Ordering::SeqCst);
            async { Ok(()) }
        })
        .start()
        .await?;
    assert_eq!(running.stop().await.expect_err("the hook's error").detail(), "first");
    assert!(stopped.load(Ordering::SeqCst));
    assert!(registry.get("echo").await.is_err());
    Ok(())
}

#[tokio::test]
async fn run_ends_when_its_token_is_cancelled() -> Result<()> {
    let registry = memory();
    let token = CancellationToken::new();
    let mut watch = registry.watch(Some("echo")).await?;
    let running =
        tokio::spawn(service(&registry, "echo").handle(echo()).shutdown_on(token.clone()).run());
    assert_eq!(watch.next().await?.action, Action::Create);
    token.cancel();
    running.await.expect("the task ends")?;
    assert_eq!(watch.next().await?.action, Action::Delete);
    Ok(())
}

#[tokio::test]
async fn the_stop_waits_for_running_calls_and_refuses_new_ones() -> Result<()> {
    let registry = memory();
    let (endpoint, held) = held();
    let running = service(&registry, "slow").handle(endpoint).start().await?;
    let client = client(&registry);
    let pending = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "slow").await }
    });
    held.entered.notified().await;
    let mut watch = registry.watch(None).await?;
    let running = Arc::new(running);
    let stopping = tokio::spawn({
        let running = running.clone();
        async move { running.stop().await }
    });
    assert_eq!(watch.next().await?.action, Action::Delete);
    assert_eq!(running.server().health().is_serving("slow"), Some(false));
    assert!(!stopping.is_finished(), "a call is still running");
    held.release.notify_one();
    assert_eq!(pending.await.expect("the call ends")?, Raw::from("hi"));
    stopping.await.expect("the stop ends")?;
    let error = call(&client, "slow").await.expect_err("the service is gone");
    assert!(error.code() == Code::Unavailable, "{error}");
    Ok(())
}

#[tokio::test]
async fn calls_that_outlive_the_grace_period_are_cut_off() -> Result<()> {
    let registry = memory();
    let entered = Arc::new(Notify::new());
    let (ended, over) = tokio::sync::mpsc::channel(1);
    let inside = entered.clone();
    let running = service(&registry, "stuck")
        .grace(Duration::from_millis(50))
        .propagation(Duration::ZERO)
        .endpoint("Echo.Call", move |cx: Context, request: Raw| {
            let (inside, ended) = (inside.clone(), ended.clone());
            async move {
                tokio::spawn(async move {
                    cx.cancelled().await;
                    let _ = ended.send(()).await;
                });
                inside.notify_one();
                std::future::pending::<()>().await;
                Ok(request)
            }
        })
        .start()
        .await?;
    let client = client(&registry);
    let pending = tokio::spawn(async move { call(&client, "stuck").await });
    entered.notified().await;
    running.stop().await?;
    let mut over = over;
    over.recv().await.expect("the handler's context was cancelled");
    let error = pending.await.expect("the call ends").expect_err("cut off");
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_keeps_the_node_registered() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "echo").handle(echo()).start().await?;
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(20)).await;
        tokio::task::yield_now().await;
    }
    assert!(registry.get("echo").await.is_ok(), "200 s are more than three TTLs");
    drop(running);
    let mut watch = registry.watch(Some("echo")).await?;
    assert_eq!(watch.next().await?.action, Action::Delete, "a dropped service is not kept alive");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn while_the_register_check_fails_the_node_is_not_registered() -> Result<()> {
    let registry = memory();
    let fit = Arc::new(AtomicBool::new(true));
    let asked = fit.clone();
    let mut watch = registry.watch(Some("echo")).await?;
    let running = service(&registry, "echo")
        .handle(echo())
        .register_check(move || {
            let fit = asked.load(Ordering::SeqCst);
            async move { if fit { Ok(()) } else { Err(Error::unavailable("no database")) } }
        })
        .start()
        .await?;
    assert_eq!(watch.next().await?.action, Action::Create);
    fit.store(false, Ordering::SeqCst);
    assert_eq!(watch.next().await?.action, Action::Delete);
    assert_eq!(running.server().health().is_serving("echo"), Some(false));
    fit.store(true, Ordering::SeqCst);
    assert_eq!(watch.next().await?.action, Action::Create);
    assert_eq!(running.server().health().is_serving("echo"), Some(true));
    Ok(())
}

#[tokio::test]
async fn a_port_alone_is_no_address_and_the_error_says_what_is() {
    let builder = Service::builder("echo").registry(memory()).environment(false).address("8080");
    let error = builder.start().await.expect_err("it is no address");
    assert!(error.detail().ends_with("did you mean `:8080`?"), "{error}");
}

#[tokio::test]
async fn a_rhythm_that_would_lose_the_node_is_refused() {
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    for (ttl, interval) in [
        (Some(second), Some(second)),
        (Some(second), Some(minute)),
        (Some(minute), Some(Duration::ZERO)),
    ] {
        let mut builder = service(&memory(), "echo").handle(echo());
        if let Some(ttl) = ttl {
            builder = builder.register_ttl(ttl);
        }
        if let Some(interval) = interval {
            builder = builder.register_interval(interval);
        }
        let error = builder.start().await.expect_err("it is refused");
        assert_eq!(error.code(), Code::InvalidArgument, "{ttl:?} {interval:?}");
        assert!(error.detail().contains("register_"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_ttl_and_interval_the_one_that_is_left_out_fits_the_other() -> Result<()> {
    for (ttl, interval) in [
        (Some(Duration::from_secs(2)), None),
        (None, Some(Duration::from_secs(600))),
        (None, Some(Duration::MAX)),
        (Some(Duration::MAX), None),
    ] {
        let registry = memory();
        let mut builder = service(&registry, "echo").handle(echo());
        if let Some(ttl) = ttl {
            builder = builder.register_ttl(ttl);
        }
        if let Some(interval) = interval {
            builder = builder.register_interval(interval);
        }
        let running = builder.start().await?;
        for second in 0..1500 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(registry.get("echo").await.is_ok(), "lost after {second} s");
        }
        running.stop().await?;
    }
    Ok(())
}

/// What a registry was asked to keep, and for how long.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn Registry>,
    kept: Mutex<Vec<Option<Duration>>>,
    fails: AtomicUsize,
}

#[async_trait::async_trait]
impl Registry for Counting {
    async fn register(&self, service: &Record, ttl: Option<Duration>) -> Result<()> {
        if self.fails.load(Ordering::SeqCst) > 0 {
            self.fails.fetch_sub(1, Ordering::SeqCst);
            return Err(Error::unavailable("not now"));
        }
        self.kept.lock().expect("no panic holds it").push(ttl);
        self.inner.register(service, ttl).await
    }
    async fn deregister(&self, service: &Record) -> Result<()> {
        self.inner.deregister(service).await
    }
    async fn get(&self, name: &str) -> Result<Vec<Record>> {
        self.inner.get(name).await
    }
    async fn list(&self) -> Result<Vec<Record>> {
        self.inner.list().await
    }
    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        self.inner.watch(service).await
    }
    fn name(&self) -> &'static str {
        "counting"
    }
}

#[tokio::test(start_paused = true)]
async fn zero_is_a_node_that_stays_and_a_registration_that_is_not_renewed() -> Result<()> {
    let (zero, second) = (Some(Duration::ZERO), Some(Duration::from_secs(1)));
    for (ttl, interval, fails, renewed) in [
        // An interval of zero: once, and for ever.
        (None, zero, 0, 1),
        (zero, zero, 0, 1),
        // What failed is tried again all the same.
        (None, zero, 4, 1),
        // A time to live of zero is renewed as usual, or as often as was said.
        (zero, None, 0, 121),
        (zero, second, 0, 3601),
    ] {
        let fails = AtomicUsize::new(fails);
        let registry = Arc::new(Counting { inner: memory(), kept: Mutex::default(), fails });
        let builder = Service::builder("echo").address("127.0.0.1:0").registry(registry.clone());
        let mut builder = builder.handle(echo());
        if let Some(ttl) = ttl {
            builder = builder.register_ttl(ttl);
        }
        if let Some(interval) = interval {
            builder = builder.register_interval(interval);
        }
        let running = builder.start().await?;
        tokio::time::sleep(Duration::from_millis(3_600_500)).await;
        let kept = registry.kept.lock().unwrap().clone();
        assert_eq!(kept, vec![None; renewed], "{ttl:?} {interval:?}");
        assert!(registry.get("echo").await.is_ok());
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_endless_grace_waits_for_the_last_call() -> Result<()> {
    let registry = memory();
    let (endpoint, held) = held();
    let running = service(&registry, "slow").handle(endpoint).grace(Duration::MAX).start().await?;
    let client = client(&registry);
    let pending = tokio::spawn(async move { call(&client, "slow").await });
    held.entered.notified().await;
    let stopping = tokio::spawn(async move { running.stop().await });
    tokio::task::yield_now().await;
    held.release.notify_one();
    assert_eq!(pending.await.expect("the call ends")?, Raw::from("hi"));
    stopping.await.expect("the stop ends")
}

#[tokio::test]
async fn a_service_on_any_address_is_registered_with_one_that_others_reach() -> Result<()> {
    for address in [":0", "0.0.0.0:0", "[::]:0"] {
        let registry = memory();
        let running = Service::builder("echo")
            .registry(registry.clone())
            .address(address)
            .handle(echo())
            .start()
            .await?;
        let [found] = registry.get("echo").await?.try_into().expect("one version");
        let told: std::net::SocketAddr = found.nodes[0].address.parse().expect("an address");
        assert!(!told.ip().is_unspecified(), "{told}");
        assert_eq!(
            (told.port(), running.node()),
            (running.address().port(), found.nodes[0].clone())
        );
        assert_eq!(call(&client(&registry), "echo").await?, Raw::from("hi"));
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_name_no_registry_could_hold_is_refused() {
    for name in ["", ".", "a..b", "a b", "a/b", &"x".repeat(300)] {
        let error = service(&memory(), name).start().await.expect_err(name);
        assert_eq!(error.code(), Code::InvalidArgument, "{name}");
    }
}
