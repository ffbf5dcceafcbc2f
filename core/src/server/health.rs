//! `grpc.health.v1`: whether the server, and each service on it, wants calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};

/// Answers health checks. Cheap to clone; all clones are one.
///
/// The empty name stands for the server as a whole. The name of the service is known, and so are the full names of its types
/// that reflection lists, such as `shop.v1.Cart`. A service that drains is `NOT_SERVING`.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    services: Mutex<BTreeMap<String, watch::Sender<ServingStatus>>>,
    /// Ends the watches, which would otherwise hold up a stop for all of its grace.
    stopping: CancellationToken,
}

/// Tells watchers of `sender`, unless it is no news.
fn tell(sender: &watch::Sender<ServingStatus>, status: ServingStatus) {
    sender.send_if_modified(|now| std::mem::replace(now, status) != status);
}

/// Names kept for watchers of services that do not exist (yet); more are refused.
const MAX_NAMES: usize = 1024;

impl Health {
    /// Says whether `service` wants calls; the empty name is the server as a whole.
    pub fn set(&self, service: &str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        let mut services = self.0.services.lock().unwrap_or_else(PoisonError::into_inner);
        match services.get(service) {
            Some(sender) => {
                tell(sender, status);
            }
            None => {
                services.insert(service.to_owned(), watch::Sender::new(status));
            }
        }
    }

    /// Says the same of every service.
    pub(crate) fn set_all(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        let services = self.0.services.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in services.values() {
            if *sender.borrow() != ServingStatus::ServiceUnknown {
                tell(sender, status);
            }
        }
    }

    /// True when `service` wants calls, `None` when that was never set.
    pub fn is_serving(&self, service: &str) -> Option<bool> {
        let services = self.0.services.lock().unwrap_or_else(PoisonError::into_inner);
        match *services.get(service)?.borrow() {
            ServingStatus::Serving => Some(true),
            ServingStatus::NotServing => Some(false),
            _ => None,
        }
    }

    fn check(&self, service: &str) -> Result<HealthCheckResponse> {
        let status = match self.is_serving(service) {
            Some(true) => ServingStatus::Serving,
            Some(false) => ServingStatus::NotServing,
            None => return Err(Error::not_found(format!("unknown service {service}"))),
        };
        Ok(HealthCheckResponse { status: status.into() })
    }

    fn watch(
        &self,
        service: String,
    ) -> Result<impl Stream<Item = Result<HealthCheckResponse>> + Send + use<>> {
        let mut services = self.0.services.lock().unwrap_or_else(PoisonError::into_inner);
        if !services.contains_key(&service) {
            services.retain(|_, sender| {
                *sender.borrow() != ServingStatus::ServiceUnknown || sender.receiver_count() > 0
            });
            if services.len() >= MAX_NAMES {
                return Err(Error::resource_exhausted(
                    "too many unknown services are watched: watch one that exists",
                ));
            }
        }
        let sender = services
            .entry(service)
            .or_insert_with(|| watch::Sender::new(ServingStatus::ServiceUnknown));
        let mut receiver = sender.subscribe();
        receiver.mark_changed();
        let state = Some((receiver, self.0.stopping.clone()));
        Ok(stream::unfold(state, |state| async move {
            let (mut receiver, stopping) = state?;
            tokio::select! {
                // What happened before the stop is still told.
                biased;
                changed = receiver.changed() => {
                    changed.ok()?;
                    let status = *receiver.borrow_and_update();
                    let news = HealthCheckResponse { status: status.into() };
                    Some((Ok(news), Some((receiver, stopping))))
                }
                () = stopping.cancelled() => {
                    Some((Err(Error::unavailable("the server is stopping: watch another node")), None))
                }
            }
        }))
    }

    /// Ends every watch, for good.
    pub(super) fn stop(&self) {
        self.0.stopping.cancel();
    }

    pub(super) fn endpoints(&self) -> [Endpoint; 2] {
        let (check, watch) = (self.clone(), self.clone());
        [
            Endpoint::unary("Health.Check", move |_, request: HealthCheckRequest| {
                let answer = check.check(&request.service);
                async move { answer }
            })
            .internal(),
            Endpoint::server_stream("Health.Watch", move |_, request: HealthCheckRequest| {
                let answer = watch.watch(request.service);
                async move { answer }
            })
            .internal(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use futures_util::StreamExt as _;
    use std::pin::pin;

    #[tokio::test]
    async fn a_watch_tells_the_state_now_and_every_change() {
        let health = Health::default();
        let mut updates = pin!(health.watch("greeter".into()).expect("room for one"));
        let mut next = async || updates.next().await.expect("open").expect("status").status();
        assert_eq!(next().await, ServingStatus::ServiceUnknown);
        health.set("greeter", true);
        assert_eq!(next().await, ServingStatus::Serving);
        health.set_all(false);
        assert_eq!(next().await, ServingStatus::NotServing);
    }

    #[tokio::test]
    async fn a_stop_ends_watches_after_the_last_news() {
        let health = Health::default();
        health.set("greeter", true);
        let mut updates = pin!(health.watch("greeter".into()).expect("room for one"));
        updates.next().await.expect("open").expect("status");
        health.set_all(false);
        health.set_all(false);
        health.stop();
        let last = updates.next().await.expect("open").expect("status");
        assert_eq!(last.status(), ServingStatus::NotServing);
        let end = updates.next().await.expect("an end").expect_err("a reason");
        assert_eq!(end.code(), Code::Unavailable);
        assert!(updates.next().await.is_none());
    }

    #[test]
    fn a_check_of_an_unknown_service_is_not_found() {
        let health = Health::default();
        health.set("", true);
        assert_eq!(health.check("").map(|r| r.status()), Ok(ServingStatus::Serving));
        assert_eq!(health.check("x").expect_err("unknown").code(), Code::NotFound);
    }

    #[test]
    fn watchers_of_made_up_names_are_bounded_and_forgotten() {
        let health = Health::default();
        let watchers: Vec<_> =
            (0..MAX_NAMES).map(|n| health.watch(n.to_string()).map(Box::pin)).collect();
        assert!(watchers.iter().all(Result::is_ok));
        assert!(health.watch("one more".into()).is_err());
        drop(watchers);
        assert!(health.watch("one more".into()).is_ok());
    }
}
