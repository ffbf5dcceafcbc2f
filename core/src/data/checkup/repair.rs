//! Makes a data folder one that opens: keeps what can be read, and sets aside what was damaged.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::examine::{
    Condition, Damage, Examined, Step, bases, bases_without_file, examine, names, read,
};
use crate::data::folder::Folder;
use crate::data::log;
use crate::data::log::segment;
use crate::data::log::survey::Rewriter;
use crate::error::{Code, Error, Result};

/// What was done for a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Repaired {
    /// The file.
    pub name: String,
    /// What was wrong with it.
    pub condition: Condition,
    /// Where it is now, as it was; none of one that was missing.
    pub aside: Option<PathBuf>,
    /// Records that are in its place, and can be read.
    pub kept: u64,
    /// What is lost.
    pub lost: Vec<Damage>,
}

/// Repairs a data folder that no process owns. A file that is damaged is set aside beside itself under another name, and what can be
/// read of it is written anew in its place; one that is misplaced is set aside. Nothing is deleted, and files that are sound stay as they
/// are. Blocks; `told` is called every now and then.
///
/// # Errors
/// `FAILED_PRECONDITION` where a process owns the folder or a newer version wrote it: nothing is changed then. Those of
/// [`examine`] and of the file system.
pub fn repair(folder: &Path, mut told: impl FnMut(Step<'_>)) -> Result<Vec<Repaired>> {
    let examined = examine(folder, |_| {})?;
    let folder = examined.folder;
    let opened = Folder::open(&folder)?;
    let Some(_owned) = opened.try_own()? else {
        let owner = Folder::owner(&folder)?;
        let owner = owner.map_or_else(|| "another process".to_owned(), |owner| owner.to_string());
        return Err(Error::new(
            Code::FailedPrecondition,
            format!("{} is open by {owner}: end that first", folder.display()),
        ));
    };
    // Now that nothing else writes to it.
    let examined = examine(&folder, |_| {})?;
    if let Some(newer) = examined.files.iter().find(|file| file.condition == Condition::Newer) {
        return Err(Error::new(
            Code::FailedPrecondition,
            format!("{} was written by a newer version: repair with that", newer.name),
        ));
    }
    let wrong: Vec<_> =
        examined.files.into_iter().filter(|file| file.condition != Condition::Sound).collect();
    let total = wrong.iter().map(|file| file.bytes).sum();
    let (mut repaired, mut done) = (Vec::new(), 0);
    for file in wrong {
        let bytes = file.bytes;
        let tick = |at| told(Step { file: &file.name, done: done + at, total });
        let one = repair_file(&folder, &file, tick).map_err(|error| {
            let path = folder.join(&file.name);
            Error::unavailable(format!("cannot repair {}: {error}", path.display()))
        });
        repaired.push(one?);
        done += bytes;
    }
    Ok(repaired)
}

fn repair_file(folder: &Path, file: &Examined, tick: impl FnMut(u64)) -> io::Result<Repaired> {
    let all = names(folder).map_err(io::Error::other)?;
    let files = bases(&all, ".log");
    let base = segment::base(&file.name, ".log").unwrap_or_default();
    let mut repaired = Repaired {
        name: file.name.clone(),
        condition: file.condition,
        aside: None,
        kept: 0,
        lost: file.damage.clone(),
    };
    match file.condition {
        Condition::Damaged => {
            let following = files.iter().copied().find(|other| *other > base);
            repaired.aside = Some(set_aside(folder, &file.name, false)?);
            repaired.kept = rewrite(folder, base, following, tick)?;
        }
        Condition::Misplaced => {
            repaired.aside = Some(set_aside(folder, &file.name, true)?);
            if let (Some(first), Some(last)) = (file.first, file.last) {
                let damage = Damage {
                    offset: 0,
                    bytes: file.bytes,
                    from: first,
                    to: last + 1,
                    topics: std::collections::BTreeMap::new(),
                };
                repaired.lost = vec![damage];
            }
        }
        Condition::Missing | Condition::Sound | Condition::Newer => {}
    }
    // It does not belong to what is there now, and can be made again.
    let index = segment::index_name(base);
    if all.contains(&index)
        && (repaired.aside.is_some() || bases_without_file(&all, &files).contains(&base))
    {
        set_aside(folder, &index, true)?;
    }
    sync(folder)?;
    Ok(repaired)
}

/// Writes what can be read of a file in its place: until it is done, the file stays as it is.
fn rewrite(
    folder: &Path,
    base: u64,
    following: Option<u64>,
    tick: impl FnMut(u64),
) -> io::Result<u64> {
    let fresh = folder.join(format!("{}.new", segment::name(base)));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let blob = options.open(&fresh)?;
    let mut rewriter = Rewriter::begin(&blob, base)?;
    let read = read(folder, base, following, |record| rewriter.add(&record), tick);
    let survey = read.map_err(|error| match error {
        log::Unreadable::Io(error) => error,
        _ => io::Error::other("it cannot be read at all"),
    })?;
    rewriter.finish()?;
    fs::rename(&fresh, folder.join(segment::name(base)))?;
    Ok(survey.records)
}

/// Gives a file a second name, beside its own or in place of it.
fn set_aside(folder: &Path, name: &str, moved: bool) -> io::Result<PathBuf> {
    let file = folder.join(name);
    for nth in 0.. {
        let aside = match nth {
            0 => folder.join(format!("{name}.damaged")),
            nth => folder.join(format!("{name}.damaged.{nth}")),
        };
        // A link, unlike a renaming, never takes the place of another.
        match fs::hard_link(&file, &aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            linked => linked?,
        }
        sync(folder)?;
        if moved {
            fs::remove_file(&file)?;
        }
        return Ok(aside);
    }
    Err(io::Error::other("there are too many damaged files"))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
