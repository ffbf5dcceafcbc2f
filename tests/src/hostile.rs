//! Peers that break HTTP/2's rules on purpose.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::python::make_environment;
use crate::toolchain::Missing;

/// The interpreter for the peers of `interop/hostile`.
pub(crate) fn environment() -> Result<PathBuf, Missing> {
    static MADE: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    MADE.get_or_init(|| make_environment("hostile")).clone()
}
