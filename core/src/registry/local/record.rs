//! One node in one file: written once, locked while its process lives, bounded when it is read.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::folder::Folder;
use crate::error::{Error, Result};
use crate::fork::Uninherited;
use crate::registry::Service;

/// Longest record.
const MAX_BYTES: u64 = 1 << 20;
/// Files looked at in one go.
const MAX_FILES: usize = 65_536;
/// Listings before one is taken as it is, in a folder that changes faster than it is read.
const LOOKS: u32 = 8;
/// Age at which a file that was never finished is taken for abandoned.
const ABANDONED: Duration = Duration::from_secs(60);
/// Letters of a service name that stand for themselves in a file name.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The beginning of the names of a node's files: its service, readable, and a hash of all of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key(String);

/// What a file says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The service with this one node.
    service: Service,
    /// Life without a refresh, which changes the time of the file's last modification.
    ttl_ms: Option<u64>,
    /// Nanoseconds since 1970; of two records of a node, the later one holds.
    written: u64,
}

/// A record of this process. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct Owned {
    record: Record,
    path: PathBuf,
    /// Holds the lock that proves the process alive.
    file: Uninherited<File>,
    refreshed: Instant,
    /// The process that wrote the file: a forked copy of it must not remove it.
    process: u32,
}

/// Reads folders, and remembers the files it has read: they do not change.
///
/// A file with a lock that is held is alive. That its owner stopped to refresh it, as one that hangs
/// does, is seen by watching the time of its last modification stand still: clocks are set, and
/// what a clock says about a file proves nothing.
#[derive(Debug, Default)]
pub(super) struct Reader {
    known: HashMap<OsString, Seen>,
}

/// A file that was read.
#[derive(Debug, Clone)]
struct Seen {
    record: Arc<Record>,
    modified: SystemTime,
    /// When that time of modification was first seen.
    since: Instant,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// By name, then version; nodes by id.
    pub(super) services: Vec<Service>,
    /// Time until the first of the nodes expires.
    pub(super) next_expiry: Option<Duration>,
}

impl Record {
    /// Reads the content of a file.
    pub(super) fn parse(bytes: &[u8]) -> io::Result<Self> {
        let record: Self = serde_json::from_slice(bytes)?;
        record.service.validate().map_err(io::Error::other)?;
        Ok(record)
    }
}

