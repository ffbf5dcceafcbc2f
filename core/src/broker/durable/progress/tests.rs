//! What becomes of messages, step by step and by chance.

use super::*;

const LEASE: Duration = Duration::from_secs(10);

fn loan(now: Instant, consumer: u64) -> Loan {
    Loan { consumer, lease: LEASE, until: now + LEASE }
}

fn terms(key: Option<&str>, due: Option<Instant>) -> Terms {
    Terms { key: key.map(Arc::from), due, priority: 0 }
}

/// Lends all that can be lent.
fn lend(progress: &mut Progress, now: Instant) -> Vec<(u64, u32)> {
    let mut lent = Vec::new();
    while let Some(candidate) = progress.candidate() {
        let attempt = progress.lend(candidate.sequence, loan(now, 1));
        lent.push((candidate.sequence, attempt));
    }
    lent
}

#[test]
fn messages_are_lent_once_until_they_are_settled_or_their_lease_ends() {
    let now = Instant::now();
    let mut progress = Progress::starting(5);
    for sequence in [5, 7, 9] {
        progress.took(sequence, Terms::default());
    }
    assert_eq!(lend(&mut progress, now), [(5, 1), (7, 1), (9, 1)]);
    progress.settle(7);
    assert_eq!((progress.unread(), progress.next()), (vec![5, 9], 10));
    progress.extend(9, now + LEASE / 2);
    assert_eq!(progress.advance(now + LEASE), [1]);
    assert!(!progress.is_lent(5, 1), "a lease that ended still counts");
    assert_eq!(lend(&mut progress, now + LEASE), [(5, 2)]);
    assert!(progress.is_lent(5, 2) && !progress.is_lent(5, 1) && progress.is_lent(9, 1));
    progress.left(1);
    assert_eq!(lend(&mut progress, now), [(5, 3), (9, 2)]);
    progress.settle(5);
    progress.settle(9);
    assert_eq!((progress.next(), progress.pending()), (10, 0));
    assert_eq!(progress.next_time(), None);
}

#[test]
fn a_message_waits_for_its_time() {
    let now = Instant::now();
    let mut progress = Progress::default();
    progress.took(1, terms(None, Some(now + LEASE)));
    progress.took(2, Terms::default());
    assert_eq!(lend(&mut progress, now), [(2, 1)]);
    progress.retry(2, Some(now + LEASE / 2), "failed".into());
    assert_eq!(progress.next_time(), Some(now + LEASE / 2));
    assert!(progress.advance(now + LEASE / 2).is_empty());
    let candidate = progress.candidate().unwrap();
    assert_eq!((candidate.sequence, candidate.attempts, &*candidate.reason), (2, 1, "failed"));
    progress.advance(now + LEASE);
    assert_eq!(lend(&mut progress, now), [(1, 1), (2, 2)]);
}

#[test]
fn messages_of_a_key_are_lent_one_after_the_other() {
    let now = Instant::now();
    let mut progress = Progress::default();
    for (sequence, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
        progress.took(sequence, terms(Some(key), None));
    }
    assert_eq!(lend(&mut progress, now), [(1, 1), (3, 1)]);
    progress.retry(1, Some(now + LEASE), String::new());
    progress.extend(3, now + LEASE);
    assert_eq!(lend(&mut progress, now), [], "one behind a failure overtook it");
    progress.advance(now + LEASE);
    assert_eq!(lend(&mut progress, now), [(1, 2)]);
    progress.settle(1);
    assert_eq!(lend(&mut progress, now), [(2, 1)]);
    progress.settle(4);
    progress.settle(2);
    assert_eq!(lend(&mut progress, now), []);
    progress.took(5, terms(Some("a"), None));
    assert_eq!(lend(&mut progress, now), [(5, 1)]);
    assert_eq!(progress.keys.len(), 2);
    progress.settle(5);
    progress.settle(3);
    assert!(progress.keys.is_empty(), "keys are kept after their last message");
}

