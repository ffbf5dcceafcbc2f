//! Leases, on which keys end: granted, kept for the next key, and asked for the time that is left.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use micro::Result;
use tokio::sync::Semaphore;

use crate::link::Link;
use crate::proto::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseRequest, LeaseResponse, LeaseRevokeResponse,
};

const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const TIME_TO_LIVE: &str = "/etcdserverpb.Lease/LeaseTimeToLive";
/// Leases without a key that are kept, at most.
const SPARE: usize = 64;
/// Leases that are given back at once, at most. Others end by themselves.
const REVOKED_AT_ONCE: usize = 16;
/// The longest time that servers grant.
const LONGEST: i64 = 9_000_000_000;

/// A lease, on which one key is, or will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) id: i64,
    /// What it was asked for.
    seconds: i64,
    /// What the servers made of that.
    granted: i64,
}

impl Lease {
    /// Another, which is probably like this one.
    pub(crate) fn like(self, id: i64) -> Self {
        Self { id, ..self }
    }
}

/// The leases of this process.
#[derive(Debug)]
pub(crate) struct Leases {
    link: Arc<Link>,
    /// Those without a key, by the seconds they are for.
    spare: Mutex<HashMap<i64, Vec<Lease>>>,
    revoking: Arc<Semaphore>,
}

impl Leases {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        let revoking = Arc::new(Semaphore::new(REVOKED_AT_ONCE));
        Self { link, spare: Mutex::default(), revoking }
    }

    /// A lease that lasts this long from now on, rounded up to seconds; the servers have a shortest time of their own, 2 s unless
    /// they are told otherwise.
    pub(crate) async fn take(&self, time: Duration) -> Result<Lease> {
        let seconds = i64::try_from(time.as_secs_f64().ceil() as u64).unwrap_or(LONGEST);
        let seconds = seconds.clamp(1, LONGEST);
        if let Some(lease) = self.spare(seconds) {
            match self.refresh(lease.id).await? {
                granted if granted == lease.granted => return Ok(lease),
                granted if granted > 0 => self.revoke(lease.id),
                _ => {}
            }
        }
        let request = LeaseGrantRequest { ttl: seconds };
        let granted: LeaseGrantResponse = self.link.ask("to grant a lease", GRANT, request).await?;
        Ok(Lease { id: granted.id, seconds, granted: granted.ttl })
    }

    fn spare(&self, seconds: i64) -> Option<Lease> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let leases = spare.get_mut(&seconds)?;
        let lease = leases.pop();
        if leases.is_empty() {
            spare.remove(&seconds);
        }
        lease
    }

    /// Begins its time again, and says what that is, in seconds; less than 1 where it is over.
    async fn refresh(&self, id: i64) -> Result<i64> {
        let request = LeaseRequest { id };
        let answer: LeaseResponse = self.link.first("to keep a lease", KEEP_ALIVE, request).await?;
        Ok(answer.ttl)
    }

    /// Keeps a lease that has no key for the next that is taken, or gives it back.
    pub(crate) fn leave(&self, lease: Lease) {
        {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.values().map(Vec::len).sum::<usize>() < SPARE {
                return spare.entry(lease.seconds).or_default().push(lease);
            }
        }
        self.revoke(lease.id);
    }

    /// Gives a lease back that has no key.
    pub(crate) fn revoke(&self, id: i64) {
        let Ok(place) = Arc::clone(&self.revoking).try_acquire_owned() else { return };
        let link = self.link.clone();
        tokio::spawn(async move {
            let request = LeaseRequest { id };
            let revoked = link.ask::<_, LeaseRevokeResponse>("to revoke a lease", REVOKE, request);
            if let Err(error) = revoked.await {
                tracing::debug!(%error, "a lease stays until it ends");
            }
            drop(place);
        });
    }

    /// The time that is left, up to a second more than it is; none where it is over, and its key gone.
    pub(crate) async fn left(&self, id: i64) -> Result<Option<Duration>> {
        let request = LeaseRequest { id };
        let answer: LeaseResponse =
            self.link.look("to say what is left of a lease", TIME_TO_LIVE, request).await?;
        Ok(u64::try_from(answer.ttl).ok().map(|whole| Duration::from_secs(whole + 1)))
    }
}
