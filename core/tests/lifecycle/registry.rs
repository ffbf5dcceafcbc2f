//! Registries that fail, and what becomes of the service meanwhile.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use micro::registry::{Action, Memory, Registry};
use micro::{Code, Error, Result, Service};

use super::support::{echo, memory, service};

/// A registry that fails until told otherwise.
#[derive(Debug)]
struct Flaky {
    inner: Memory,
    down: AtomicBool,
    tries: AtomicUsize,
}

#[async_trait::async_trait]
impl Registry for Flaky {
    async fn register(
        &self,
        service: &micro::registry::Service,
        ttl: Option<Duration>,
    ) -> Result<()> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(Error::unavailable("registry is down"));
        }
        self.inner.register(service, ttl).await
    }
    async fn deregister(&self, service: &micro::registry::Service) -> Result<()> {
        self.inner.deregister(service).await
    }
    async fn get(&self, name: &str) -> Result<Vec<micro::registry::Service>> {
        self.inner.get(name).await
    }
    async fn list(&self) -> Result<Vec<micro::registry::Service>> {
        self.inner.list().await
    }
    async fn watch(&self, service: Option<&str>) -> Result<micro::registry::Watcher> {
        self.inner.watch(service).await
    }
    fn name(&self) -> &'static str {
        "flaky"
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_down_delays_the_registration_not_the_service() -> Result<()> {
    let registry = Arc::new(Flaky {
        inner: Memory::new(),
        down: AtomicBool::new(true),
        tries: AtomicUsize::new(0),
    });
    let mut watch = registry.watch(None).await?;
    let _running = Service::builder("echo")
        .address("127.0.0.1:0")
        .registry(registry.clone())
        .handle(echo())
        .start()
        .await?;
    assert_eq!(registry.tries.load(Ordering::SeqCst), 3);
    registry.down.store(false, Ordering::SeqCst);
    assert_eq!(watch.next().await?.action, Action::Create);
    Ok(())
}

/// A registry that does to each request what it is told to.
#[derive(Debug, Default)]
struct Odd {
    inner: Memory,
    register: Mutex<Oddity>,
    deregister: Mutex<Oddity>,
    ready: Mutex<Oddity>,
    tries: AtomicUsize,
}

#[derive(Debug, Default, Clone)]
enum Oddity {
    #[default]
    None,
    Hangs,
    Panics,
    Refuses(Error),
}

impl Oddity {
    async fn happens(oddity: &Mutex<Self>) -> Result<()> {
        let oddity = oddity.lock().expect("no panic while it is held").clone();
        match oddity {
            Self::None => Ok(()),
            Self::Hangs => std::future::pending().await,
            Self::Panics => panic!("a bug of the registry"),
            Self::Refuses(error) => Err(error),
        }
    }
}

#[async_trait::async_trait]
impl Registry for Odd {
    async fn register(
        &self,
        service: &micro::registry::Service,
        ttl: Option<Duration>,
    ) -> Result<()> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        Oddity::happens(&self.register).await?;
        self.inner.register(service, ttl).await
    }
    async fn deregister(&self, service: &micro::registry::Service) -> Result<()> {
        Oddity::happens(&self.deregister).await?;
        self.inner.deregister(service).await
    }
    async fn get(&self, name: &str) -> Result<Vec<micro::registry::Service>> {
        self.inner.get(name).await
    }
    async fn list(&self) -> Result<Vec<micro::registry::Service>> {
        self.inner.list().await
    }
    async fn watch(&self, service: Option<&str>) -> Result<micro::registry::Watcher> {
        self.inner.watch(service).await
    }
    fn name(&self) -> &'static str {
        "odd"
    }
    async fn ready(&self) -> Result<()> {
        Oddity::happens(&self.ready).await
    }
}

