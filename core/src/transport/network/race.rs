//! Several addresses of one peer: the first that answers wins (RFC 8305, "happy eyeballs").

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

/// What an address has before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried; a name may have any number.
const MAX_ADDRESSES: usize = 16;

/// The first of `candidates` that `connect` gets through to. Each begins when the one before has failed, or has had its head
/// start; those that are late are dropped.
///
/// # Errors
/// That of the candidate which failed first: the preferred one's, as a rule.
pub(in crate::transport) async fn race<C, T, F>(
    candidates: impl IntoIterator<Item = C>,
    connect: impl Fn(C) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut candidates: VecDeque<C> = candidates.into_iter().take(MAX_ADDRESSES).collect();
    let mut running = FuturesUnordered::new();
    let mut failed = None;
    loop {
        match candidates.pop_front() {
            Some(candidate) => running.push(connect(candidate)),
            None if running.is_empty() => {
                return Err(failed.unwrap_or_else(|| Error::from(ErrorKind::NotFound)));
            }
            None => {}
        }
        let head_start = async {
            if candidates.is_empty() {
                std::future::pending().await
            } else {
                sleep(HEAD_START).await;
            }
        };
        tokio::select! {
            biased;
            ended = running.next() => match ended {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => _ = failed.get_or_insert(error),
                None => {}
            },
            () = head_start => {}
        }
    }
}

/// Addresses of both families in turn, beginning with that of the first, which the system prefers.
pub(super) fn interleave(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let addresses: Vec<_> = addresses.into_iter().collect();
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let (mut preferred, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let mut out = Vec::with_capacity(preferred.len() + other.len());
    while !(preferred.is_empty() && other.is_empty()) {
        out.extend(preferred.pop_front());
        out.extend(other.pop_front());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    use tokio::time::Instant;

    /// How an address behaves.
    #[derive(Clone, Copy)]
    enum Peer {
        Answers(u64),
        Refuses(u64),
        Swallows,
    }
    use Peer::*;

    /// Who won, after how many milliseconds, and when each was tried.
    async fn run(peers: &[Peer]) -> (Result<usize>, u128, Vec<u128>) {
        let begun = Instant::now();
        let tried = Mutex::new(Vec::new());
        let won = race(peers.iter().enumerate(), |(index, peer)| {
            let tried = &tried;
            async move {
                tried.lock().unwrap().push(begun.elapsed().as_millis());
                match *peer {
                    Answers(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Ok(index)
                    }
                    Refuses(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Err(Error::other(format!("{index}")))
                    }
                    Swallows => std::future::pending().await,
                }
            }
        })
        .await;
        let tried = tried.into_inner().unwrap();
        (won, begun.elapsed().as_millis(), tried)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_swallows_packets_costs_its_head_start() {
        let (won, took, tried) = run(&[Swallows, Answers(5)]).await;
        assert_eq!((won.unwrap(), took, tried), (1, 255, vec![0, 250]));
        let (won, took, _) = run(&[Swallows, Swallows, Swallows, Answers(5)]).await;
        assert_eq!((won.unwrap(), took), (3, 755));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_refuses_costs_nothing_and_one_that_answers_is_alone() {
        let (won, took, tried) = run(&[Refuses(1), Answers(5)]).await;
        assert_eq!((won.unwrap(), took, tried), (1, 6, vec![0, 1]));
        let (won, took, tried) = run(&[Answers(100), Answers(5)]).await;
        assert_eq!((won.unwrap(), took, tried), (0, 100, vec![0]));
        // The one that was late wins all the same.
        let (won, took, _) = run(&[Answers(300), Swallows]).await;
        assert_eq!((won.unwrap(), took), (0, 300));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_the_first_says_why() {
        let (won, took, _) = run(&[Refuses(1), Refuses(1), Refuses(1)]).await;
        assert_eq!((won.unwrap_err().to_string(), took), ("0".to_owned(), 3));
        assert_eq!(run(&[]).await.0.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_with_any_number_of_addresses_is_tried_at_a_few() {
        let peers = vec![Refuses(0); 1_000];
        let (_, _, tried) = run(&peers).await;
        assert_eq!(tried.len(), MAX_ADDRESSES);
    }

    #[test]
    fn families_take_turns_beginning_with_the_preferred_one() {
        let parse = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|address| address.parse().unwrap()).collect()
        };
        let given = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let wanted = parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(interleave(given), wanted);
        let given = parse(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"]);
        let wanted = parse(&["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]);
        assert_eq!(interleave(given), wanted);
        assert_eq!(interleave([]), []);
    }
}
