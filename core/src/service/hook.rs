//! What a program does at moments of a service's life, in which order, and for how long.
//!
//! | moment | when | one that fails |
//! |---|---|---|
//! | [`Moment::BeforeStart`] | before the server listens | ends the start, and later ones are not run |
//! | [`Check`] | before each registration | keeps the node out of the registry until the next |
//! | [`Moment::AfterStart`] | once the service is registered | stops it again, and later ones are not run |
//! | [`Moment::BeforeStop`] | before the node is deregistered | is told of by the stop, which goes on |
//! | [`Moment::AfterStop`] | when nothing is served any more | is told of by the stop |
//!
//! Hooks of one moment run one after the other, in the order in which they were added. Each has its
//! own time. To panic, or to take longer, is to fail.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::probe::Probe;
use crate::error::{Error, Result};
use crate::plugin::bounded;
use crate::server::BoxFuture;

/// Something that a program does when it is told to.
#[derive(Clone)]
pub(super) struct Hook(Arc<dyn Fn() -> BoxFuture<Result<()>> + Send + Sync>);

impl Hook {
    pub(super) fn new<F, R>(hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(hook())))
    }

    async fn run(&self, what: &str, limit: Duration) -> Result<()> {
        // It is called when the work is polled, so that a panic before its first wait is caught too.
        bounded(what, limit, async { (self.0)().await }).await
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// When hooks are run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment {
    BeforeStart,
    AfterStart,
    BeforeStop,
    AfterStop,
}

impl Moment {
    /// What an error calls a hook of this moment.
    fn hook(self) -> &'static str {
        match self {
            Self::BeforeStart => "a hook before the start",
            Self::AfterStart => "a hook after the start",
            Self::BeforeStop => "a hook before the stop",
            Self::AfterStop => "a hook after the stop",
        }
    }
}

/// The hooks of a service.
#[derive(Debug)]
pub(super) struct Hooks {
    moments: [Vec<Hook>; 4],
    /// How long each may take.
    pub(super) limit: Duration,
}

impl Hooks {
    pub(super) fn new(limit: Duration) -> Self {
        Self { moments: Default::default(), limit }
    }

    pub(super) fn add(&mut self, moment: Moment, hook: Hook) {
        self.moments[moment as usize].push(hook);
    }

    /// Runs those of a moment until one fails.
    pub(super) async fn run(&self, moment: Moment) -> Result<()> {
        for hook in &self.moments[moment as usize] {
            hook.run(moment.hook(), self.limit).await?;
        }
        Ok(())
    }

    /// Runs all of a moment; gives the errors of those that failed.
    pub(super) async fn run_all(&self, moment: Moment) -> Vec<Error> {
        let mut failed = Vec::new();
        for hook in &self.moments[moment as usize] {
            failed.extend(hook.run(moment.hook(), self.limit).await.err());
        }
        failed
    }
}

/// Asked before each registration whether the node is fit for calls.
#[derive(Debug)]
pub(super) struct Check {
    /// What must answer.
    pub(super) probe: Option<Probe>,
    pub(super) hook: Option<Hook>,
    /// How long one run may take.
    pub(super) limit: Duration,
}

impl Check {
    pub(super) async fn run(&self) -> Result<()> {
        const WHAT: &str = "the register check";
        if let Some(probe) = &self.probe {
            bounded(WHAT, self.limit, probe.run()).await?;
        }
        match &self.hook {
            Some(hook) => hook.run(WHAT, self.limit).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;
    use crate::error::Code;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Four hooks of each moment: one that succeeds, one that panics before it waits, one that hangs, one that fails.
    fn hooks() -> (Hooks, Arc<Mutex<Vec<usize>>>) {
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut hooks = Hooks::new(LIMIT);
        let moments =
            [Moment::BeforeStart, Moment::AfterStart, Moment::BeforeStop, Moment::AfterStop];
        for moment in moments {
            for number in 0..4 {
                let log = Arc::clone(&log);
                let hook = move || -> BoxFuture<Result<()>> {
                    log.lock().unwrap().push(number);
                    assert_ne!(number, 1, "a bug");
                    Box::pin(async move {
                        match number {
                            0 => Ok(()),
                            2 => std::future::pending().await,
                            _ => Err(Error::unavailable("no database")),
                        }
                    })
                };
                hooks.add(moment, Hook::new(hook));
            }
        }
        (hooks, log)
    }

    #[tokio::test(start_paused = true)]
    async fn hooks_of_the_start_run_in_order_until_one_fails() {
        for moment in [Moment::BeforeStart, Moment::AfterStart] {
            let (hooks, log) = hooks();
            let error = hooks.run(moment).await.unwrap_err();
            assert_eq!(error.code(), Code::Internal);
            assert!(error.detail().contains(moment.hook()), "{error}");
            assert_eq!(*log.lock().unwrap(), [0, 1]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hooks_of_the_stop_all_run_in_order_each_in_its_own_time() {
        for moment in [Moment::BeforeStop, Moment::AfterStop] {
            let (hooks, log) = hooks();
            let begun = Instant::now();
            let failed = hooks.run_all(moment).await;
            let codes: Vec<Code> = failed.iter().map(Error::code).collect();
            assert_eq!(codes, [Code::Internal, Code::DeadlineExceeded, Code::Unavailable]);
            assert_eq!(*log.lock().unwrap(), [0, 1, 2, 3]);
            assert_eq!(begun.elapsed().as_secs(), LIMIT.as_secs());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_panics_or_hangs_has_failed() {
        let check = |hook| Check { probe: None, hook: Some(hook), limit: LIMIT };
        let panics = check(Hook::new(|| -> std::future::Ready<Result<()>> { panic!("a bug") }));
        let error = panics.run().await.unwrap_err();
        assert!(error.detail().contains("the register check panicked: a bug"), "{error}");
        let hangs = check(Hook::new(std::future::pending));
        assert_eq!(hangs.run().await.unwrap_err().code(), Code::DeadlineExceeded);
        assert!(check(Hook::new(|| async { Ok(()) })).run().await.is_ok());
    }
}
