//! Folders that were damaged on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::data::log::{Append, Level, Limit, Log, Settings};
use crate::data::{Files, Folder};
use crate::error::{Code, Result};

const SETTINGS: fn() -> Settings = || Settings { segment_bytes: 4096, ..Settings::default() };

fn open(folder: &Path) -> Result<Log> {
    let owned = Folder::open(folder)?.try_own()?;
    Ok(Log::open(Arc::new(Files::new(folder)), SETTINGS(), owned)?.0)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A folder with a few files of records; what each record says, by number.
fn filled(folder: &Path) -> BTreeMap<u64, String> {
    let log = open(folder).unwrap();
    let written = runtime().block_on(async {
        let mut written = BTreeMap::new();
        for number in 0..120 {
            let text = format!("{number:0100}");
            let topic = if number % 3 == 0 { "orders" } else { "returns" };
            let records = (0..1 + number % 4).map(|nth| Append {
                topic: topic.into(),
                body: [text.clone().into(), Bytes::from(format!("-{nth}"))],
            });
            let numbers = log.append(records.collect(), Level::Synced).await.unwrap();
            for (nth, number) in numbers.enumerate() {
                written.insert(number, format!("{text}-{nth}"));
            }
        }
        log.close().await.unwrap();
        written
    });
    assert!(logs(folder).len() > 4, "{:?}", logs(folder));
    written
}

fn logs(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".log"))
        .collect();
    names.sort();
    names
}

/// Everything that can be read once the folder is open.
fn contents(folder: &Path) -> BTreeMap<u64, String> {
    let log = open(folder).unwrap();
    let read = runtime().block_on(async {
        let mut read = BTreeMap::new();
        for topic in ["orders", "returns"] {
            let limit = Limit { records: usize::MAX, bytes: usize::MAX };
            let mut from = 0;
            loop {
                let records = log.read(topic.as_bytes(), from, limit).await.unwrap();
                let Some(last) = records.last() else { break };
                from = last.sequence + 1;
                for record in records {
                    let body = String::from_utf8(record.body.to_vec()).unwrap();
                    read.insert(record.sequence, body);
                }
            }
        }
        log.close().await.unwrap();
        read
    });
    drop(log);
    read
}

fn numbers(damage: &[Damage]) -> BTreeSet<u64> {
    damage.iter().flat_map(|damage| damage.from..damage.to).collect()
}

/// Repairs, and finds that what is left and what is listed as lost are all that there was.
fn repaired(folder: &Path, written: &BTreeMap<u64, String>) -> Vec<Repaired> {
    let before: BTreeSet<_> =
        logs(folder).iter().map(|name| fs::read(folder.join(name)).unwrap()).collect();
    let done = repair(folder, |_| {}).unwrap();
    let kept: BTreeSet<_> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path()).ok())
        .collect();
    assert!(before.is_subset(&kept), "a file is nowhere any more");
    let examined = examine(folder, |_| {}).unwrap();
    assert!(examined.is_sound(), "{examined:?}");
    let lost: BTreeSet<u64> = done.iter().flat_map(|one| numbers(&one.lost)).collect();
    let left = contents(folder);
    for (number, text) in written {
        match left.get(number) {
            Some(found) => assert_eq!(found, text),
            None => assert!(lost.contains(number), "{number} is lost without a word: {done:?}"),
        }
    }
    assert!(left.keys().all(|number| written.contains_key(number)));
    done
}

#[test]
fn a_sound_folder_is_found_sound_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let written = filled(folder.path());
    let mut steps = Vec::new();
    let examined = examine(folder.path(), |step| steps.push((step.done, step.total))).unwrap();
    assert!(examined.is_sound());
    assert_eq!(examined.records, written.len() as u64);
    assert_eq!(examined.files.first().unwrap().first, Some(1));
    assert_eq!(examined.files.last().unwrap().last, written.keys().next_back().copied());
    assert!(steps.is_sorted() && steps.last().is_some_and(|(done, total)| done == total));
    let owner = examined.owner.unwrap();
    assert_eq!((owner.process, owner.is_alive), (std::process::id(), false));
    assert!(repair(folder.path(), |_| {}).unwrap().is_empty());
    assert_eq!(contents(folder.path()), written);
}

