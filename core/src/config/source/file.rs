//! A file, or the files of a folder.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{Changes, Source};
use crate::config::document::Document;
use crate::config::format::{Format, MAX_BYTES, too_large};
use crate::config::origin::Origin;
use crate::error::{Code, Error, Result};

/// How long a file that is being written is to be left alone before it is read.
const QUIET: Duration = Duration::from_millis(50);
/// How long that may be put off.
const LONGEST: Duration = Duration::from_secs(1);
/// Time between two looks at files of which the system reports every change.
const SWEEP: Duration = Duration::from_secs(10);
/// The same where it does not.
const LOOK: Duration = Duration::from_secs(1);
/// Most files of a folder.
const MAX_FILES: usize = 1_000;

/// A file, whose extension says what it is written in, or a folder, whose files are merged in the order of their names.
///
/// It is read again when it changes: written in place, replaced by an editor, or swapped with its folder as Kubernetes does. One that is being
/// written is left until it is quiet.
///
/// In a folder, files whose names begin with a dot or end with `~` are left out, and a file without an extension is one text, under its name: that is how
/// secrets are mounted. Folders in it are not read.
#[derive(Debug, Clone)]
pub struct File {
    name: String,
    path: PathBuf,
    format: Option<Format>,
    max_bytes: usize,
}

impl File {
    /// The file or the folder at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            name: format!("file://{}", path.display()),
            path,
            format: None,
            max_bytes: MAX_BYTES,
        }
    }

    /// What it is written in, whatever its name is.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Most bytes of a file; 16 MiB unless set.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// `/etc/shop.yaml` of `file:///etc/shop.yaml`.
    pub(in crate::config) fn from_url(rest: &str) -> Result<Self> {
        let path = percent_encoding::percent_decode_str(rest).decode_utf8();
        let path = path.map_err(|_| Error::invalid_argument("its path is no UTF-8"))?;
        if path.is_empty() {
            return Err(Error::invalid_argument(
                "it has no path: write for example file:///etc/shop.yaml",
            ));
        }
        Ok(Self::new(path.as_ref()))
    }

    fn read_now(&self) -> Result<Document> {
        let origin = Origin::new(self.name.as_str());
        let about = |error: &std::io::Error, path: &Path| {
            let found = Error::from(std::io::Error::from(error.kind()));
            Error::new(found.code(), format!("{}: {error}", path.display()))
        };
        let metadata = std::fs::metadata(&self.path).map_err(|error| about(&error, &self.path))?;
        if !metadata.is_dir() {
            let format = match self.format {
                Some(format) => format,
                None => format_of(&self.path).ok_or_else(|| {
                    Error::invalid_argument(format!(
                        "{}: its extension is none of json, yaml, yml, toml, xml and hcl: rename it, or say its format",
                        self.path.display()
                    ))
                })?,
            };
            return self.read_file(&self.path, format, &origin);
        }
        let mut files = Vec::new();
        let entries = std::fs::read_dir(&self.path).map_err(|error| about(&error, &self.path))?;
        for entry in entries {
            let path = entry.map_err(|error| about(&error, &self.path))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') || name.ends_with('~') || !path.is_file() {
                continue;
            }
            files.push((name, path));
            if files.len() > MAX_FILES {
                return Err(Error::invalid_argument(format!(
                    "{}: the folder has more than {MAX_FILES} files: name one of them, or move the others",
                    self.path.display()
                )));
            }
        }
        files.sort();
        let mut document = Document::empty(&origin);
        for (name, path) in files {
            let read = match format_of(&path) {
                Some(format) => self.read_file(&path, format, &origin)?,
                None if path.extension().is_none() => {
                    let text = self.text(&path)?;
                    let text = String::from_utf8(text).map_err(|_| {
                        Error::invalid_argument(format!("{}: this is no text", path.display()))
                    })?;
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    let place = origin.at(path.display().to_string());
                    Document::empty(&place).with_text(&[name], text, &place)
                }
                None => continue,
            };
            document = document.merge(&read);
        }
        Ok(document)
    }

    fn read_file(&self, path: &Path, format: Format, origin: &Origin) -> Result<Document> {
        let origin = origin.at(path.display().to_string());
        Document::parse_up_to(format, &self.text(path)?, &origin, self.max_bytes)
    }

    /// What is in a file, no byte beyond the limit.
    fn text(&self, path: &Path) -> Result<Vec<u8>> {
        let about = |error: std::io::Error| {
            let code = Error::from(std::io::Error::from(error.kind())).code();
            Error::new(code, format!("{}: {error}", path.display()))
        };
        let file = std::fs::File::open(path).map_err(about)?;
        let length = file.metadata().map_err(about)?.len();
        let origin = Origin::new(path.display().to_string());
        if length > self.max_bytes as u64 {
            return Err(too_large(&origin, length, self.max_bytes));
        }
        let mut text = Vec::with_capacity(length as usize);
        file.take(self.max_bytes as u64 + 1).read_to_end(&mut text).map_err(about)?;
        if text.len() > self.max_bytes {
            return Err(too_large(&origin, text.len() as u64, self.max_bytes));
        }
        Ok(text)
    }
}

