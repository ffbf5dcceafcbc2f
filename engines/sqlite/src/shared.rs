//! What all handles on a file share in this process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use micro::{Error, Result};

use crate::options::Options;
use crate::pulse::Pulse;
use crate::thread::{Reader, Writer};

/// The files that this process has open, and the process that opened each.
static FILES: Mutex<BTreeMap<PathBuf, (u32, Weak<Shared>)>> = Mutex::new(BTreeMap::new());

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Arc<Options>,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) pulse: Arc<Pulse>,
}

impl Shared {
    /// What those who opened the file before have, or something new.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` in a child of the process that has it open, `INVALID_ARGUMENT` where it is open with other options,
    /// `RESOURCE_EXHAUSTED` where there can be no threads.
    pub(crate) fn of(options: &Options) -> Result<Arc<Self>> {
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, (_, shared)| shared.strong_count() > 0);
        if let Some((process, shared)) = files.get(&options.path)
            && let Some(shared) = shared.upgrade()
        {
            if *process != std::process::id() {
                return Err(forked(options));
            }
            return match *shared.options == *options {
                true => Ok(shared),
                false => Err(Error::invalid_argument(format!(
                    "{} is open in this process with other options: use the same ones everywhere",
                    options.path.display()
                ))),
            };
        }
        let options = Arc::new(options.clone());
        let pulse = Arc::new(Pulse::default());
        let told = pulse.clone();
        let tell = Box::new(move |names: &[_], ttl| told.tell(names, ttl));
        let shared = Arc::new(Self {
            reader: Reader::begin(&options)?,
            writer: Writer::begin(&options, tell)?,
            options: options.clone(),
            pulse,
        });
        let entry = (std::process::id(), Arc::downgrade(&shared));
        files.insert(options.path.clone(), entry);
        Ok(shared)
    }
}

pub(crate) fn forked(options: &Options) -> Error {
    Error::failed_precondition(format!(
        "{} is open in the process that this one was forked from, which SQLite does not survive: open it after the fork alone",
        options.path.display()
    ))
}
