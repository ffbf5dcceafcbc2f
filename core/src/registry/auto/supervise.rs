//! The task that keeps an [`Auto`](super::Auto) registry where multicast says it should be.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::shared::Shared;
use crate::error::Result;
use crate::registry::{Local, Mdns, Registry};

/// How long a look waits for its own packet: a busy machine must not seem to have lost its network.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// Looks, follows and moves, for as long as the registry is used.
pub(super) async fn supervise(shared: Arc<Shared>) {
    let pace = shared.pace;
    let (mut against, mut stay) = (0, pace.stay.0);
    let mut moved: Option<Instant> = None;
    loop {
        sleep(pace.look).await;
        shared.follow().await;
        let Some(current) = shared.current() else { return };
        let on_mdns = current.name() == "mdns";
        let works = Mdns::probe_within(&shared.options, LOOK_PATIENCE).await;
        against = if works.is_ok() == on_mdns { 0 } else { against + 1 };
        let quiet = moved.map(|at| at.elapsed());
        if quiet.is_some_and(|quiet| quiet > pace.stay.1) {
            stay = pace.stay.0;
        }
        let enough = if on_mdns { pace.to_local } else { pace.to_mdns };
        if against < enough || quiet.is_some_and(|quiet| quiet < stay) {
            continue;
        }
        let next: Result<Arc<dyn Registry>> = match works {
            Ok(()) => shared.new_mdns(),
            Err(_) => Local::new().map(|local| Arc::new(local) as _),
        };
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "the registry stays as it is: the other does not open");
                continue;
            }
        };
        match &works {
            Ok(()) => tracing::info!("multicast works now: services are found by mDNS"),
            Err(reason) => tracing::warn!(
                reason = reason.detail(),
                "mDNS does not work any more: services are found on this machine only"
            ),
        }
        if moved.is_some() {
            stay = (stay * 2).min(pace.stay.1);
        }
        shared.move_to(next).await;
        (against, moved) = (0, Some(Instant::now()));
    }
}