fn format_of(path: &Path) -> Option<Format> {
    Format::from_extension(path.extension()?.to_str()?)
}

/// Does what takes time apart from the runtime.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        Error::new(Code::Unavailable, "the runtime ended while a file was read").with_source(error)
    })
}

#[async_trait]
impl Source for File {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self) -> Result<Document> {
        let file = self.clone();
        apart(move || file.read_now()).await?
    }

    async fn watch(&self) -> Result<Option<Box<dyn Changes>>> {
        let path = self.path.clone();
        let changed = Arc::new(Notify::new());
        let reports = Arc::clone(&changed);
        let (watched, seen) = apart(move || (Watched::new(&path, &reports), look(&path))).await?;
        Ok(Some(Box::new(Following { path: self.path.clone(), watched, changed, seen })))
    }
}

/// Folders in which a change of the file shows.
fn folders(path: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut add = |path: &Path| {
        // The folder of `shop.yaml` is here.
        let folder = match path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => path,
        };
        if !folders.iter().any(|known| known == folder) {
            folders.push(folder.to_owned());
        }
    };
    add(path);
    // A link is followed, link by link, as any of them may be replaced.
    let mut at = path.to_owned();
    for _ in 0..16 {
        let Ok(target) = std::fs::read_link(&at) else { break };
        at = match at.parent() {
            Some(folder) => folder.join(target),
            None => target,
        };
        add(&at);
    }
    if path.is_dir() {
        folders.push(path.to_owned());
    }
    folders
}

/// What the system reports of a file.
struct Watched {
    _watcher: Option<RecommendedWatcher>,
    folders: Vec<PathBuf>,
    is_whole: bool,
}

impl Watched {
    fn new(path: &Path, changed: &Arc<Notify>) -> Self {
        let folders = folders(path);
        let changed = Arc::clone(changed);
        let report = move |event: notify::Result<notify::Event>| {
            // An error means that reports were lost: look for oneself.
            if event.map_or(true, |event| is_change(event.kind)) {
                changed.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(report).and_then(|mut watcher| {
            for folder in &folders {
                watcher.watch(folder, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::debug!(%error, path = %path.display(), "changes of a configuration file show after a second");
            })
            .ok();
        Self { is_whole: watcher.is_some(), _watcher: watcher, folders }
    }
}

/// Leaves out what reading the file causes, which would never end.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

/// What shows from outside that a file has changed: of each file, its path, its number, its length and when it was written.
type Look = Vec<(PathBuf, u64, u64, Option<std::time::SystemTime>)>;

fn look(path: &Path) -> Look {
    let one = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let number = 0;
        Some((path.to_owned(), number, metadata.len(), metadata.modified().ok()))
    };
    let mut found: Look = one(path).into_iter().collect();
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        found.extend(entries.take(MAX_FILES).filter_map(|entry| one(&entry.path())));
        found.sort();
    }
    found
}

struct Following {
    path: PathBuf,
    watched: Watched,
    changed: Arc<Notify>,
    seen: Look,
}

#[async_trait]
impl Changes for Following {
    async fn changed(&mut self) -> Result<()> {
        loop {
            let pause = if self.watched.is_whole { SWEEP } else { LOOK };
            let _ = timeout(pause, self.changed.notified()).await;
            let path = self.path.clone();
            let mut now = apart(move || (look(&path), folders(&path))).await?;
            if now.0 == self.seen && now.1 == self.watched.folders {
                continue;
            }
            // Until it is as it was a moment ago.
            let settled = async {
                loop {
                    sleep(QUIET).await;
                    let path = self.path.clone();
                    let then = apart(move || (look(&path), folders(&path))).await?;
                    let is_quiet = then.0 == now.0;
                    now = then;
                    if is_quiet {
                        return Ok::<(), Error>(());
                    }
                }
            };
            if let Ok(settled) = timeout(LONGEST, settled).await {
                settled?;
            }
            if now.1 != self.watched.folders || !self.watched.is_whole {
                let (path, changed) = (self.path.clone(), Arc::clone(&self.changed));
                self.watched = apart(move || Watched::new(&path, &changed)).await?;
            }
            self.seen = now.0;
            return Ok(());
        }
    }
}
