//! A disk in memory that forgets what was not synced, as a power cut makes a real one do, and that fails when told to.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Blob, Disk};

/// What a disk writes at once, or not at all.
const SECTOR: usize = 512;

/// A folder whose power can be cut. Clones are the same folder.
#[derive(Clone, Default)]
pub(crate) struct Forgetful {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Files by number: a name is only where one is found.
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    /// What a power cut leaves of the names, and what happened to them since, oldest first.
    synced_names: BTreeMap<String, usize>,
    renamed: Vec<Renamed>,
    /// Handles of before a power cut are of no use after it.
    cuts: u64,
    is_off: bool,
    faults: Faults,
    syncs: u64,
}

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    written: Vec<Written>,
}

/// What has happened to a file since its last sync.
enum Written {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

/// What has happened to a name since the last sync of the folder.
enum Renamed {
    Made(String, usize),
    Moved(String, String),
    Gone(String),
}

#[derive(Default)]
struct Faults {
    /// Syncs that still succeed before one fails.
    sync_fails_after: Option<u64>,
    /// Bytes that still fit.
    room: Option<usize>,
    is_read_only: bool,
    /// Changes that still come before a power cut, and its seed.
    cut: Option<(u64, u64)>,
}

impl Forgetful {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the power: what was not synced is there in part, sector by sector, as `seed` decides.
    pub(crate) fn cut_power(&self, seed: u64) {
        self.state().cut_power(seed);
    }

    /// Switches the power on again.
    pub(crate) fn switch_on(&self) {
        self.state().is_off = false;
    }

    /// Cuts the power just before the `n`th write, sync or other change from now is done, the first being 0.
    pub(crate) fn cut_power_at(&self, n: u64, seed: u64) {
        self.state().faults.cut = Some((n, seed));
    }

    /// Has the `n`th sync from now fail, the first being 0, and whatever it would have made sure be lost.
    pub(crate) fn fail_sync(&self, n: u64) {
        self.state().faults.sync_fails_after = Some(n);
    }

    /// Leaves room for `bytes` more, or for any number.
    pub(crate) fn set_room(&self, bytes: Option<usize>) {
        self.state().faults.room = bytes;
    }

    /// Refuses to change anything.
    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        self.state().faults.is_read_only = is_read_only;
    }

    /// Flips the bits of `mask` in the byte at `offset`, on the disk as well.
    pub(crate) fn flip(&self, name: &str, offset: usize, mask: u8) {
        let mut state = self.state();
        let file = state.names[name];
        state.files[file].now[offset] ^= mask;
        if let Some(byte) = state.files[file].synced.get_mut(offset) {
            *byte ^= mask;
        }
    }

    /// How often a file was synced with success.
    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    fn blob(&self, state: &State, file: usize) -> Arc<dyn Blob> {
        Arc::new(Handle { disk: self.clone(), file, cuts: state.cuts })
    }
}

impl State {
    fn reachable(&self) -> io::Result<()> {
        match self.is_off {
            true => Err(io::Error::other("there is no power")),
            false => Ok(()),
        }
    }

    /// Whether something may change now.
    fn writable(&mut self) -> io::Result<()> {
        self.reachable()?;
        if let Some((left, seed)) = &mut self.faults.cut {
            if *left == 0 {
                let seed = *seed;
                self.cut_power(seed);
                return Err(io::Error::other("the power was cut"));
            }
            *left -= 1;
        }
        match self.faults.is_read_only {
            true => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            false => Ok(()),
        }
    }

    fn cut_power(&mut self, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        self.cuts += 1;
        self.is_off = true;
        self.faults = Faults::default();
        for file in &mut self.files {
            // A failed sync leaves what is here neither on the disk nor to be synced.
            let mut left = std::mem::take(&mut file.synced);
            for written in file.written.drain(..) {
                match written {
                    Written::Length(len) => {
                        if random.bool() {
                            left.resize(len, 0);
                        }
                    }
                    Written::Bytes(offset, bytes) => {
                        let mut at = 0;
                        while at < bytes.len() {
                            let end = (at + SECTOR - (offset + at) % SECTOR).min(bytes.len());
                            if random.u8(..4) > 0 {
                                write(&mut left, offset + at, &bytes[at..end]);
                            }
                            at = end;
                        }
                    }
                }
            }
            file.now.clone_from(&left);
            file.synced = left;
        }
        // Names are in a journal: what happened first is kept first.
        let kept = random.usize(..=self.renamed.len());
        let renamed: Vec<_> = self.renamed.drain(..).take(kept).collect();
        for renamed in renamed {
            renamed.happen(&mut self.synced_names);
        }
        self.names = self.synced_names.clone();
    }

