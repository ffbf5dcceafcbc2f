//! What a `durable://` URL says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Retention;
use crate::broker::{Abilities, check_topic};
use crate::data::log::Level;
use crate::data::{Folder, Terms};
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

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the user's own folder.
    Default,
    /// In this folder.
    Folder(PathBuf),
    /// With the service of this name.
    Named(String),
}

impl Place {
    /// The folder, unless it is with a service.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` where the user's own is not known.
    pub(super) fn folder(&self) -> Result<Option<PathBuf>> {
        match self {
            Self::Default => Folder::default_path().map(Some),
            Self::Folder(path) => Ok(Some(path.clone())),
            Self::Named(_) => Ok(None),
        }
    }
}

/// Characters of a service's name.
const MAX_NAME: usize = 200;

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.".contains(character)
}

/// How a folder is kept, by whoever owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// Published is on the disk, not only with the system.
    is_synced: bool,
    max_bytes: u64,
    max_age: Duration,
    dedup: Duration,
    /// Topics of which the last message of each key is kept.
    compact: Arc<[String]>,
}

const NAMES: [&str; 5] = ["ack", "max_bytes", "max_age", "dedup", "compact"];
/// Topics that may be compacted.
const COMPACTED: usize = 100;
/// How long ids may be remembered.
const DEDUP: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 60 * 60);

impl Default for Options {
    fn default() -> Self {
        let Terms { level, dedup, retention } = Terms::default();
        Self {
            is_synced: level == Level::Synced,
            max_bytes: retention.bytes,
            max_age: retention.age,
            dedup,
            compact: retention.compacted,
        }
    }
}

impl Options {
    /// Where it is and the options in what follows `durable://`.
    pub(super) fn read(rest: &str) -> Result<(Place, Self)> {
        let wrong = |what: String| Error::invalid_argument(format!("durable://{rest}: {what}"));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let place = match path {
            "" => Place::Default,
            path if path.starts_with('/') => Place::Folder(path.into()),
            path if path.contains('/') || path.starts_with('.') => {
                let path = path.trim_start_matches("./");
                return Err(wrong(format!(
                    "a folder is an absolute path, after three slashes: durable:///{path}; \
                     what follows two slashes is the name of a service that serves one"
                )));
            }
            name if name.len() <= MAX_NAME && name.chars().all(is_of_name) => {
                Place::Named(name.to_owned())
            }
            name => {
                return Err(wrong(format!(
                    "{} is no name of a service: use up to {MAX_NAME} letters, digits, `.`, `-` and `_`",
                    quoted(name)
                )));
            }
        };
        if let (Place::Named(name), false) = (&place, query.is_empty()) {
            return Err(wrong(format!(
                "what is kept is said where {name} is served: leave out the options"
            )));
        }
        let mut options = Self::default();
        let mut compacted = Vec::new();
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
                ("compact", topic) => {
                    check_topic(topic)
                        .map_err(|error| wrong(format!("compact: {}", error.detail())))?;
                    if compacted.len() == COMPACTED {
                        return Err(wrong(format!("compact: at most {COMPACTED} topics can be")));
                    }
                    compacted.push(topic.to_owned());
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
        compacted.sort_unstable();
        compacted.dedup();
        options.compact = compacted.into();
        Ok((place, options))
    }

    /// How a folder is kept.
    pub(super) fn terms(&self) -> Terms {
        Terms { level: self.level(), dedup: self.dedup, retention: self.retention() }
    }

    fn level(&self) -> Level {
        if self.is_synced { Level::Synced } else { Level::Written }
    }

    fn retention(&self) -> Retention {
        Retention { bytes: self.max_bytes, age: self.max_age, compacted: self.compact.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let (path, options) = Options::read("").unwrap();
        assert_eq!((path, options), (Place::Default, Options::default()));
        let url = "/var/lib/shop?ack=written&max_bytes=1000&max_age=2h&dedup=5m&compact=prices&compact=of%20stock";
        let (path, options) = Options::read(url).unwrap();
        assert_eq!(path, Place::Folder("/var/lib/shop".into()));
        assert_eq!(options.level(), Level::Written);
        assert_eq!(options.dedup, Duration::from_secs(300));
        let compacted = ["of stock".to_owned(), "prices".to_owned()].into();
        let retention = Retention { bytes: 1000, age: Duration::from_secs(7200), compacted };
        assert_eq!(options.retention(), retention);
        let (place, options) = Options::read("shop-data").unwrap();
        assert_eq!((place, options), (Place::Named("shop-data".into()), Options::default()));
        for (url, hint) in [
            ("./shop", "durable:///shop;"),
            ("a/b", "durable:///a/b;"),
            ("..", "three slashes"),
            ("shop data", "is no name of a service"),
            ("shop?ack=written", "said where shop is served"),
            ("/x?acks=synced", "did you mean ack?"),
            ("/x?ack=none", "`synced` or `written`"),
            ("/x?max_age=soon", "max_age=soon"),
            ("/x?max_bytes=-1", "a number of bytes"),
            ("/x?dedup=0s", "1s to 168h"),
            ("/x?compact=", "compact: topic"),
        ] {
            let error = Options::read(url).unwrap_err();
            assert!(error.detail().contains(hint), "{url}: {error}");
        }
    }
}
