//! Where a PostgreSQL of the test's own is.

use std::path::Path;

use tokio_postgres::Config;

/// The database whose socket is in a folder.
pub(crate) fn config(folder: &Path) -> Config {
    let mut config = Config::new();
    config.host_path(folder).user("shop").dbname("postgres");
    config
}
