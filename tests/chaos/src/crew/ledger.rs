//! What workers have said, kept outside of the broker.

use std::collections::{BTreeMap, BTreeSet};

use super::worker::{KEYS, MAX_ATTEMPTS};

/// A message: who published it, and its number there.
type Message = (String, u64);

/// What workers have said.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Acknowledged by the broker.
    published: BTreeSet<Message>,
    /// Not acknowledged: they may be there or not.
    pub(crate) failed: usize,
    /// When each attempt was made, in nanoseconds since 1970.
    attempts: BTreeMap<Message, BTreeMap<u32, u128>>,
    /// Attempts that were made twice, or are more than are allowed.
    pub(crate) wrong: Vec<String>,
}

impl Ledger {
    /// Notes a line: `published w1 7`, `failed w1 8` or `got w1 7 ATTEMPT TIME`.
    pub(crate) fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse().unwrap_or_default();
        match words[..] {
            ["published", name, nth] => {
                self.published.insert((name.to_owned(), number(nth)));
            }
            ["failed", ..] => self.failed += 1,
            ["got", name, nth, attempt, time] => {
                let message = (name.to_owned(), number(nth));
                let attempt = attempt.parse().unwrap_or_default();
                let time = time.parse().unwrap_or_default();
                let attempts = self.attempts.entry(message).or_default();
                if attempts.insert(attempt, time).is_some()
                    || !(1..=MAX_ATTEMPTS).contains(&attempt)
                {
                    self.wrong.push(line.to_owned());
                }
            }
            // The last words of one that was killed.
            _ => {}
        }
    }

    /// Messages that the broker has taken.
    pub(crate) fn published(&self) -> &BTreeSet<Message> {
        &self.published
    }

    /// How many of them no consumer has seen.
    pub(crate) fn missing(&self) -> usize {
        self.published.iter().filter(|message| !self.attempts.contains_key(message)).count()
    }

    /// How many were delivered more than once.
    pub(crate) fn redelivered(&self) -> usize {
        self.attempts.values().filter(|attempts| attempts.len() > 1).count()
    }

    /// Messages that came before one of their key that was published before them.
    pub(crate) fn out_of_order(&self) -> usize {
        let mut last: BTreeMap<(&str, u64), u128> = BTreeMap::new();
        let mut count = 0;
        for message in &self.published {
            let Some(first) = self.attempts.get(message).and_then(|all| all.values().min()) else {
                continue;
            };
            let last = last.entry((&message.0, message.1 % KEYS)).or_default();
            count += usize::from(first < last);
            *last = *first;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_counted() {
        let mut ledger = Ledger::default();
        for line in [
            "published a 0",
            "published a 4",
            "published a 5",
            "published a 8",
            "got a 0 1 10",
            "got a 8 1 20",
            "got a 4 1 30",
            "got a 4 2 40",
            "go",
        ] {
            ledger.note(line);
        }
        assert_eq!((ledger.missing(), ledger.redelivered(), ledger.out_of_order()), (1, 1, 1));
        assert!(ledger.wrong.is_empty());
        ledger.note("got a 4 2 50");
        ledger.note("got a 5 999 60");
        assert_eq!(ledger.wrong.len(), 2);
    }
}
