//! Ids of 64 bits that grow with time, without asking anybody: time, machine and a sequence.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

const MACHINE_BITS: u32 = 10;
const SEQUENCE_BITS: u32 = 12;
/// Machines that are told apart.
const MACHINES: u16 = 1 << MACHINE_BITS;
/// 2008-11-10T23:00:00Z, where go-micro counts from.
const EPOCH: Duration = Duration::from_secs(1_226_358_000);

/// Makes ids of 41 bits of milliseconds, 10 of a machine and 12 of a sequence, as go-micro's do. They are unique among machines with
/// numbers of their own, and each is above all that this made before: also when the clock is put back, and when more than 4096 are
/// made in a millisecond, as time is borrowed then. A process that is started again with a clock that was put back may repeat some.
///
/// ```
/// use micro::snowflake::Snowflake;
///
/// # fn main() -> micro::Result<()> {
/// let ids = Snowflake::new(7)?;
/// let (first, second) = (ids.next(), ids.next());
/// assert!(second > first);
/// assert_eq!(ids.parts(first).machine, 7);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Snowflake {
    machine: u64,
    epoch: SystemTime,
    /// Milliseconds and sequence of the last id.
    last: AtomicU64,
}

/// What an id is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// When it was made, to the millisecond.
    pub time: SystemTime,
    /// By which machine.
    pub machine: u16,
    /// As which of this millisecond.
    pub sequence: u16,
}

impl Snowflake {
    /// For the machine of this number, below 1024. Time counts from 2008-11-10T23:00:00Z, and ids have 63 bits until 2078.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a greater number.
    pub fn new(machine: u16) -> Result<Self> {
        Self::since(machine, UNIX_EPOCH + EPOCH)
    }

    /// As [`new`](Self::new), with time that counts from another moment, which may not be changed later.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a number of 1024 or more, and a moment that is to come.
    pub fn since(machine: u16, epoch: SystemTime) -> Result<Self> {
        if machine >= MACHINES {
            return Err(Error::invalid_argument(format!(
                "machine {machine}: ids have room for numbers below {MACHINES}"
            )));
        }
        if epoch > SystemTime::now() {
            return Err(Error::invalid_argument("ids cannot count from a moment that is to come"));
        }
        Ok(Self { machine: u64::from(machine), epoch, last: AtomicU64::new(0) })
    }

    /// The next id.
    pub fn next(&self) -> u64 {
        self.next_at(SystemTime::now())
    }

    fn next_at(&self, now: SystemTime) -> u64 {
        let millis = now.duration_since(self.epoch).unwrap_or_default().as_millis() as u64;
        let now = millis << SEQUENCE_BITS;
        let later = |last: u64| Some(now.max(last + 1));
        // What comes is above what was, whatever the clock says.
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
        let next = now.max(last.unwrap_or_default() + 1);
        let (millis, sequence) = (next >> SEQUENCE_BITS, next & ((1 << SEQUENCE_BITS) - 1));
        (millis << (MACHINE_BITS + SEQUENCE_BITS)) | (self.machine << SEQUENCE_BITS) | sequence
    }

    /// What an id is made of that counts from the same moment.
    pub fn parts(&self, id: u64) -> Parts {
        let machine = (id >> SEQUENCE_BITS) & u64::from(MACHINES - 1);
        let millis = id >> (MACHINE_BITS + SEQUENCE_BITS);
        Parts {
            time: self.epoch + Duration::from_millis(millis),
            machine: machine as u16,
            sequence: (id & ((1 << SEQUENCE_BITS) - 1)) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn an_id_says_when_and_where_it_was_made() {
        let ids = Snowflake::new(1023).unwrap();
        let time = UNIX_EPOCH + EPOCH + Duration::from_millis(5);
        // 5 ms, the last machine, the first of its sequence: by hand.
        assert_eq!(ids.next_at(time), (5 << 22) | (1023 << 12));
        assert_eq!(ids.next_at(time), (5 << 22) | (1023 << 12) | 1);
        assert_eq!(
            ids.parts((5 << 22) | (1023 << 12) | 1),
            Parts { time, machine: 1023, sequence: 1 }
        );
        let now = SystemTime::now();
        let made = ids.parts(ids.next()).time;
        assert!(now.duration_since(made).unwrap_or_default() < Duration::from_millis(2));
        assert!(Snowflake::new(1024).unwrap_err().detail().contains("below 1024"));
        assert!(Snowflake::since(0, now + Duration::from_secs(60)).is_err());
    }

    #[test]
    fn ids_grow_when_the_clock_is_put_back_and_when_a_millisecond_is_full() {
        let ids = Snowflake::new(0).unwrap();
        let time = UNIX_EPOCH + EPOCH + Duration::from_millis(1000);
        let mut before = ids.next_at(time);
        for _ in 0..5000 {
            let next = ids.next_at(time);
            assert!(next > before);
            before = next;
        }
        assert_eq!(ids.parts(before).sequence, 5000 - 4096);
        assert!(ids.next_at(time - Duration::from_millis(900)) > before);
    }

    #[test]
    fn threads_share_no_id() {
        let ids = Snowflake::new(0).unwrap();
        let made: Vec<Vec<u64>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..10_000).map(|_| ids.next()).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|own| own.is_sorted()));
        assert_eq!(made.iter().flatten().collect::<HashSet<_>>().len(), 40_000);
    }
}
