//! The greeter in C, built with the compiler of this machine and linked with the library of this build.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds it beside the other programs.
///
/// # Errors
/// Says what is missing.
pub(crate) fn build(programs: &Path) -> Result<PathBuf, String> {
    let library = programs.join("libmicro_ffi.so");
    if !library.exists() {
        return Err("libmicro is not built".to_owned());
    }
    let folder = programs.join("libmicro");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for name in ["libmicro.so", "libmicro.so.1"] {
        let link = folder.join(name);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&library, link).map_err(|error| error.to_string())?;
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = folder.join("greeter-service");
    let built = Command::new("cc")
        .arg("-o")
        .arg(&program)
        .arg(examples.join("greeter/service.c"))
        .arg("-I")
        .arg(examples.join("../include"))
        .arg("-L")
        .arg(&folder)
        .arg(format!("-Wl,-rpath,{}", folder.display()))
        .arg("-lmicro")
        .stdin(Stdio::null())
        .status();
    match built {
        Ok(status) if status.success() => Ok(program),
        Ok(status) => Err(format!("cc ended with {status}")),
        Err(error) => Err(format!("cc cannot be started: {error}")),
    }
}
