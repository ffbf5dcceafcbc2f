//! Events that come in bursts, put together.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::time::deadline_after;

/// Takes events from a channel, many at a time: those that come within a time of the first, up to so many. What comes while they are worked
/// at waits in the channel, which has a bound of its own; what is left when it closes is handed out too.
///
/// ```
/// use std::time::Duration;
///
/// use micro::bursts::Bursts;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (events, input) = tokio::sync::mpsc::channel(64);
/// let mut bursts = Bursts::new(input, Duration::from_millis(5), 100);
/// events.send("changed").await.unwrap();
/// events.send("changed again").await.unwrap();
/// assert_eq!(bursts.next().await, Some(vec!["changed", "changed again"]));
/// drop(events);
/// assert_eq!(bursts.next().await, None);
/// # }
/// ```
#[derive(Debug)]
pub struct Bursts<T> {
    input: mpsc::Receiver<T>,
    wait: Duration,
    most: usize,
    /// What has come, and until when more is waited for.
    come: Vec<T>,
    until: Option<Instant>,
}

impl<T> Bursts<T> {
    /// Those that come within `wait` of the first; `most` of them at most, and at least one.
    pub fn new(input: mpsc::Receiver<T>, wait: Duration, most: usize) -> Self {
        Self { input, wait, most: most.max(1), come: Vec::new(), until: None }
    }

    /// The next burst, none when the channel is closed. Waiting may be given up at any time, and nothing is lost by it.
    pub async fn next(&mut self) -> Option<Vec<T>> {
        loop {
            let room = self.most - self.come.len();
            let until = match self.until {
                _ if room == 0 => break,
                None => {
                    if self.input.recv_many(&mut self.come, room).await == 0 {
                        return None;
                    }
                    self.until = Some(deadline_after(self.wait));
                    continue;
                }
                Some(until) => until,
            };
            match timeout_at(until, self.input.recv_many(&mut self.come, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.until = None;
        Some(std::mem::take(&mut self.come))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_burst_ends_a_time_after_its_first_or_when_it_is_full() {
        let (events, input) = mpsc::channel(64);
        let mut bursts = Bursts::new(input, WAIT, 3);
        events.send(1).await.unwrap();
        let begun = Instant::now();
        let more = tokio::spawn(async move {
            tokio::time::sleep(WAIT * 9 / 10).await;
            events.send(2).await.unwrap();
            tokio::time::sleep(WAIT * 2 / 10).await;
            for event in 3..8 {
                events.send(event).await.unwrap();
            }
            events
        });
        // The second does not begin the time anew.
        assert_eq!(bursts.next().await, Some(vec![1, 2]));
        assert_eq!(begun.elapsed(), WAIT);
        assert_eq!(bursts.next().await, Some(vec![3, 4, 5]));
        assert_eq!(begun.elapsed(), WAIT * 11 / 10, "what is full is not waited for");
        let events = more.await.unwrap();
        drop(events);
        assert_eq!(bursts.next().await, Some(vec![6, 7]), "what is left is handed out");
        assert_eq!(bursts.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_lost_when_waiting_is_given_up() {
        let (events, input) = mpsc::channel(64);
        let mut bursts = Bursts::new(input, WAIT, 3);
        events.send(1).await.unwrap();
        assert!(tokio::time::timeout(WAIT / 2, bursts.next()).await.is_err());
        events.send(2).await.unwrap();
        let begun = Instant::now();
        assert_eq!(bursts.next().await, Some(vec![1, 2]));
        assert_eq!(begun.elapsed(), WAIT / 2);
    }
}
