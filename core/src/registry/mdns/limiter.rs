//! How many packets one sender gets read: a flood from one must not starve the others.

use std::collections::HashMap;
use std::net::IpAddr;

use tokio::time::Instant;

/// Packets a second that one sender gets read in the long run.
const RATE: f64 = 2000.0;
/// Packets that one sender gets read at once.
const BURST: f64 = 2000.0;
/// Most senders told apart; beyond that all start anew.
const SENDER_LIMIT: usize = 1024;

/// A token bucket for each sender.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    senders: HashMap<IpAddr, (f64, Instant)>,
}

impl Limiter {
    /// True when a packet from `sender` may be read.
    pub(super) fn admits(&mut self, sender: IpAddr, now: Instant) -> bool {
        if self.senders.len() >= SENDER_LIMIT && !self.senders.contains_key(&sender) {
            self.senders.clear();
        }
        let (tokens, filled) = self.senders.entry(sender).or_insert((BURST, now));
        *tokens = (*tokens + now.duration_since(*filled).as_secs_f64() * RATE).min(BURST);
        *filled = now;
        let admitted = *tokens >= 1.0;
        if admitted {
            *tokens -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn flood_from_one_sender_leaves_room_for_another_and_ends() {
        let (flooder, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let now = Instant::now();
        let mut limiter = Limiter::default();
        let admitted = (0..10_000).filter(|_| limiter.admits(flooder, now)).count();
        assert_eq!(admitted, 2000);
        assert!(limiter.admits(other, now));
        assert!(limiter.admits(flooder, now + Duration::from_millis(1)));
    }

    #[test]
    fn senders_remembered_are_bounded() {
        let mut limiter = Limiter::default();
        for number in 0..10_000_u32 {
            assert!(limiter.admits(IpAddr::from(number.to_be_bytes()), Instant::now()));
        }
        assert!(limiter.senders.len() <= SENDER_LIMIT);
    }
}
