//! What the built library exports: the functions of the header and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;

/// The shared library that was built together with this program.
pub(crate) fn library() -> Outcome<PathBuf> {
    let program = std::env::current_exe()?;
    let name = format!("{}micro_ffi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    // A test runs in `deps` itself.
    let folders =
        program.parent().into_iter().flat_map(|folder| [folder.join("deps"), folder.into()]);
    folders
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{name} is not beside {}", program.display()).into())
}

/// Names that programs can link to.
pub(crate) fn exported(library: &Path) -> Outcome<BTreeSet<String>> {
    let flags: &[&str] = if cfg!(target_os = "macos") {
        &["-gU"]
    } else {
        &["-D", "--defined-only", "--no-demangle"]
    };
    let output = Command::new("nm")
        .args(flags)
        .arg(library)
        .output()
        .map_err(|error| format!("cannot run nm, which comes with the C compiler: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let names = String::from_utf8(output.stdout)?;
    let names = names.lines().filter_map(|line| line.split_whitespace().next_back());
    let bare = |name: &str| if cfg!(target_os = "macos") { name[1..].into() } else { name.into() };
    Ok(names.map(bare).collect())
}

/// What is exported and should not be, and the other way round, a line each.
pub(crate) fn differences(wanted: &BTreeSet<String>, exported: &BTreeSet<String>) -> Vec<String> {
    let missing = wanted.difference(exported).map(|name| format!("{name} is not exported"));
    let foreign = exported.difference(wanted).map(|name| format!("{name} must not be exported"));
    missing.chain(foreign).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_library_that_exports_more_or_less_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let (source, library) = (folder.path().join("a.c"), folder.path().join("liba.so"));
        fs::write(&source, "int micro_a(void) { return 1; }\nint leak(void) { return 2; }\n")
            .unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-nostdlib", "-o"]).args([&library, &source]);
        assert!(compiler.status().unwrap().success());
        let wanted = ["micro_a", "micro_b"].map(str::to_owned).into();
        let lines = differences(&wanted, &exported(&library).unwrap());
        assert_eq!(lines, ["micro_b is not exported", "leak must not be exported"]);
    }
}
