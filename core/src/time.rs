//! Sums of moments and durations that a user's number cannot break.

use std::time::Duration;

use tokio::time::Instant;

/// What "no limit" is in practice: clocks of some platforms overflow when much more is added.
const FAR: Duration = Duration::from_secs(30 * 366 * 24 * 3600);

/// The moment `wait` from now, for waits of any length: what no clock can say, such as
/// [`Duration::MAX`], is about thirty years away and so never comes.
///
/// ```
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let never = micro::deadline_after(Duration::MAX);
/// assert!(tokio::time::timeout_at(never, async {}).await.is_ok());
/// # }
/// ```
pub fn deadline_after(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait.min(FAR)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_kept_to_the_moment_and_an_endless_one_never_ends() {
        let start = Instant::now();
        assert_eq!(deadline_after(Duration::ZERO), start);
        assert_eq!(
            deadline_after(Duration::from_millis(1500)) - start,
            Duration::from_millis(1500)
        );
        for endless in
            [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_millis(u64::MAX)]
        {
            let years = (deadline_after(endless) - start).as_secs() / (365 * 24 * 3600);
            assert_eq!(years, 30, "{endless:?}");
        }
    }
}
