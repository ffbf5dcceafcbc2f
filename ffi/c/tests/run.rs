//! Builds the C programs here against the library and runs each of their tests in a process of its own.
//!
//! Twice: as they are, and with the C code under AddressSanitizer and UBSan, whose allocator then serves the library too.
//! `scripts/sanitize` runs them with a library that is under ThreadSanitizer itself: `MICRO_C_LIBRARY` is that library, and
//! `MICRO_C_THREAD` the runtime of the sanitizer it was compiled for.
//! Prints what a test of Rust's would, so that a tool which counts those counts these.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "a program for testers"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// One way to build the tests.
struct Build {
    name: &'static str,
    flags: &'static [&'static str],
}

const BUILDS: [Build; 2] = [
    Build { name: "plain", flags: &["-O2"] },
    Build {
        name: "address",
        flags: &["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    },
];
const THREAD: Build = Build { name: "thread", flags: &["-O1", "-fsanitize=thread"] };

/// A test of a program.
struct Test {
    name: String,
    program: PathBuf,
    argument: String,
}

fn main() -> ExitCode {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let builds = match std::env::var_os("MICRO_C_THREAD") {
        Some(_) => vec![THREAD],
        None => Vec::from(BUILDS),
    };
    let library = library();
    let mut tests = Vec::new();
    for build in builds {
        tests.extend(list(&build, &compile(&build, &library)));
    }
    tests.retain(|test| wanted.is_empty() || wanted.iter().any(|word| test.name.contains(word)));
    println!("\nrunning {} tests", tests.len());
    let begun = Instant::now();
    let failed = run(&tests);
    for (name, said) in &failed {
        println!("\n---- {name} ----\n{said}");
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {} passed; {} failed; 0 ignored; finished in {:.2}s\n",
        tests.len() - failed.len(),
        failed.len(),
        begun.elapsed().as_secs_f64()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn scratch() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c");
    fs::create_dir_all(&folder).expect("a folder to build in");
    folder
}

/// A folder that holds the library under the names that `cc` and the loader look for.
fn library() -> PathBuf {
    let built = std::env::var_os("MICRO_C_LIBRARY").map(PathBuf::from).unwrap_or_else(|| {
        let deps = std::env::current_exe().expect("this program");
        deps.with_file_name("libmicro_ffi.so")
    });
    let built = built.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    let folder = scratch().join(format!("lib-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the library");
    for name in ["libmicro.so", "libmicro.so.1"] {
        let link = folder.join(name);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&built, &link).expect("a link to the library");
    }
    folder
}

/// Builds the program of all tests.
fn compile(build: &Build, library: &Path) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = scratch().join(format!("suite-{}", build.name));
    let sources = fs::read_dir(here.join("tests")).expect("the folder of the tests");
    let sources = sources.map(|file| file.expect("a file").path());
    let mut sources: Vec<_> =
        sources.filter(|file| file.extension().is_some_and(|kind| kind == "c")).collect();
    sources.sort();
    let objects = scratch().join(build.name);
    fs::create_dir_all(&objects).expect("a folder to compile in");
    let mut compile = cc();
    compile.args(["-c", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-g"]);
    compile.arg("-pthread").args(build.flags).arg("-I").arg(here.join("../../include"));
    succeed(compile.args(&sources).current_dir(&objects));
    let mut link = cc();
    link.arg("-pthread").arg("-o").arg(&program);
    for source in &sources {
        link.arg(objects.join(source.with_extension("o").file_name().expect("a name")));
    }
    match std::env::var("MICRO_C_THREAD") {
        // That of the C compiler would not know what Rust's asks of it.
        Ok(runtime) => {
            link.arg("-rdynamic");
            link.arg(format!("-Wl,--whole-archive,{runtime},--no-whole-archive"));
            link.args(["-lstdc++", "-lm", "-ldl", "-lrt"]);
        }
        Err(_) => _ = link.args(build.flags),
    }
    link.arg("-L").arg(library).arg(format!("-Wl,-rpath,{}", library.display()));
    succeed(link.arg("-lmicro"));
    program
}

fn cc() -> Command {
    Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
}

fn succeed(command: &mut Command) {
    let status = command.status().expect("a C compiler: install gcc or clang, or name one in CC");
    assert!(status.success(), "{command:?}");
}

/// The tests of a program.
fn list(build: &Build, program: &Path) -> Vec<Test> {
    let output = Command::new(program).arg("--list").output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("names");
    let test = |argument: &str| Test {
        name: format!("{}::{argument}", build.name),
        program: program.to_owned(),
        argument: argument.to_owned(),
    };
    names.lines().map(test).collect()
}

/// Runs the tests, as many at once as there are processors; returns those that failed and what they said.
fn run(tests: &[Test]) -> Vec<(String, String)> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let said = play(test);
                    println!(
                        "test {} ... {}",
                        test.name,
                        if said.is_ok() { "ok" } else { "FAILED" }
                    );
                    if let Err(said) = said {
                        failed.lock().expect("no panic").push((test.name.clone(), said));
                    }
                }
            });
        }
    });
    failed.into_inner().expect("no panic")
}

fn play(test: &Test) -> Result<(), String> {
    let output = scratch().join(format!("{}.txt", test.name.replace("::", "-")));
    let file = File::create(&output).expect("a file for the output");
    let mut process = Command::new(&test.program);
    process.arg(&test.argument).stdin(Stdio::null());
    process.stdout(file.try_clone().expect("the file")).stderr(file);
    // A sanitizer that cannot live with the many forks of one test would end it.
    process.env("TSAN_OPTIONS", "die_after_fork=0:halt_on_error=1:second_deadlock_stack=1");
    process.env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1");
    process.env("RUST_BACKTRACE", "0");
    process.env("MICRO_C_CALLS", if cfg!(debug_assertions) { "50000" } else { "1000000" });
    // One that hangs is ended by an alarm of its own.
    let status = process.status().expect("the program starts");
    if status.success() {
        return Ok(());
    }
    Err(format!("{}{status}", fs::read_to_string(&output).unwrap_or_default()))
}
