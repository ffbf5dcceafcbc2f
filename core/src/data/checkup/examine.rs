//! Reads every record of a data folder, and changes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;

use crate::data::folder::{Folder, Ownership};
use crate::data::log::segment::{self, Remembered};
use crate::data::log::survey::{Survey, survey};
use crate::data::log::{self, Unreadable};
use crate::error::{Code, Error, Result};

/// What is in a data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Examination {
    /// Its path.
    pub folder: PathBuf,
    /// The process that has it, or had it last; none where there never was one.
    pub owner: Option<Ownership>,
    /// Bytes of its files of messages.
    pub bytes: u64,
    /// Records in them that can be read: messages, and what is noted about queues.
    pub records: u64,
    /// The files of messages, oldest first.
    pub files: Vec<Examined>,
}

/// A file of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Examined {
    /// Its name in the folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Records that can be read.
    pub records: u64,
    /// Number of the first of them.
    pub first: Option<u64>,
    /// Number of the last of them.
    pub last: Option<u64>,
    /// When the first of them was written, in milliseconds since 1970.
    pub begun: Option<u64>,
    /// When the last of them was written, in milliseconds since 1970.
    pub ended: Option<u64>,
    /// Whether it is as it should be.
    pub condition: Condition,
    /// Bytes at its end that were being written when their owner died, or are being written now. They were not acknowledged as synced,
    /// and the next owner cuts them off.
    pub torn: u64,
    /// What was acknowledged and cannot be read.
    pub damage: Vec<Damage>,
}

/// Whether a file is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Condition {
    /// It is.
    Sound,
    /// What was acknowledged cannot be read: the folder does not open, or fails where it is read.
    Damaged,
    /// It says that it is another file, or has numbers of the one before it: the folder does not open.
    Misplaced,
    /// It is gone, and its index is still there.
    Missing,
    /// A newer version wrote it, which has to read it.
    Newer,
}

/// A part of a file that was acknowledged and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Damage {
    /// Its first byte.
    pub offset: u64,
    /// Its bytes.
    pub bytes: u64,
    /// The lowest number of a record that may have been in it.
    pub from: u64,
    /// The number behind the highest one; the same as `from` where no record is lost.
    pub to: u64,
    /// How many records of each topic were in it, where an index still says so.
    pub topics: BTreeMap<String, u64>,
}

/// How far an examination or a repair has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step<'a> {
    /// The file that is read.
    pub file: &'a str,
    /// Bytes of all files that are read.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
}

impl Examination {
    /// Whether the folder can be opened and read as it is.
    pub fn is_sound(&self) -> bool {
        self.files.iter().all(|file| file.condition == Condition::Sound)
    }
}