    fn rename(&mut self, renamed: Renamed) -> io::Result<()> {
        self.writable()?;
        renamed.happen(&mut self.names);
        self.renamed.push(renamed);
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.reachable()?;
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Renamed {
    fn happen(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Made(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Moved(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Gone(name) => {
                names.remove(name);
            }
        }
    }
}

impl Disk for Forgetful {
    fn create(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        let mut state = self.state();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        state.rename(Renamed::Made(name.to_owned(), file))?;
        state.files.push(Content::default());
        Ok(self.blob(&state, file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        let state = self.state();
        let file = state.find(name)?;
        Ok(self.blob(&state, file))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.reachable()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.find(from)?;
        state.rename(Renamed::Moved(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.find(name)?;
        state.rename(Renamed::Gone(name.to_owned()))
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.writable()?;
        state.renamed.clear();
        state.synced_names = state.names.clone();
        Ok(())
    }
}

struct Handle {
    disk: Forgetful,
    file: usize,
    cuts: u64,
}

impl Handle {
    /// The disk, as long as its power was not cut since this was opened.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        match state.cuts == self.cuts {
            true => Ok(state),
            false => Err(io::Error::other("the power was cut")),
        }
    }
}

impl Blob for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.files[self.file].now.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.state()?;
        let now = &state.files[self.file].now;
        let offset = offset as usize;
        let bytes = now.get(offset..offset + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.writable()?;
        let offset = offset as usize;
        let grows = (offset + bytes.len()).saturating_sub(state.files[self.file].now.len());
        let fits = match &mut state.faults.room {
            Some(room) if *room < grows => {
                let fits = bytes.len() - (grows - std::mem::take(room));
                Err(fits)
            }
            Some(room) => {
                *room -= grows;
                Ok(())
            }
            None => Ok(()),
        };
        let written = match fits {
            Ok(()) => bytes,
            Err(fits) => &bytes[..fits],
        };
        let file = &mut state.files[self.file];
        write(&mut file.now, offset, written);
        file.written.push(Written::Bytes(offset, written.to_vec()));
        fits.map_err(|_| io::ErrorKind::StorageFull.into())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.writable()?;
        let file = &mut state.files[self.file];
        let freed = file.now.len().saturating_sub(len as usize);
        file.now.resize(len as usize, 0);
        file.written.push(Written::Length(len as usize));
        if let Some(room) = &mut state.faults.room {
            *room += freed;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.writable()?;
        if let Some(left) = &mut state.faults.sync_fails_after {
            if *left == 0 {
                state.faults.sync_fails_after = None;
                // As Linux does: the pages count as clean, and nothing will ever write them.
                state.files[self.file].written.clear();
                return Err(io::Error::other("a sync failed"));
            }
            *left -= 1;
        }
        state.syncs += 1;
        let file = &mut state.files[self.file];
        for written in file.written.drain(..) {
            match written {
                Written::Length(len) => file.synced.resize(len, 0),
                Written::Bytes(offset, bytes) => write(&mut file.synced, offset, &bytes),
            }
        }
        Ok(())
    }
}

/// Writes `bytes` at `offset`; what was not there before is zero.
fn write(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if into.len() < offset + bytes.len() {
        into.resize(offset + bytes.len(), 0);
    }
    into[offset..offset + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_a_power_cut_and_what_was_not_is_torn() {
        let mut is_whole = 0;
        let mut is_gone = 0;
        for seed in 0..200 {
            let disk = Forgetful::default();
            let file = disk.create("a").unwrap();
            disk.sync().unwrap();
            file.write_at(&[1; 2000], 0).unwrap();
            file.sync().unwrap();
            file.write_at(&[2; 2000], 2000).unwrap();
            disk.cut_power(seed);
            assert!(disk.open("a").is_err(), "a disk without power works");
            disk.switch_on();
            assert!(file.len().is_err(), "a handle of before works");
            let file = disk.open("a").unwrap();
            let mut bytes = vec![0; 2000];
            file.read_at(&mut bytes, 0).unwrap();
            assert_eq!(bytes, [1; 2000]);
            let len = file.len().unwrap() as usize;
            let mut rest = vec![0; len - 2000];
            file.read_at(&mut rest, 2000).unwrap();
            is_whole += usize::from(rest == [2; 2000]);
            is_gone += usize::from(rest.len() < 2000 || rest.contains(&0));
        }
        assert!(is_whole > 10 && is_gone > 10, "{is_whole} {is_gone}");
    }

    #[test]
    fn a_failed_sync_loses_what_it_should_have_kept_though_it_can_be_read() {
        let disk = Forgetful::default();
        let file = disk.create("a").unwrap();
        disk.sync().unwrap();
        disk.fail_sync(0);
        file.write_at(b"gone", 0).unwrap();
        file.sync().unwrap_err();
        file.sync().unwrap();
        let mut bytes = [0; 4];
        file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"gone");
        disk.cut_power(0);
        disk.switch_on();
        assert_eq!(disk.open("a").unwrap().len().unwrap(), 0);
    }

    #[test]
    fn a_file_is_found_after_a_power_cut_once_its_folder_was_synced() {
        let mut found = 0;
        for seed in 0..50 {
            let disk = Forgetful::default();
            disk.create("a").unwrap().sync().unwrap();
            disk.cut_power(seed);
            disk.switch_on();
            found += disk.names().unwrap().len();
        }
        assert!((5..45).contains(&found), "{found}");
        let disk = Forgetful::default();
        disk.create("a").unwrap();
        disk.sync().unwrap();
        disk.cut_power(0);
        disk.switch_on();
        assert_eq!(disk.names().unwrap(), ["a"]);
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let disk = Forgetful::default();
        let file = disk.create("a").unwrap();
        disk.set_room(Some(3));
        let error = file.write_at(b"abcde", 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.len().unwrap(), 3);
        file.set_len(0).unwrap();
        file.write_at(b"xyz", 0).unwrap();
        assert!(file.write_at(b"w", 3).is_err());
    }
}
