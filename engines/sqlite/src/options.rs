//! What a URL says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use micro::settings::duration;
use micro::{Error, Result};
use percent_encoding::percent_decode_str;

/// Where the file is, and how records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// With no links in it but for its last part.
    pub(crate) path: PathBuf,
    /// Changes after which a deletion need not be known any more.
    pub(crate) history: u64,
    /// How long a writer waits for another.
    pub(crate) busy: Duration,
}

impl Options {
    /// Reads what follows `sqlite://`.
    pub(crate) fn read(rest: &str) -> Result<Self> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let wrong = |what: &str| Error::invalid_argument(format!("sqlite://{place}: {what}"));
        let path = percent_decode_str(place)
            .decode_utf8()
            .map_err(|_| wrong("the path is no text once it is percent-decoded"))?;
        if path.is_empty() || path.ends_with('/') || path.contains('\0') {
            return Err(wrong(
                "write sqlite:///folder/file.db, or sqlite://file.db for one in the folder the process is in",
            ));
        }
        if path.starts_with(":memory:") {
            return Err(wrong("use the store memory:// instead, which needs no file"));
        }
        let path = absolute(Path::new(&*path)).map_err(|why| wrong(&why))?;
        let mut options = Self { path, history: 65_536, busy: Duration::from_secs(5) };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let wrong = |what: &str| wrong(&format!("{name}={value}: {what}"));
            match &*name {
                "history" => {
                    let number = value.parse().ok().filter(|number| *number < 1 << 40);
                    options.history = number.ok_or_else(|| wrong("it is a number of changes"))?;
                }
                "busy" => {
                    let busy = duration(&value).map_err(|error| wrong(error.detail()))?;
                    if busy > Duration::from_secs(60) {
                        return Err(wrong("it is a minute at most"));
                    }
                    options.busy = busy;
                }
                unknown => {
                    return Err(Error::invalid_argument(format!(
                        "sqlite://{place}: unknown option `{unknown}` (known: history, busy)"
                    )));
                }
            }
        }
        Ok(options)
    }
}

/// One path for each file, whatever it was called.
fn absolute(path: &Path) -> std::result::Result<PathBuf, String> {
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err("it names no file".into());
    };
    match folder.canonicalize() {
        Ok(folder) => Ok(folder.join(name)),
        Err(error) => Err(format!("the folder {}: {error}: create it first", folder.display())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().canonicalize().unwrap();
        let shown = place.display();
        let options = Options::read(&format!("{shown}/a%20b.db?history=7&busy=2s")).unwrap();
        assert_eq!(options.path, place.join("a b.db"));
        assert_eq!((options.history, options.busy), (7, Duration::from_secs(2)));
        let same = Options::read(&format!("{shown}/./a%20b.db")).unwrap();
        assert_eq!(same.path, options.path);
        for (rest, hint) in [
            ("", "write sqlite:///folder/file.db"),
            ("/tmp/", "write sqlite:///folder/file.db"),
            (":memory:", "memory://"),
            ("/none/of/these/x.db", "create it first"),
            ("/tmp/x.db?history=long", "a number of changes"),
            ("/tmp/x.db?busy=soon", "busy=soon"),
            ("/tmp/x.db?busy=2h", "a minute at most"),
            ("/tmp/x.db?mode=rw", "known: history, busy"),
        ] {
            let error = Options::read(rest).unwrap_err();
            assert!(error.detail().contains(hint), "{rest}: {error}");
        }
    }
}