/// Reads every record in a data folder, also while a process owns it, and says what is there. Blocks; `told` is called every now and
/// then.
///
/// # Errors
/// `NOT_FOUND` where there is no such folder, and those of the file system.
pub fn examine(folder: &Path, mut told: impl FnMut(Step<'_>)) -> Result<Examination> {
    let folder = folder.canonicalize().map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::FailedPrecondition,
        };
        Error::new(code, format!("there is no data folder {}: {error}", folder.display()))
    })?;
    let owner = Folder::owner(&folder)?;
    let names = names(&folder)?;
    let bases = bases(&names, ".log");
    let total = sizes(&folder, &bases);
    let (mut files, mut done, mut next) = (Vec::new(), 0, 0);
    for (nth, base) in bases.iter().copied().enumerate() {
        let (name, following) = (segment::name(base), bases.get(nth + 1).copied());
        let tick = |at| told(Step { file: &name, done: done + at, total });
        let mut read = read(&folder, base, following, |_| Ok(()), tick);
        let is_damaged = |read: &std::result::Result<Survey, Unreadable>| {
            read.as_ref().is_ok_and(|read| !read.gaps.is_empty())
        };
        // Its owner may just have mended it after a failed write.
        if is_damaged(&read) && owner.as_ref().is_some_and(|owner| owner.is_alive) {
            read = self::read(&folder, base, following, |_| Ok(()), |_| {});
        }
        let file = match read {
            Ok(mut survey) => {
                let index = index(&folder, base);
                if let Some(index) = &index {
                    survey.was(index.length(), index.numbers().end);
                }
                let overlaps = survey.numbers.map_or(base, |(first, _)| first).min(base) < next;
                next = next.max(survey.numbers.map_or(base, |(_, last)| last + 1));
                described(base, survey, index.as_ref(), overlaps)
            }
            Err(Unreadable::Version(_)) => blank(name.clone(), Condition::Newer),
            // Its owner has removed it meanwhile: it was old.
            Err(Unreadable::Io(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(Unreadable::Io(error)) => {
                let file = folder.join(&name);
                return Err(Error::unavailable(format!("cannot read {}: {error}", file.display())));
            }
            Err(Unreadable::Unborn | Unreadable::Damaged(_)) => {
                blank(name.clone(), Condition::Damaged)
            }
        };
        done += file.bytes;
        files.push(file);
    }
    for base in bases_without_file(&names, &bases) {
        files.extend(missing(&folder, base));
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    let (bytes, records) = files
        .iter()
        .fold((0, 0), |(bytes, records), file| (bytes + file.bytes, records + file.records));
    Ok(Examination { folder, owner, bytes, records, files })
}

/// Reads one file.
pub(super) fn read(
    folder: &Path,
    base: u64,
    following: Option<u64>,
    each: impl FnMut(log::Record) -> io::Result<()>,
    tick: impl FnMut(u64),
) -> std::result::Result<Survey, Unreadable> {
    let file = File::open(folder.join(segment::name(base)))?;
    survey(&file, base, following, each, tick)
}

/// Names of all files in a folder.
pub(super) fn names(folder: &Path) -> Result<Vec<String>> {
    let failed =
        |error: io::Error| Error::unavailable(format!("cannot list {}: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

/// Bases of the files with this end, in order.
pub(super) fn bases(names: &[String], suffix: &str) -> Vec<u64> {
    let mut bases: Vec<_> = names.iter().filter_map(|name| segment::base(name, suffix)).collect();
    bases.sort_unstable();
    bases
}

/// Bytes of all files.
pub(super) fn sizes(folder: &Path, bases: &[u64]) -> u64 {
    let size = |base: &u64| {
        std::fs::metadata(folder.join(segment::name(*base))).ok().map(|data| data.len())
    };
    bases.iter().filter_map(size).sum()
}

/// Bases of indexes whose file is gone. One before all files is left from a removal.
pub(super) fn bases_without_file(names: &[String], bases: &[u64]) -> Vec<u64> {
    let first = bases.first().copied().unwrap_or_default();
    let indexes = self::bases(names, ".index");
    indexes.into_iter().filter(|base| *base > first && !bases.contains(base)).collect()
}

fn described(base: u64, survey: Survey, index: Option<&Remembered>, overlaps: bool) -> Examined {
    let damage = survey.gaps.into_iter().map(|gap| {
        let topics = index.map(|index| spelled(index.topics(gap.numbers.clone())));
        Damage {
            offset: gap.offset,
            bytes: gap.bytes,
            from: gap.numbers.start,
            to: gap.numbers.end,
            topics: topics.unwrap_or_default(),
        }
    });
    let damage: Vec<_> = damage.collect();
    Examined {
        bytes: survey.bytes,
        records: survey.records,
        first: survey.numbers.map(|(first, _)| first),
        last: survey.numbers.map(|(_, last)| last),
        begun: survey.times.map(|(first, _)| first),
        ended: survey.times.map(|(_, last)| last),
        condition: match (survey.is_misplaced || overlaps, damage.is_empty()) {
            (true, _) => Condition::Misplaced,
            (false, true) => Condition::Sound,
            (false, false) => Condition::Damaged,
        },
        torn: survey.torn + if survey.is_empty { survey.bytes } else { 0 },
        damage,
        ..blank(segment::name(base), Condition::Sound)
    }
}

/// What the index of a file that is gone says of it.
fn missing(folder: &Path, base: u64) -> Option<Examined> {
    let index = index(folder, base)?;
    let Range { start, end } = index.numbers();
    let topics = spelled(index.topics(start..end));
    let damage = Damage { offset: 0, bytes: index.length(), from: start, to: end, topics };
    Some(Examined { damage: vec![damage], ..blank(segment::name(base), Condition::Missing) })
}

fn index(folder: &Path, base: u64) -> Option<Remembered> {
    let bytes = std::fs::read(folder.join(segment::index_name(base))).ok()?;
    Remembered::read(bytes.into()).filter(|index| index.numbers().start == base)
}

fn blank(name: String, condition: Condition) -> Examined {
    Examined {
        name,
        bytes: 0,
        records: 0,
        first: None,
        last: None,
        begun: None,
        ended: None,
        condition,
        torn: 0,
        damage: Vec::new(),
    }
}

/// Topics as text; those of the broker's own notes, such as how far a queue has come, begin with a control character.
fn spelled(topics: BTreeMap<Bytes, u64>) -> BTreeMap<String, u64> {
    let spell =
        |topic: Bytes| String::from_utf8_lossy(&topic).replace('\u{1}', " ").trim().to_owned();
    topics.into_iter().map(|(topic, count)| (spell(topic), count)).collect()
}
