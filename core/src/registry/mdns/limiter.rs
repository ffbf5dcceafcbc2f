//! What senders may cost: packets read, answers sent, descriptions inflated. Everything is counted
//! in bytes, so that a list of a thousand services passes and a few packets that inflate to much do
//! not. What one sender may cost leaves room for the others, and what all may cost together leaves
//! the machine to its work, since the sender of a packet is easily forged.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Most senders told apart; beyond that all start anew.
const SENDER_LIMIT: usize = 1024;
/// What a packet costs beside its bytes.
const PACKET_COST: usize = 128;
/// Processes of this machine share one address, and no other machine can send from it.
const LOOPBACK_FACTOR: f64 = 4.0;
/// How often it is said that something is left out.
const SAY_EVERY: Duration = Duration::from_secs(60);

const MIB: f64 = 1024.0 * 1024.0;
/// Bytes of packets read: at once, and in a second.
const PACKETS: Rates = Rates { sender: (4.0 * MIB, MIB), all: (32.0 * MIB, 8.0 * MIB) };
/// Bytes of answers sent.
const ANSWERS: Rates = Rates { sender: (4.0 * MIB, MIB), all: (32.0 * MIB, 8.0 * MIB) };
/// Bytes that descriptions of services asked for inflate to.
const ASKED: Rates = Rates { sender: (4.0 * MIB, MIB / 4.0), all: (32.0 * MIB, 4.0 * MIB) };
/// Bytes that other descriptions inflate to.
const UNASKED: Rates = Rates { sender: (4.0 * MIB, MIB / 4.0), all: (16.0 * MIB, MIB) };

/// What may be spent at once, then in a second.
type Rate = (f64, f64);

#[derive(Debug)]
struct Rates {
    sender: Rate,
    all: Rate,
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// Reading packets.
    Packets,
    /// Answering.
    Answers,
    /// Inflating what is told of services that were asked for.
    Asked,
    /// Inflating what is told of others.
    Unasked,
}

/// Buckets for each sender and for all together.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    senders: HashMap<IpAddr, Buckets>,
    all: Buckets,
    /// Left out since that was last said.
    left_out: u64,
    said: Option<Instant>,
}

#[derive(Debug, Default)]
struct Buckets([Option<Bucket>; 4]);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Cost {
    const fn rates(self) -> &'static Rates {
        match self {
            Self::Packets => &PACKETS,
            Self::Answers => &ANSWERS,
            Self::Asked => &ASKED,
            Self::Unasked => &UNASKED,
        }
    }
}

impl Limiter {
    /// True when a packet of `length` bytes from `sender` may be read.
    pub(super) fn admits(&mut self, sender: IpAddr, length: usize, now: Instant) -> bool {
        let cost = length + PACKET_COST;
        let admitted = self.left(Cost::Packets, sender, now) >= cost;
        if admitted {
            self.spend(Cost::Packets, sender, cost, now);
        } else {
            self.leave_out(sender, now);
        }
        admitted
    }

    /// Bytes that may be spent for `sender` now.
    pub(super) fn left(&mut self, cost: Cost, sender: IpAddr, now: Instant) -> usize {
        let Rates { sender: own, all } = cost.rates();
        let own = self.sender(sender).level(cost, factor(sender, *own), now);
        own.min(self.all.level(cost, *all, now)).max(0.0) as usize
    }

    /// Takes what was spent for `sender`. More than was left is a debt.
    pub(super) fn spend(&mut self, cost: Cost, sender: IpAddr, bytes: usize, now: Instant) {
        let Rates { sender: own, all } = cost.rates();
        self.sender(sender).take(cost, factor(sender, *own), bytes, now);
        self.all.take(cost, *all, bytes, now);
    }

    /// Notes that something of `sender` is left out, and says so now and then.
    pub(super) fn leave_out(&mut self, sender: IpAddr, now: Instant) {
        self.left_out += 1;
        if self.said.is_none_or(|said| now.duration_since(said) >= SAY_EVERY) {
            tracing::warn!(
                %sender,
                times = self.left_out,
                "mDNS: more is sent than is read; what goes beyond is left out until later"
            );
            (self.said, self.left_out) = (Some(now), 0);
        }
    }

    fn sender(&mut self, sender: IpAddr) -> &mut Buckets {
        if self.senders.len() >= SENDER_LIMIT && !self.senders.contains_key(&sender) {
            self.senders.clear();
        }
        self.senders.entry(sender).or_default()
    }
}

impl Buckets {
    fn level(&mut self, cost: Cost, (burst, rate): Rate, now: Instant) -> f64 {
        let bucket = self.0[cost as usize].get_or_insert(Bucket { tokens: burst, filled: now });
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + elapsed * rate).min(burst);
        bucket.filled = bucket.filled.max(now);
        bucket.tokens
    }

    fn take(&mut self, cost: Cost, rate: Rate, bytes: usize, now: Instant) {
        self.level(cost, rate, now);
        if let Some(bucket) = &mut self.0[cost as usize] {
            bucket.tokens -= bytes as f64;
        }
    }
}

fn factor(sender: IpAddr, (burst, rate): Rate) -> Rate {
    let factor = if sender.to_canonical().is_loopback() { LOOPBACK_FACTOR } else { 1.0 };
    (burst * factor, rate * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOODER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn flood_from_one_sender_leaves_room_for_another_and_ends() {
        let now = Instant::now();
        let mut limiter = Limiter::default();
        let admitted = (0..100_000).filter(|_| limiter.admits(FLOODER, 1245, now)).count();
        assert_eq!(admitted, (4 << 20) / (1245 + PACKET_COST));
        assert!(limiter.admits(OTHER, 1245, now));
        assert!(limiter.admits(FLOODER, 1245, now + Duration::from_millis(2)));
    }

    #[test]
    fn list_of_ten_thousand_services_passes() {
        let now = Instant::now();
        let mut limiter = Limiter::default();
        assert!((0..10_000).all(|_| limiter.admits(FLOODER, 250, now)));
    }

    #[test]
    fn forged_senders_have_a_limit_together() {
        let now = Instant::now();
        let mut limiter = Limiter::default();
        let senders = (0..100_000_u32).map(|number| IpAddr::from(number.to_be_bytes()));
        let admitted = senders.filter(|sender| limiter.admits(*sender, 1245, now)).count();
        assert_eq!(admitted, (32 << 20) / (1245 + PACKET_COST));
        assert!(limiter.senders.len() <= SENDER_LIMIT);
    }

    #[test]
    fn unasked_descriptions_leave_room_for_those_asked_for() {
        let now = Instant::now();
        let mut limiter = Limiter::default();
        limiter.spend(Cost::Unasked, FLOODER, 100 << 20, now);
        assert_eq!(limiter.left(Cost::Unasked, OTHER, now), 0);
        assert_eq!(limiter.left(Cost::Asked, OTHER, now), 4 << 20);
        assert!(limiter.left(Cost::Unasked, OTHER, now + Duration::from_secs(3600)) > 0);
    }
}