#[test]
fn a_flipped_bit_anywhere_costs_the_records_it_is_in_and_no_other() {
    let mut random = fastrand::Rng::with_seed(7);
    let folder = tempfile::tempdir().unwrap();
    let written = filled(folder.path());
    let sound: Vec<_> = logs(folder.path())
        .into_iter()
        .map(|name| (fs::read(folder.path().join(&name)).unwrap(), name))
        .collect();
    let mut seen = 0;
    for round in 0..150 {
        let folder = tempfile::tempdir().unwrap();
        for (bytes, name) in &sound {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let (bytes, name) = &sound[random.usize(..sound.len())];
        let mut bytes = bytes.clone();
        // Heads of the file and of its first batch are few bytes, so they get more than their share.
        let at = if round % 3 == 0 { random.usize(..64) } else { random.usize(..bytes.len()) };
        bytes[at] ^= 1 << random.u8(..8);
        fs::write(folder.path().join(name), &bytes).unwrap();
        let examined = examine(folder.path(), |_| {}).unwrap();
        if examined.is_sound() {
            // The last words of the last file: a crash leaves the same.
            assert_eq!(Some(name), sound.last().map(|(_, name)| name), "byte {at} of {name}");
            continue;
        }
        // A version that is flipped is one that is not known.
        if examined.files.iter().any(|file| file.condition == Condition::Newer) {
            continue;
        }
        seen += 1;
        let error = open(folder.path()).map(drop).unwrap_err();
        assert_eq!(error.code(), Code::DataLoss, "{error}");
        assert!(error.detail().contains("micro data repair"), "{error}");
        let done = repaired(folder.path(), &written);
        let lost: usize = done.iter().map(|one| numbers(&one.lost).len()).sum();
        assert!(lost <= 1, "byte {at} of {name}: {done:?}");
    }
    assert!(seen > 100, "only {seen} were damaged");
}

#[test]
fn a_file_that_is_cut_short_or_overwritten_keeps_what_can_be_read() {
    let mut random = fastrand::Rng::with_seed(3);
    for round in 0..30 {
        let folder = tempfile::tempdir().unwrap();
        let written = filled(folder.path());
        let names = logs(folder.path());
        let name = &names[random.usize(..names.len() - 1)];
        let path = folder.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        let at = random.usize(..bytes.len());
        match round % 2 {
            0 => bytes.truncate(at),
            _ => {
                let end = bytes.len().min(at + 512);
                bytes[at..end].fill(0);
            }
        }
        fs::write(&path, &bytes).unwrap();
        let done = repaired(folder.path(), &written);
        assert_eq!(done.len(), 1, "byte {at}: {done:?}");
        if round % 2 == 1 {
            assert!(numbers(&done[0].lost).len() < 9, "byte {at}: {done:?}");
        }
    }
}

#[test]
fn a_file_that_is_gone_is_named_with_what_was_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let written = filled(folder.path());
    let name = logs(folder.path())[1].clone();
    fs::remove_file(folder.path().join(&name)).unwrap();
    let examined = examine(folder.path(), |_| {}).unwrap();
    let missing: Vec<_> =
        examined.files.iter().filter(|file| file.condition == Condition::Missing).collect();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].name, name);
    let topics = &missing[0].damage[0].topics;
    assert!(topics["orders"] > 0 && topics["returns"] > 0, "{topics:?}");
    let done = repaired(folder.path(), &written);
    assert_eq!((done.len(), &done[0].aside), (1, &None));
}

#[test]
fn a_file_under_the_name_of_another_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let written = filled(folder.path());
    let names = logs(folder.path());
    fs::copy(folder.path().join(&names[0]), folder.path().join(&names[2])).unwrap();
    let examined = examine(folder.path(), |_| {}).unwrap();
    assert_eq!(examined.files[2].condition, Condition::Misplaced);
    let done = repair(folder.path(), |_| {}).unwrap();
    assert!(done[0].aside.as_ref().unwrap().exists());
    assert!(contents(folder.path()).len() < written.len());
}

#[test]
fn a_folder_is_examined_and_not_repaired_while_a_process_owns_it() {
    let folder = tempfile::tempdir().unwrap();
    let written = filled(folder.path());
    let log = open(folder.path()).unwrap();
    let examined = examine(folder.path(), |_| {}).unwrap();
    assert!(examined.is_sound() && examined.owner.unwrap().is_alive);
    let refused = repair(folder.path(), |_| {}).unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let says = format!("open by process {} since 20", std::process::id());
    assert!(refused.detail().contains(&says), "{refused}");
    runtime().block_on(log.close()).unwrap();
    assert_eq!(contents(folder.path()), written);
    let nowhere = examine(&folder.path().join("x"), |_| {}).unwrap_err();
    assert_eq!(nowhere.code(), Code::NotFound);
}
