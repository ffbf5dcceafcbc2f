//! A source by URL.

use std::sync::{Arc, LazyLock};

use super::source::{Env, File, Http, Source, Stored};
use crate::error::{Error, Result};
use crate::plugin::{Provided, Schemes};

/// The sources of this process by scheme.
static SCHEMES: LazyLock<Schemes<dyn Source>> = LazyLock::new(|| {
    Schemes::<dyn Source>::new("configuration source")
        .with("env", |rest| Ok(Arc::new(Env::from_url(rest))))
        .with("file", |rest| Ok(Arc::new(File::from_url(rest)?)))
        .with("http", |rest| Ok(Arc::new(Http::new(&format!("http://{rest}"))?)))
        .with("https", |rest| Ok(Arc::new(Http::new(&format!("https://{rest}"))?)))
        .with("store", |rest| Ok(Arc::new(Stored::from_url(rest)?)))
});

/// Makes what sources share in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    LazyLock::force(&SCHEMES);
}

/// The source that `url` names.
///
/// | URL | source |
/// |---|---|
/// | `env://`, `env://SHOP` | [`Env`]: variables, of a prefix |
/// | `file:///etc/shop.yaml`, `file://shop.d` | [`File`]: a file or a folder; not absolute without the third `/` |
/// | `http://…`, `https://…` | [`Http`] |
/// | `store://memory://shop?key=shop.yaml` | [`Stored`]: a record of a [store](crate::store::connect), with `database` and `table` |
///
/// # Errors
/// `INVALID_ARGUMENT` for an unknown scheme or a URL its source cannot read, `INTERNAL` when opening it panics; whatever else opening it
/// failed with.
pub fn connect(url: &str) -> Result<Arc<dyn Source>> {
    SCHEMES.open(url).map_err(|error| match error.detail().starts_with("unknown") {
        true => error,
        false => Error::new(error.code(), format!("{}: {}", shown(url), error.detail())),
    })
}

/// A URL without what may be a secret.
fn shown(url: &str) -> &str {
    let url = url.split('?').next().unwrap_or(url);
    if url.contains('@') { url.split("://").next().unwrap_or(url) } else { url }
}

/// Makes a source of one's own known to this process by the scheme of its URL. `open` is given what follows `://`, and returns at once.
///
/// ```
/// use std::sync::Arc;
///
/// use micro::config::{self, Config, Memory};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
/// config::provide("fixed", |name| Ok(Arc::new(Memory::new(serde_json::json!({"name": name}))?)))?;
/// let config = Config::builder().source("fixed://shop").load().await?;
/// assert_eq!(config.get("name").string()?, "shop");
/// # Ok(()) }
/// ```
///
/// # Errors
/// `INVALID_ARGUMENT` for what cannot be a scheme, `ALREADY_EXISTS` for one that is taken, also by a source of this crate.
pub fn provide(
    scheme: &str,
    open: impl Fn(&str) -> Result<Arc<dyn Source>> + Send + Sync + 'static,
) -> Result<Provided> {
    SCHEMES.provide(scheme, open)
}
