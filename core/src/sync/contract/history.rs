//! What holders did, and whether they may have.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What was done under tokens, in the order in which it was done.
#[derive(Debug, Default)]
pub struct History(Mutex<Vec<u64>>);

impl History {
    /// Something was done by the holder of this token.
    pub fn act(&self, token: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(token);
    }

    /// All that was done.
    pub fn acts(&self) -> Vec<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether what was done is what holders may do that are at most so many at a time: from its first act to its last one holds it, and
/// where there is one holder, each has a greater token than those before.
///
/// # Errors
/// Says which acts contradict each other.
pub fn check(acts: &[u64], room: usize) -> Result<(), String> {
    let last: HashMap<u64, usize> =
        acts.iter().enumerate().map(|(at, token)| (*token, at)).collect();
    let mut holding: Vec<u64> = Vec::new();
    let mut newest = 0;
    for (at, token) in acts.iter().enumerate() {
        if !holding.contains(token) {
            if room == 1 && *token <= newest {
                return Err(format!("act {at}: token {token} is not above {newest}"));
            }
            newest = newest.max(*token);
            holding.push(*token);
        }
        if holding.len() > room {
            return Err(format!(
                "act {at}: {holding:?} hold it at once, and there is room for {room}"
            ));
        }
        holding.retain(|holder| last.get(holder) > Some(&at));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_holder_after_the_other_did_is_right() {
        assert_eq!(check(&[], 1), Ok(()));
        assert_eq!(check(&[3, 3, 5, 9, 9, 9], 1), Ok(()));
        assert_eq!(check(&[3, 5, 3, 5, 9], 2), Ok(()));
    }

    #[test]
    fn two_at_once_and_tokens_that_fall_are_found() {
        assert!(check(&[3, 5, 3], 1).unwrap_err().contains("act 1: [3, 5] hold it at once"));
        assert!(check(&[5, 5, 3], 1).unwrap_err().contains("token 3 is not above 5"));
        assert!(check(&[3, 5, 7, 3, 5, 7], 2).unwrap_err().contains("room for 2"));
    }
}
