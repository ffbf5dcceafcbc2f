//! The examples in C, built by the lines that `docs/c.md` prints.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What the lines say for users who have installed the library.
const INSTALLED: &str = "$(pkg-config --cflags --libs micro)";

/// Where a program is once it is built.
pub(crate) fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let program = BUILT.get_or_init(build).join(name);
    assert!(program.exists(), "docs/c.md does not say how to build {name}");
    program
}

/// Builds all of them as the page says, in a folder where it finds the sources.
fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the root");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder to build in");
    symlink(root.join("examples"), folder.join("examples")).expect("a link to the sources");
    let test = std::env::current_exe().expect("a test is a program");
    for name in ["libmicro.so", "libmicro.so.1"] {
        symlink(test.with_file_name("libmicro_ffi.so"), folder.join(name)).expect("a link");
    }
    let here = folder.display();
    let flags = format!("-I{}/include -L{here} -Wl,-rpath,{here} -lmicro", root.display());
    let page = fs::read_to_string(root.join("docs/c.md")).expect("the page on C");
    let lines = page.lines().filter(|line| line.starts_with("cc ") && line.contains(INSTALLED));
    for line in lines {
        let line = line.replace(INSTALLED, &flags).replacen("cc ", "cc -Wall -Wextra -Werror ", 1);
        let built = Command::new("sh").args(["-c", &line]).current_dir(&folder).status();
        assert!(built.expect("a shell").success(), "{line}");
    }
    folder
}
