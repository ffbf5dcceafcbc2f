//! The task on a copy of what it reads, whole and tampered with.

use tempfile::TempDir;

use super::*;

/// A small tree: a bridge of one function, a header, and a package in Python.
fn tree() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        (LIST, include_str!("tests/surface.toml")),
        ("ffi/bridge/src/lib.rs", "mod client; pub use client::Client;"),
        ("ffi/bridge/src/client.rs", "impl Client { pub fn call(&self, token: u64) {} }"),
        (SYMBOLS, "micro_client_call\n"),
        ("include/micro.h", "#define MICRO_EVENT_REPLY 1\nint micro_client_call(int token);\n"),
        (PAGE, ""),
        ("python/client.py", "class Client:\n    async def call(self) -> None:\n        pass\n"),
    ] {
        write(folder.path(), path, text);
    }
    run(folder.path(), &Options { check: false }).unwrap();
    folder
}

fn write(folder: &Path, path: &str, text: &str) {
    let file = folder.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// What the check says after `from` became `to` in a file of the tree.
fn tampered(path: &str, from: &str, to: &str) -> String {
    let folder = tree();
    let text = fs::read_to_string(folder.path().join(path)).unwrap();
    assert!(text.contains(from), "{path} has no {from}");
    write(folder.path(), path, &text.replacen(from, to, 1));
    run(folder.path(), &Options { check: true }).unwrap_err().to_string()
}

#[test]
fn the_list_is_whole_and_the_page_is_its_own() {
    run(&crate::root(), &Options { check: true }).unwrap();
}

#[test]
fn what_was_written_passes_the_check() {
    run(tree().path(), &Options { check: true }).unwrap();
}

#[test]
fn a_function_of_the_bridge_that_is_not_listed_is_named() {
    let error = tampered("ffi/bridge/src/client.rs", "}", "} pub fn open(&self) {}");
    assert!(error.contains("Client::open is not listed"), "{error}");
}

#[test]
fn a_listed_function_that_is_gone_is_named() {
    let error = tampered("ffi/bridge/src/client.rs", "pub fn call", "pub(crate) fn call");
    assert!(error.contains("Client::call is listed, and is no function"), "{error}");
}

#[test]
fn other_arguments_are_named() {
    let error = tampered("ffi/bridge/src/client.rs", "token", "ticket");
    assert!(error.contains("Client::call takes [\"ticket\"]"), "{error}");
}

#[test]
fn a_function_of_c_that_no_operation_has_is_named() {
    let error = tampered(SYMBOLS, "micro_client_call\n", "micro_client_call\nmicro_more\n");
    assert!(error.contains("micro_more belongs to no operation"), "{error}");
}

#[test]
fn a_name_that_a_language_does_not_have_is_named() {
    let error = tampered("python/client.py", "def call", "def ask");
    assert!(error.contains("Client call: python has no Client.call"), "{error}");
    let error = tampered("include/micro.h", "int micro_client_call", "// int micro_client_call");
    assert!(error.contains("include/micro.h has no micro_client_call"), "{error}");
}

#[test]
fn a_hole_needs_a_reason() {
    let error = tampered(LIST, "python = \"Client.call\"\n", "");
    assert!(error.contains("Client call: how does Python spell it?"), "{error}");
    let error = tampered(LIST, "python = \"Client.call\"", "python = { none = \"\" }");
    assert!(error.contains("Python lacks it for no reason"), "{error}");
}

#[test]
fn an_event_that_is_none_is_named() {
    let error = tampered(LIST, "REPLY", "ANSWER");
    assert!(error.contains("there is no MICRO_EVENT_ANSWER"), "{error}");
}

#[test]
fn a_language_that_is_no_column_is_named() {
    let error =
        tampered(LIST, "python = \"Client.call\"", "python = \"Client.call\"\ncobol = \"CALL\"");
    assert!(error.contains("cobol is no language"), "{error}");
}

#[test]
fn a_planned_language_is_left_alone_until_it_is_there() {
    let folder = tree();
    let list = fs::read_to_string(folder.path().join(LIST)).unwrap();
    write(
        folder.path(),
        LIST,
        &list.replace("sources = \"python\"", "sources = \"later\"\nplanned = true"),
    );
    run(folder.path(), &Options { check: false }).unwrap();
    let page = fs::read_to_string(folder.path().join(PAGE)).unwrap();
    assert!(page.contains("| planned |"), "{page}");

    write(folder.path(), "later/client.py", "class Client:\n    def call(self): ...\n");
    let error = run(folder.path(), &Options { check: true }).unwrap_err().to_string();
    assert!(error.contains("Python is there: it is not `planned` any more"), "{error}");
}

#[test]
fn a_stale_page_is_named_with_the_command_that_writes_it() {
    let error = tampered(PAGE, "Makes a call", "Calls");
    assert!(error.contains("docs/matrix.md is stale: run `cargo xtask surface`"), "{error}");
}
