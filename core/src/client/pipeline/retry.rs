//! Retry: one attempt after another, until one succeeds, trying again would do harm or no good, or time is up.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::{sleep, timeout_at};
use tracing::Instrument as _;

use super::attempt::Step;
use super::outcome::outcome_of;
use super::run::Run;
use crate::client::pool::Lease;
use crate::error::{Error, Reason, Result};
use crate::resilience::{FailedAttempt, Failure, Lost, Next, Repeats, Retry, Terms as RetryTerms};
use crate::selector::{Node, Outcome};

impl Run {
    /// Runs the stages until one attempt succeeds, retries end or time is up. What succeeded keeps its connection.
    pub(in crate::client) async fn bounded<S: Step>(
        &mut self,
        step: S,
    ) -> Result<(S::Done, Option<Lease>)> {
        let span = self.span.clone();
        let deadline = self.deadline;
        let result = {
            // Pinned where it is: moving it from wrapper to wrapper costs more than some calls.
            let stages = pin!(self.stages(&step));
            let stages = stages.instrument(span);
            match deadline {
                Some(deadline) => timeout_at(deadline, stages).await.ok(),
                None => Some(stages.await),
            }
        };
        result.unwrap_or_else(|| Err(self.late())).map_err(|error| self.fail(error))
    }

    async fn stages<S: Step>(&mut self, step: &S) -> Result<(S::Done, Option<Lease>)> {
        let mut nodes = self.resolve().await?;
        self.target.callee.budget.deposit();
        let mut repeats = Repeats::default();
        let mut again = None;
        loop {
            let (node, ready) = match self.choose(&nodes, again.take()) {
                Err(error) if self.terms.wait_for_ready => {
                    nodes = Box::pin(self.until_ready(Some(nodes), error)).await?;
                    continue;
                }
                chosen => chosen?,
            };
            self.waits_for = None;
            self.begin(&node);
            let (error, lost) = match self.attempt_way() {
                // Apart from the call, which has none as a rule.
                Some(way) => match Box::pin(self.layered(way, step, &node, ready)).await {
                    Ok(done) => return Ok(done),
                    Err(lost) => lost,
                },
                None => match self.connected(&node, ready).await {
                    Ok(lease) => match step.attempt(self, &lease).await {
                        Ok(done) => return Ok((done, Some(lease))),
                        Err(error) if lease.is_open() => (error, Lost::Taken),
                        Err(error) => (error, Lost::Gone { served: lease.has_served() }),
                    },
                    Err(error) => (error, Lost::Unreached),
                },
            };
            let error = self.settle(error);
            self.lost(&error, lost);
            if !self.tried.iter().any(|tried| tried.is_same(&node)) {
                self.tried.push(node.clone());
            }
            let elsewhere = nodes.as_slice().len() > self.tried.len();
            let waits = self.terms.wait_for_ready
                && (lost == Lost::Unreached || error.reason() == Some(Reason::OtherService))
                && outcome_of(&error) == Outcome::Refused;
            if waits && !elsewhere {
                nodes = Box::pin(self.until_ready(Some(nodes), error)).await?;
                repeats.begin_anew();
                continue;
            }
            let next = match &self.terms.retry {
                // Apart from the call, which asks no function as a rule.
                Retry::Ask(_) => {
                    Box::pin(self.asked(step, &mut repeats, &error, lost, elsewhere)).await?
                }
                _ => self.next(&mut repeats, &error, lost, elsewhere),
            };
            match next {
                Next::Fail if waits => {
                    nodes = Box::pin(self.until_ready(Some(nodes), error)).await?;
                    repeats.begin_anew();
                }
                Next::Fail => return Err(error),
                Next::Reconnect => again = Some(node),
                // Waiting would only turn a telling error into a late one.
                Next::Repeat(wait) if self.left().is_some_and(|left| left <= wait) => {
                    return Err(error);
                }
                Next::Repeat(wait) if wait.is_zero() => {}
                Next::Repeat(wait) => sleep(wait).await,
            }
        }
    }

    fn next(&self, repeats: &mut Repeats, error: &Error, lost: Lost, elsewhere: bool) -> Next {
        let attempt = self.attempts.saturating_sub(1);
        let failure = Failure { error, attempt, idempotent: self.is_idempotent() };
        repeats.next(self.retry_terms(), failure, lost, elsewhere)
    }

    /// The same where a function is asked, which may fail the call.
    async fn asked<S: Step>(
        &self,
        step: &S,
        repeats: &mut Repeats,
        error: &Error,
        lost: Lost,
        elsewhere: bool,
    ) -> Result<Next> {
        if let Some(next) = repeats.unasked(error, lost) {
            return Ok(next);
        }
        let Retry::Ask(ask) = &self.terms.retry else { return Ok(Next::Fail) };
        let failed = FailedAttempt {
            service: self.target.service.to_string(),
            endpoint: self.target.endpoint.to_string(),
            metadata: self.terms.metadata.clone(),
            message: step.message(self)?,
            context: self.context.clone(),
            error: error.clone(),
            attempt: self.attempts.saturating_sub(1),
            idempotent: self.is_idempotent(),
        };
        let allowed = ask(failed).await?;
        Ok(repeats.decided(self.retry_terms(), allowed, error, lost, elsewhere))
    }

    fn is_idempotent(&self) -> bool {
        self.terms.idempotent.unwrap_or_else(|| {
            let endpoint = |node: &Arc<Node>| {
                let advertised = self.target.names().find_map(|name| node.endpoint(&name));
                advertised.is_some_and(|endpoint| endpoint.is_idempotent())
            };
            self.node.as_ref().is_some_and(endpoint)
        })
    }

    fn retry_terms(&self) -> RetryTerms<'_> {
        RetryTerms {
            retry: &self.terms.retry,
            retries: self.terms.retries,
            backoff: &self.terms.backoff,
            budget: &self.target.callee.budget,
        }
    }
}
