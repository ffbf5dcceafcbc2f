//! The greeters in C and Go, built with the compilers of this machine and linked with the library of this build.

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

/// Builds the one in Go.
///
/// # Errors
/// Says what is missing.
pub(crate) fn build_go(programs: &Path) -> Result<PathBuf, String> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = programs.join("libmicro");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let program = folder.join("greeter-service-in-go");
    let (Some(target), Some(profile)) = (programs.parent(), programs.file_name()) else {
        return Err(format!("{} is no folder of cargo's", programs.display()));
    };
    let built = Command::new(examples.join("../scripts/go"))
        .args([Path::new("-C"), examples])
        .args(["build", "-o"])
        .arg(&program)
        .arg("greeter/service.go")
        .env("CARGO_TARGET_DIR", target)
        .env("MICRO_PROFILE", profile)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("scripts/go cannot be started: {error}"))?;
    if built.status.success() {
        return Ok(program);
    }
    let said = String::from_utf8_lossy(&built.stderr);
    Err(said.lines().last().unwrap_or("scripts/go failed").trim_end_matches('.').to_owned())
}
