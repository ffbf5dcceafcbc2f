//! Messages: what `durable://` and the engines do, next to the servers by their own clients.

mod folder;
mod languages;
mod owner;
mod peers;
mod row;

use std::path::Path;

pub(crate) use self::languages::in_language;
use super::plan::Plan;
use super::row::Row;

pub(crate) async fn rows(plan: &Plan, root: &Path) -> Vec<Row> {
    let mut rows = peers::rows(plan, root).await;
    rows.extend(folder::rows(plan, root).await);
    rows
}
