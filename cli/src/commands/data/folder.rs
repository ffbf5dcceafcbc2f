//! A data folder on the command line.

use std::path::PathBuf;

use crate::failure::Failure;

#[derive(clap::Args)]
pub(super) struct FolderOption {
    /// The folder; that of --broker unless given, else MICRO_DATA, else the user's own.
    folder: Option<PathBuf>,
}

impl FolderOption {
    /// Whether it was given.
    pub(super) fn is_given(&self) -> bool {
        self.folder.is_some()
    }

    /// Its path, given what --broker says.
    pub(super) fn path(&self, broker: &str) -> Result<PathBuf, Failure> {
        let path = broker.strip_prefix("durable://").and_then(|rest| rest.split('?').next());
        match (&self.folder, path) {
            (Some(folder), _) => Ok(folder.clone()),
            (None, Some(path)) if path.starts_with('/') => Ok(path.into()),
            _ => Ok(micro::data::default_folder()?),
        }
    }
}
