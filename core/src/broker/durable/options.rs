//! What a `durable://` URL says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Retention};
use crate::broker::Abilities;
use crate::data::log::{Level, Recovery, Settings};
use crate::data::{Files, Owned};
use crate::error::{Error, Result};
use crate::settings::duration;
use crate::spelling::{nearest, quoted};

/// What a durable broker can do.
pub(super) const ABILITIES: Abilities = Abilities {
    redelivers: true,
    persists: true,
    replays: true,
    delays: true,
    orders_by_key: true,
    expires: true,
    deduplicates: true,
    prioritizes: true,
};

/// How a folder is kept, by whoever owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    /// Published is on the disk, not only with the system.
    is_synced: bool,
    max_bytes: u64,
    max_age: Duration,
    dedup: Duration,
}

const NAMES: [&str; 4] = ["ack", "max_bytes", "max_age", "dedup"];
/// How long ids may be remembered.
const DEDUP: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 60 * 60);

impl Default for Options {
    fn default() -> Self {
        Self {
            is_synced: true,
            max_bytes: 1 << 30,
            max_age: Duration::from_secs(7 * 24 * 60 * 60),
            dedup: Duration::from_secs(120),
        }
    }
}

impl Options {
    /// The folder and the options in what follows `durable://`.
    pub(super) fn read(rest: &str) -> Result<(Option<PathBuf>, Self)> {
        let wrong = |what: String| Error::invalid_argument(format!("durable://{rest}: {what}"));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !path.is_empty() && !path.starts_with('/') {
            return Err(wrong(format!(
                "a folder is an absolute path, after three slashes: durable:///{path}"
            )));
        }
        let mut options = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &*value) {
                ("ack", "synced") => options.is_synced = true,
                ("ack", "written") => options.is_synced = false,
                ("ack", other) => {
                    return Err(wrong(format!("ack={other}: it is `synced` or `written`")));
                }
                ("max_bytes", text) => {
                    options.max_bytes = text
                        .parse()
                        .map_err(|_| wrong(format!("max_bytes={text}: use a number of bytes")))?;
                }
                ("max_age", text) => {
                    options.max_age = duration(text)
                        .map_err(|error| wrong(format!("max_age={text}: {error}")))?;
                }
                ("dedup", text) => {
                    options.dedup =
                        duration(text).map_err(|error| wrong(format!("dedup={text}: {error}")))?;
                    if !DEDUP.contains(&options.dedup) {
                        return Err(wrong(format!("dedup={text}: it is 1s to 168h")));
                    }
                }
                (unknown, _) => {
                    let hint = match nearest(unknown, NAMES) {
                        Some(known) => format!(": did you mean {known}?"),
                        None => format!(" (known: {})", NAMES.join(", ")),
                    };
                    return Err(wrong(format!("unknown option {}{hint}", quoted(unknown))));
                }
            }
        }
        Ok(((!path.is_empty()).then(|| path.into()), options))
    }

    /// Opens the files of a folder that this process owns. Blocks.
    pub(super) fn open(self, files: Arc<Files>, owned: Owned) -> Result<(Engine, Recovery)> {
        let settings = Settings::default();
        Engine::open(files, Some(owned), settings, self.level(), self.dedup)
    }

    fn level(self) -> Level {
        if self.is_synced { Level::Synced } else { Level::Written }
    }

    pub(super) fn retention(self) -> Retention {
        Retention { bytes: self.max_bytes, age: self.max_age }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let (path, options) = Options::read("").unwrap();
        assert_eq!((path, options), (None, Options::default()));
        let url = "/var/lib/shop?ack=written&max_bytes=1000&max_age=2h&dedup=5m";
        let (path, options) = Options::read(url).unwrap();
        assert_eq!(path, Some("/var/lib/shop".into()));
        assert_eq!(options.level(), Level::Written);
        assert_eq!(options.dedup, Duration::from_secs(300));
        let retention = Retention { bytes: 1000, age: Duration::from_secs(7200) };
        assert_eq!(options.retention(), retention);
        for (url, hint) in [
            ("shop", "durable:///shop"),
            ("/x?acks=synced", "did you mean ack?"),
            ("/x?ack=none", "`synced` or `written`"),
            ("/x?max_age=soon", "max_age=soon"),
            ("/x?max_bytes=-1", "a number of bytes"),
            ("/x?dedup=0s", "1s to 168h"),
        ] {
            let error = Options::read(url).unwrap_err();
            assert!(error.detail().contains(hint), "{url}: {error}");
        }
    }
}
