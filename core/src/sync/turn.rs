//! Waiting for one's turn.

use std::time::Duration;

use tokio::time::sleep;

use super::keeper::Keeper;
use super::line::{Ends, Line, Step, look};
use super::{Locks, Standing};
use crate::error::Result;

/// The first pause before a line that could not be watched is watched again; twice as long each time.
const PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Where a contender stands.
pub(super) enum Turn {
    /// It holds.
    Now,
    /// It waits behind these.
    Behind(Vec<Standing>),
    /// It is out of the line.
    Out,
}

/// Looks where a contender stands, in a line for `room` holders.
///
/// # Errors
/// As [`Locks::line`].
pub(super) async fn turn(keeper: &Keeper, room: usize) -> Result<Turn> {
    let line = look(&*keeper.locks, &keeper.line).await?;
    Ok(stands(keeper, room, line))
}

fn stands(keeper: &Keeper, room: usize, mut line: Vec<Standing>) -> Turn {
    let id = &keeper.contender.id;
    let Some(ahead) = line.iter().position(|one| one.contender.id == *id) else { return Turn::Out };
    line.truncate(ahead);
    match ahead < room {
        true => Turn::Now,
        false => Turn::Behind(line),
    }
}

/// Waits until a contender holds; false when it is out of the line before.
pub(super) async fn wait(keeper: &Keeper, room: usize) -> bool {
    let waits = async {
        let mut pause = PAUSE;
        loop {
            match watch(&*keeper.locks, keeper, room).await {
                Ok(turn) => return turn,
                // The place is kept meanwhile, or lost.
                Err(error) => {
                    tracing::debug!(%error, line = keeper.line, "a line cannot be watched and is tried again");
                    sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = keeper.lost() => false,
        turn = waits => turn,
    }
}

async fn watch(locks: &dyn Locks, keeper: &Keeper, room: usize) -> Result<bool> {
    let mut line = Line::watch(locks, &keeper.line).await?;
    loop {
        let ahead = match stands(keeper, room, line.look().await?) {
            Turn::Now => return Ok(true),
            Turn::Out => return Ok(false),
            Turn::Behind(ahead) => ahead,
        };
        let mut ends = Ends::of(&ahead);
        loop {
            match line.step(&mut ends).await? {
                Step::Other | Step::New => {}
                Step::Gone if ends.len() >= room => {}
                Step::Gone | Step::Look => break,
            }
        }
    }
}
