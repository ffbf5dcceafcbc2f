//! What is not needed any more.

use std::sync::Arc;

use micro::Result;
use tokio::time::timeout;

use crate::link::Said;
use crate::said::{said, unreachable};
use crate::shared::Shared;
use crate::transact::{LIMIT, tried};

/// Deletions that are forgotten at a time; see [`crate::sql`].
const FORGOTTEN: usize = 1024;

/// Removes what is not needed any more, a part of it at a time.
pub(crate) async fn tidy(shared: &Arc<Shared>) -> Result<()> {
    while shared.ended().await? {
        tried(shared, None).await?;
    }
    let mut rest = FORGOTTEN;
    while rest == FORGOTTEN {
        rest = forget(shared).await?;
    }
    Ok(())
}

async fn forget(shared: &Arc<Shared>) -> Result<usize> {
    let taken = shared.link.take().await?;
    let forgetting = async {
        let sql = &shared.statements;
        taken.execute(sql.begin).await?;
        let state = taken.query(&sql.lock, &[]).await?;
        let version = state.first().map_or(0, |row| row.get::<_, i64>(1));
        let until = version.saturating_sub_unsigned(shared.link.options.history);
        let rows = taken.query(&sql.forget, &[&until]).await?;
        let floor: Option<i64> = rows.iter().map(|row| row.get(0)).max();
        if let Some(floor) = floor {
            taken.query(&sql.raise_floor, &[&floor]).await?;
        }
        taken.query(&sql.forget_fences, &[]).await?;
        taken.execute("COMMIT").await?;
        Ok(rows.len())
    };
    let done: std::result::Result<Said<usize>, _> = timeout(LIMIT, forgetting).await;
    match done {
        Ok(Ok(count)) => Ok(count),
        // What is left of the transaction ends with the connection.
        Ok(Err(error)) => {
            taken.give_up();
            Err(said(&shared.link.options, "to remove what is old", error))
        }
        Err(_) => {
            taken.give_up();
            Err(unreachable(&shared.link.options, "it did not answer in time"))
        }
    }
}
