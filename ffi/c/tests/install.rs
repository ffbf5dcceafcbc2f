//! Installs the library as a user would, then builds and runs a program in each of the ways that users find it.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::expect_used, clippy::panic, reason = "a test")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use micro_tests::toolchain::{Missing, skip};

/// The folder of what is installed, as a package would hold it: everything is in its `usr`.
fn installed(path: &str) -> PathBuf {
    static ONCE: OnceLock<PathBuf> = OnceLock::new();
    let folder = ONCE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("an earlier run leaves nothing");
        }
        let mut install = Command::new(source("../../scripts/install"));
        install.env("PREFIX", "/usr").env("DESTDIR", &folder).env("LIBRARIES", libraries());
        run(&mut install);
        folder
    });
    folder.join(path)
}

/// What `pkg-config` says for `arguments`.
fn flags(arguments: &[&str]) -> Vec<String> {
    let mut asked = Command::new("pkg-config");
    asked.env("PKG_CONFIG_PATH", installed("usr/lib/pkgconfig"));
    let flags = run(asked.args(arguments).arg("micro"));
    flags.split_whitespace().map(str::to_owned).collect()
}

/// Builds the program as `name` with these flags, and returns where it is.
fn build(name: &str, flags: &[String]) -> PathBuf {
    let program = installed(name);
    let mut compiler = Command::new("cc");
    compiler.args(["-Wall", "-Wextra", "-Werror", "-std=c99", "-o"]).arg(&program);
    run(compiler.arg(source("tests/install/program.c")).args(flags));
    program
}

/// Runs a program that finds the shared library, and returns what it says.
fn play(program: &Path) -> String {
    run(Command::new(program).env("LD_LIBRARY_PATH", installed("usr/lib")))
}

/// A file of this package.
fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Where cargo put the libraries of this very build.
fn libraries() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a program");
    test.parent().expect("a program is in a folder").to_owned()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out
}

fn lacks(tool: &str, test: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok();
    if !there {
        skip(test, &Missing(format!("no {tool}")));
    }
    !there
}

/// Names of the symbols that a library gives to programs that link it.
fn global(library: &Path) -> Vec<String> {
    let listed = run(Command::new("nm").args(["--extern-only", "--defined-only"]).arg(library));
    let mut names: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2).map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[test]
fn programs_find_the_shared_library_by_pkg_config() {
    if lacks("pkg-config", "the library found by pkg-config") {
        return;
    }
    let program = build("shared", &flags(&["--cflags", "--libs"]));
    assert_eq!(play(&program), "ok\n");
    let needed = run(Command::new("readelf").arg("-d").arg(&program));
    assert!(needed.contains("[libmicro.so.1]"), "{needed}");
}

#[test]
fn programs_link_the_static_library_by_pkg_config() {
    if lacks("pkg-config", "the static library found by pkg-config") {
        return;
    }
    let flags = flags(&["--cflags", "--libs", "--static"]).into_iter();
    let flags = flags.map(|flag| if flag == "-lmicro" { "-l:libmicro.a".into() } else { flag });
    let program = build("static", &flags.collect::<Vec<_>>());
    assert_eq!(run(&mut Command::new(&program)), "ok\n");
    let needed = run(Command::new("readelf").arg("-d").arg(&program));
    assert!(!needed.contains("libmicro"), "{needed}");
}

#[test]
fn programs_find_both_libraries_by_cmake() {
    if lacks("cmake", "the library found by CMake") {
        return;
    }
    let build = installed("cmake");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(source("tests/install")).arg("-B").arg(&build);
    run(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", installed("usr").display())));
    run(Command::new("cmake").arg("--build").arg(&build));
    for program in ["shared", "static"] {
        assert_eq!(play(&build.join(program)), "ok\n", "{program}");
    }
}

#[test]
fn what_is_installed_has_its_names_and_shows_nothing_else() {
    let link = |name: &str| fs::read_link(installed("usr/lib").join(name)).expect("a link");
    assert_eq!(link("libmicro.so").as_os_str(), OsStr::new("libmicro.so.1"));
    assert_eq!(link("libmicro.so.1").as_os_str(), OsStr::new("libmicro.so.1.0.0"));
    let shared = installed("usr/lib/libmicro.so.1.0.0");
    let dynamic = run(Command::new("readelf").arg("-d").arg(&shared));
    assert!(dynamic.contains("[libmicro.so.1]") && dynamic.contains("NODELETE"), "{dynamic}");

    let listed = fs::read_to_string(source("abi/symbols.txt")).expect("the list");
    assert_eq!(global(&installed("usr/lib/libmicro.a")), listed.lines().collect::<Vec<_>>());
}

#[test]
fn a_program_may_link_another_library_of_rust() {
    let text = "#[unsafe(no_mangle)]
                pub extern \"C\" fn other() -> usize { format!(\"{}\", 42).len() }";
    fs::write(installed("other.rs"), text).expect("it is written");
    let mut rust = Command::new("rustc");
    rust.args(["--edition=2024", "--crate-type=staticlib", "-o"]).arg(installed("libother.a"));
    run(rust.arg(installed("other.rs")));
    let text = "#include <micro.h>
                size_t other(void);
                int main(void) { return other() == 2 && micro_version().len > 0 ? 0 : 1; }";
    fs::write(installed("both.c"), text).expect("it is written");
    let mut compiler = Command::new("cc");
    compiler.arg("-o").args(["both", "both.c"].map(installed));
    compiler.arg("-I").arg(installed("usr/include"));
    // Whatever name they had in common would be there twice.
    compiler.args(["usr/lib/libmicro.a", "libother.a"].map(installed));
    run(compiler.args(["-lutil", "-lrt", "-lpthread", "-lm", "-ldl"]));
    run(&mut Command::new(installed("both")));
}

#[test]
fn a_program_may_be_linked_without_shared_libraries() {
    let text = "#include <micro.h>
                int main(void) { return micro_version().len > 0 ? 0 : 1; }";
    fs::write(installed("alone.c"), text).expect("it is written");
    let pkg_config =
        fs::read_to_string(installed("usr/lib/pkgconfig/micro.pc")).expect("it is there");
    let private = pkg_config.lines().find_map(|line| line.strip_prefix("Libs.private: "));
    let mut compiler = Command::new("cc");
    compiler.arg("-static").arg("-o").args(["alone", "alone.c"].map(installed));
    compiler.arg("-I").arg(installed("usr/include")).arg(installed("usr/lib/libmicro.a"));
    run(compiler.args(private.expect("what it needs").split(' ')));
    run(&mut Command::new(installed("alone")));
    let needed = run(Command::new("readelf").arg("-d").arg(installed("alone")));
    assert!(!needed.contains("NEEDED"), "{needed}");
}
