//! How many messages of a stream a host is ready for.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

/// Messages a host may be ready for at once; what it grants beyond is not counted.
const MOST: usize = 1 << 20;

/// How long a message may wait for its reader before a warning.
const PATIENCE: Duration = Duration::from_secs(5);

/// Messages granted and not yet delivered.
#[derive(Debug)]
pub(crate) struct Credit {
    granted: Semaphore,
    /// The host has been warned: once for each stream.
    warned: AtomicBool,
}

impl Default for Credit {
    fn default() -> Self {
        Self { granted: Semaphore::new(0), warned: AtomicBool::new(false) }
    }
}

impl Credit {
    /// The host is ready for `messages` more.
    pub(crate) fn grant(&self, messages: u32) {
        let room = MOST.saturating_sub(self.granted.available_permits());
        self.granted.add_permits(room.min(messages as usize));
    }

    /// Waits until one may be delivered, and counts it as delivered. `stream` is named by the warning about a reader that is
    /// slower than the stream.
    pub(crate) async fn spend(&self, stream: &impl fmt::Display) {
        if let Ok(permit) = self.granted.try_acquire() {
            return permit.forget();
        }
        let granted = self.granted.acquire();
        tokio::pin!(granted);
        if !self.warned.load(Ordering::Relaxed) {
            if let Ok(permit) = tokio::time::timeout(PATIENCE, &mut granted).await {
                // Never closed.
                return permit.map_or((), |permit| permit.forget());
            }
            if !self.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    target: "micro::bridge",
                    "{stream} is read slower than it is sent: its sender waits"
                );
            }
        }
        if let Ok(permit) = granted.await {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_waited_for_and_warned_of_once() {
        let credit = Credit::default();
        credit.grant(1);
        credit.spend(&"quick").await;
        assert!(!credit.warned.load(Ordering::Relaxed));
        for _ in 0..2 {
            let late = async {
                tokio::time::sleep(PATIENCE * 2).await;
                credit.grant(1);
            };
            tokio::join!(credit.spend(&"slow"), late);
            assert!(credit.warned.load(Ordering::Relaxed));
        }
    }
}