impl Key {
    pub(super) fn of(name: &str, version: &str, id: &str) -> Self {
        // 128-bit FNV-1a: distinct nodes get distinct names, whatever theirs are made of.
        let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
        for part in [name, version, id] {
            for byte in part.bytes().chain([0xff]) {
                hash = (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
            }
        }
        Self(format!("{}{hash:032x}.", service_prefix(name)))
    }

    fn matches(&self, file: &OsStr) -> bool {
        file.as_encoded_bytes().starts_with(self.0.as_bytes())
    }
}

/// The beginning of the names of a service's files; long names share one if they begin alike.
fn service_prefix(name: &str) -> String {
    let mut prefix: String = utf8_percent_encode(name, PLAIN).to_string();
    prefix.truncate(100);
    prefix.push('.');
    prefix
}

impl Owned {
    /// Writes a record that no other process can take for dead: it has its lock before it has its name.
    pub(super) fn write(
        folder: &Folder,
        key: &Key,
        service: Service,
        ttl: Option<Duration>,
        after: Option<u64>,
    ) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let ttl_ms = ttl.map(milliseconds);
        let record = Record { service, ttl_ms, written: now.max(after.map_or(0, |at| at + 1)) };
        let bytes = serde_json::to_vec(&record)
            .map_err(|error| Error::invalid_argument(error.to_string()).with_source(error))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::invalid_argument(format!(
                "the record of service {} takes {} bytes, more than {MAX_BYTES}: shorten its metadata",
                record.service.name,
                bytes.len()
            )));
        }
        let name = format!("{}{}", key.0, uuid::Uuid::new_v4().simple());
        let draft = folder.path().join(format!("{name}.tmp"));
        let path = folder.path().join(format!("{name}.json"));
        let written = create(&draft).and_then(|mut file| {
            file.try_lock().map_err(io::Error::from)?;
            file.write_all(&bytes)?;
            fs::rename(&draft, &path)?;
            Ok(Uninherited::new(file))
        });
        match written {
            Ok(file) => {
                let (refreshed, process) = (Instant::now(), std::process::id());
                Ok(Self { record, path, file, refreshed, process })
            }
            Err(error) => {
                let _ = fs::remove_file(&draft);
                Err(unusable(folder, error))
            }
        }
    }

    pub(super) fn written(&self) -> u64 {
        self.record.written
    }

    /// Starts the time to live anew. False when the record says something else, or was removed.
    pub(super) fn refresh(&mut self, service: &Service, ttl: Option<Duration>) -> Result<bool> {
        let same = self.record.service == *service && self.record.ttl_ms == ttl.map(milliseconds);
        if !same || !self.path.exists() {
            return Ok(false);
        }
        self.file.set_modified(SystemTime::now())?;
        self.refreshed = Instant::now();
        Ok(true)
    }

    /// Time it has left without a refresh; `None` is for ever.
    pub(super) fn left(&self) -> Option<Duration> {
        let ttl = Duration::from_millis(self.record.ttl_ms?);
        Some(ttl.saturating_sub(self.refreshed.elapsed()))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the files of these nodes, whichever process holds them.
pub(super) fn remove(folder: &Folder, keys: &[Key]) -> Result<()> {
    for name in file_names(folder)? {
        if keys.iter().any(|key| key.matches(&name)) {
            let _ = fs::remove_file(folder.path().join(name));
        }
    }
    Ok(())
}

impl Reader {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// What the folder holds of one service, or of all. Removes what is dead.
    pub(super) fn read(&mut self, folder: &Folder, service: Option<&str>) -> Result<Contents> {
        // A record that was replaced since the folder was listed is in neither of its files: the
        // new one came after the list, the old one is gone by now. Only another list tells.
        for _ in 1..LOOKS {
            if let Some(contents) = self.read_listed(folder, service, false)? {
                return Ok(contents);
            }
        }
        Ok(self.read_listed(folder, service, true)?.unwrap_or_default())
    }

    /// Reads the files of one listing; nothing when one of them is gone, unless that is `last`.
    fn read_listed(
        &mut self,
        folder: &Folder,
        service: Option<&str>,
        last: bool,
    ) -> Result<Option<Contents>> {
        let prefix = service.map(service_prefix);
        let wanted = |name: &OsStr| {
            prefix.as_ref().is_none_or(|p| name.as_encoded_bytes().starts_with(p.as_bytes()))
        };
        let mut contents = Contents::default();
        let mut read = HashMap::new();
        let mut records = Vec::new();
        for name in file_names(folder)?.into_iter().filter(|name| wanted(name)) {
            let path = folder.path().join(&name);
            let seen = match read_live(folder, &path, self.known.get(&name)) {
                Ok(Some(seen)) => seen,
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound && last => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => {
                    folder.warn(&path, &error);
                    continue;
                }
            };
            read.insert(name, seen.clone());
            let Seen { record, since, .. } = seen;
            if service.is_some_and(|service| record.service.name != service) {
                continue;
            }
            if let Some(ttl) = record.ttl_ms {
                let age = since.elapsed();
                let Some(left) = Duration::from_millis(ttl).checked_sub(age) else { continue };
                contents.next_expiry =
                    Some(contents.next_expiry.map_or(left, |soonest| soonest.min(left)));
            }
            records.push(record);
        }
        self.known.retain(|name, _| !wanted(name));
        self.known.extend(read);
        contents.services = merge(records);
        Ok(Some(contents))
    }
}

/// One record per version out of one per node; where they disagree, the latest holds.
fn merge(mut records: Vec<Arc<Record>>) -> Vec<Service> {
    records.sort_by_key(|record| record.written);
    let mut services: BTreeMap<(&str, &str), Service> = BTreeMap::new();
    for record in &records {
        let new = &record.service;
        let service = services.entry((&new.name, &new.version)).or_default();
        let nodes = std::mem::take(&mut service.nodes);
        let others = nodes.into_iter().filter(|old| new.nodes.iter().all(|node| node.id != old.id));
        *service =
            Service { nodes: others.chain(new.nodes.iter().cloned()).collect(), ..new.clone() };
    }
    let mut services: Vec<Service> = services.into_values().collect();
    for service in &mut services {
        service.nodes.sort_by(|a, b| a.id.cmp(&b.id));
    }
    services
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Names of the files that may be records. A folder that is gone holds none.
fn file_names(folder: &Folder) -> Result<Vec<OsString>> {
    let entries = match fs::read_dir(folder.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| unusable(folder, error))?,
    };
    let mut names = Vec::new();
    for entry in entries.take(MAX_FILES) {
        let entry = entry.map_err(|error| unusable(folder, error))?;
        // Opening anything but a plain file may block or lead elsewhere.
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let name = entry.file_name();
        match Path::new(&name).extension().and_then(OsStr::to_str) {
            Some("json") => names.push(name),
            Some("tmp") => remove_abandoned(folder, &entry),
            _ => {}
        }
    }
    Ok(names)
}

/// A file that was never finished, by a writer that is gone.
fn remove_abandoned(folder: &Folder, entry: &fs::DirEntry) {
    let Ok(metadata) = entry.metadata() else { return };
    let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
    if folder.owns(&metadata) && age.is_some_and(|age| age >= ABANDONED) {
        let free = File::open(entry.path()).is_ok_and(|file| file.try_lock_shared().is_ok());
        if free {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// What the file says and since when; nothing when its process is gone, and then the file goes too.
fn read_live(folder: &Folder, path: &Path, known: Option<&Seen>) -> io::Result<Option<Seen>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || !folder.owns(&metadata) {
        return Err(io::Error::other("it is not a file of this user"));
    }
    // Readers share the lock, so they do not take each other for the owner.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {
            fs::remove_file(path)?;
            return Ok(None);
        }
    }
    let modified = metadata.modified()?;
    if let Some(known) = known {
        let same = known.modified == modified;
        let since = if same { known.since } else { Instant::now() };
        return Ok(Some(Seen { record: Arc::clone(&known.record), modified, since }));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is too long"));
    }
    let record = Arc::new(Record::parse(&bytes)?);
    Ok(Some(Seen { record, modified, since: Instant::now() }))
}

fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}

fn unusable(folder: &Folder, error: io::Error) -> Error {
    let path = folder.path().display();
    Error::unavailable(format!("registry folder {path}: {error}")).with_source(error)
}