fn set(oddity: &Mutex<Oddity>, to: Oddity) {
    *oddity.lock().expect("no panic while it is held") = to;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_hangs_or_panics_delays_the_registration_not_the_service() -> Result<()> {
    for oddity in [Oddity::Hangs, Oddity::Panics] {
        let registry = Arc::new(Odd::default());
        set(&registry.ready, oddity.clone());
        set(&registry.register, oddity);
        let mut watch = registry.watch(None).await?;
        let running = Service::builder("echo")
            .address("127.0.0.1:0")
            .registry(registry.clone())
            .handle(echo())
            .start()
            .await?;
        assert_eq!(registry.tries.load(Ordering::SeqCst), 3);
        set(&registry.register, Oddity::None);
        assert_eq!(watch.next().await?.action, Action::Create);
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stop_goes_on_whatever_its_hooks_and_the_registry_do() -> Result<()> {
    let registry = Arc::new(Odd::default());
    let after = Arc::new(AtomicBool::new(false));
    let flag = after.clone();
    let running = Service::builder("echo")
        .address("127.0.0.1:0")
        .registry(registry.clone())
        .handle(echo())
        .before_stop(|| async { panic!("a bug of the hook") })
        .before_stop(std::future::pending)
        .after_stop(move || {
            flag.store(true, Ordering::SeqCst);
            async { Ok(()) }
        })
        .hook_timeout(Duration::from_secs(3))
        .register_timeout(Duration::from_secs(2))
        .start()
        .await?;
    set(&registry.deregister, Oddity::Hangs);
    let begun = tokio::time::Instant::now();
    let error = running.stop().await.expect_err("the registry did not answer");
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    assert!(error.detail().contains("2s"), "{error}");
    assert!(after.load(Ordering::SeqCst));
    assert_eq!(begun.elapsed().as_secs(), 3 + 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_start_hook_that_hangs_or_panics_ends_the_start() {
    let hook_timeout = Duration::from_secs(7);
    let hung = service(&memory(), "echo").handle(echo()).hook_timeout(hook_timeout);
    let error = hung.before_start(std::future::pending).start().await.expect_err("it hangs");
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    let registry = memory();
    let panics =
        service(&registry, "echo").handle(echo()).after_start(|| async { panic!("a bug") });
    let error = panics.start().await.expect_err("it panics");
    assert!(error.detail().contains("a bug"), "{error}");
    assert!(registry.get("echo").await.is_err(), "nothing is left running");
}

#[tokio::test(start_paused = true)]
async fn a_register_check_that_hangs_or_panics_keeps_the_node_out_until_it_does_not() -> Result<()>
{
    let registry = memory();
    let turn = Arc::new(AtomicUsize::new(0));
    let mut watch = registry.watch(Some("echo")).await?;
    let turns = turn.clone();
    let running = service(&registry, "echo")
        .handle(echo())
        .register_check(move || {
            let turn = turns.fetch_add(1, Ordering::SeqCst);
            async move {
                match turn % 3 {
                    0 => Ok(()),
                    1 => panic!("a bug of the check"),
                    _ => std::future::pending().await,
                }
            }
        })
        .start()
        .await?;
    for _ in 0..3 {
        assert_eq!(watch.next().await?.action, Action::Create);
        assert_eq!(watch.next().await?.action, Action::Delete);
        assert_eq!(running.server().health().is_serving("echo"), Some(false));
    }
    running.stop().await
}

#[tokio::test(start_paused = true)]
async fn what_a_registry_will_never_take_fails_the_start_at_once() {
    for code in [Code::InvalidArgument, Code::PermissionDenied, Code::Unimplemented] {
        let registry = Arc::new(Odd::default());
        set(&registry.register, Oddity::Refuses(Error::new(code, "the name is too long")));
        let builder = Service::builder("echo").address("127.0.0.1:0").registry(registry.clone());
        let error = builder.handle(echo()).start().await.expect_err("it never works");
        assert_eq!(error.code(), code);
        assert!(error.detail().contains("the name is too long"), "{error}");
        assert_eq!(registry.tries.load(Ordering::SeqCst), 1, "and is not tried again");
    }
}
