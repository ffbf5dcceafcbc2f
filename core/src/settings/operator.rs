//! Where the operator of a program may say something.

use std::path::PathBuf;

use super::given::Given;

/// Where the operator of a program may say something.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    pub(super) document: Option<PathBuf>,
    pub(super) flags: Vec<Given>,
    /// Variables are read.
    pub(super) environment: bool,
}

impl Default for Operator {
    fn default() -> Self {
        Self { document: None, flags: Vec::new(), environment: true }
    }
}

impl Operator {
    pub(crate) fn set_document(&mut self, file: PathBuf) {
        self.document = Some(file);
    }

    pub(crate) fn environment(&self) -> bool {
        self.environment
    }

    pub(crate) fn set_environment(&mut self, read: bool) {
        self.environment = read;
    }
}