#[test]
fn a_higher_priority_is_lent_first_and_never_before_an_older_message_of_its_key() {
    let now = Instant::now();
    let mut progress = Progress::default();
    for (sequence, key, priority) in
        [(1, None, 0), (2, Some("a"), 1), (3, Some("a"), 9), (4, None, 5), (5, None, 5)]
    {
        progress.took(sequence, Terms { priority, ..terms(key, None) });
    }
    assert_eq!(lend(&mut progress, now), [(4, 1), (5, 1), (2, 1), (1, 1)]);
    progress.settle(2);
    progress.retry(1, None, String::new());
    assert_eq!(lend(&mut progress, now), [(3, 1), (1, 2)]);
}

#[test]
fn a_message_behind_another_of_its_key_waits_for_its_own_time_too() {
    let now = Instant::now();
    let mut progress = Progress::default();
    progress.took(1, terms(Some("a"), None));
    progress.took(2, terms(Some("a"), Some(now + LEASE / 2)));
    progress.took(3, terms(Some("a"), Some(now)));
    assert_eq!(lend(&mut progress, now), [(1, 1)]);
    progress.settle(1);
    progress.advance(now);
    assert_eq!(lend(&mut progress, now), [], "it came before its time");
    progress.advance(now + LEASE / 2);
    assert_eq!(lend(&mut progress, now), [(2, 1)]);
    progress.settle(2);
    progress.advance(now + LEASE / 2);
    assert_eq!(lend(&mut progress, now), [(3, 1)]);
}

#[test]
fn progress_reads_as_it_was_written() {
    let now = Instant::now();
    let mut progress = Progress::starting(3);
    for sequence in [3, 10, 1000] {
        progress.took(sequence, terms(Some("k"), None));
    }
    lend(&mut progress, now);
    progress.settle(10);
    let mut read = Progress::read(&progress.write()).unwrap();
    assert_eq!((read.next(), read.unread()), (1001, vec![3, 1000]));
    for sequence in read.unread() {
        read.took(sequence, terms(Some("k"), None));
    }
    assert_eq!(lend(&mut read, now), [(3, 2)]);
    assert!(Progress::read(b"\xff").is_err());
}

#[test]
fn whatever_happens_a_message_is_in_one_place_and_none_is_forgotten() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut now = Instant::now();
        let mut progress = Progress::default();
        let mut unsettled = BTreeSet::new();
        for _ in 0..200 {
            let known: Vec<u64> = unsettled.iter().copied().collect();
            let any = random.choice(known).unwrap_or(1);
            match random.u8(..8) {
                0 | 1 => {
                    let sequence = progress.next() + random.u64(1..3);
                    let key = ["a", "b"].get(random.usize(..3)).copied();
                    let due = random.bool().then(|| now + Duration::from_secs(random.u64(..20)));
                    let priority = random.u8(..3);
                    progress.took(sequence, Terms { priority, ..terms(key, due) });
                    unsettled.insert(sequence);
                }
                2 => {
                    if let Some(candidate) = progress.candidate() {
                        progress.lend(candidate.sequence, loan(now, random.u64(..3)));
                    }
                }
                3 => {
                    progress.settle(any);
                    unsettled.remove(&any);
                }
                4 if matches!(
                    progress.pending.get(&any),
                    Some(Pending { at: At::Lent(_), .. })
                ) =>
                {
                    progress.retry(any, Some(now + LEASE), String::new());
                }
                5 => progress.left(random.u64(..3)),
                6 => progress.extend(any, now),
                _ => {
                    now += Duration::from_secs(random.u64(..8));
                    progress.advance(now);
                }
            }
            let behind = progress.keys.values().map(VecDeque::len).sum::<usize>();
            let places = progress.ready.len() + progress.waiting.len() + progress.lent.len();
            assert_eq!(behind + places, progress.pending.len(), "seed {seed}");
            assert_eq!(progress.unread(), Vec::from_iter(unsettled.iter().copied()));
        }
        // With time and consumers, all are settled in the end.
        for _ in 0..1000 {
            now += LEASE * 3;
            progress.advance(now);
            while let Some(candidate) = progress.candidate() {
                progress.lend(candidate.sequence, loan(now, 0));
                progress.settle(candidate.sequence);
            }
        }
        assert_eq!(progress.pending(), 0, "seed {seed}");
        assert!(progress.keys.is_empty());
    }
}
