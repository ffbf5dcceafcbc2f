//! Work that is done once.

use std::sync::Arc;
use std::time::Duration;

use super::held::Held;
use super::{Locks, kept, names, over};
use crate::error::Result;
use crate::store::{Batch, Change, Condition, Store};

/// Does `work` once in the fleet: others that come meanwhile wait, and whoever comes within the time `remembered`, at least a millisecond, does
/// nothing. None where it was done before. Work that fails or whose process dies is done by the next. Work that is cut off from the
/// store for too long is cancelled, as another may begin it then; what it changes under its [`Held::fence`] is refused from then on.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use micro::store::{Memory, Store};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
/// # let store: Arc<dyn Store> = Arc::new(Memory::new());
/// let day = Duration::from_secs(24 * 60 * 60);
/// let done = micro::sync::once(&store, "import of 28 November", day, async |_| Ok(7)).await?;
/// assert_eq!(done, Some(7));
/// let again = micro::sync::once(&store, "import of 28 November", day, async |_| Ok(8)).await?;
/// assert_eq!(again, None);
/// # Ok(()) }
/// ```
///
/// # Errors
/// That of the work; `ABORTED` when it was cut off; `INVALID_ARGUMENT` for a name of none or more than 256 bytes, `UNAVAILABLE` when the
/// store cannot be reached.
pub async fn once<T, F>(
    store: &Arc<dyn Store>,
    name: &str,
    remembered: Duration,
    work: impl FnOnce(Arc<Held>) -> F,
) -> Result<Option<T>>
where
    F: Future<Output = Result<T>>,
{
    let key = names::line("once", name)?;
    let is_done = async || store.read(&kept::place(), &key).await.map(|done| done.is_some());
    if is_done().await? {
        return Ok(None);
    }
    let locks: Arc<dyn Locks> = over(store.clone());
    let held = Arc::new(locks.once(name.to_owned()).await?);
    if is_done().await? {
        held.release().await?;
        return Ok(None);
    }
    let done = tokio::select! {
        biased;
        () = held.lost() => Err(held.check().err().unwrap_or_else(|| crate::Error::cancelled("lost"))),
        done = work(held.clone()) => done,
    };
    let done = match done {
        Ok(done) => done,
        Err(error) => {
            let _ = held.release().await;
            return Err(error);
        }
    };
    let change = Change::write(kept::place(), key.clone(), held.who().to_owned())
        .only_if(Condition::Absent)
        .expires_in(remembered);
    let fences = vec![held.fence().await?];
    store.apply(Batch { fences, ..change.into() }).await?;
    held.release().await?;
    Ok(Some(done))
}
