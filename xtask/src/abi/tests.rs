//! The task on a copy of the sources, whole and tampered with.

use tempfile::TempDir;

use super::*;

const CHECK: Options = Options { check: true, unreleased: false };
const WRITE: Options = Options { check: false, unreleased: false };

/// A copy of what the task reads.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for path in [HEADER, SYMBOLS, LAYOUT, "ffi/c/cbindgen.toml"] {
        copy_file(folder.path(), path);
    }
    for path in ["ffi/c/src", HISTORY] {
        for entry in fs::read_dir(crate::root().join(path)).unwrap() {
            let name = entry.unwrap().file_name();
            copy_file(folder.path(), &format!("{path}/{}", name.to_str().unwrap()));
        }
    }
    folder
}

fn copy_file(folder: &Path, path: &str) {
    let to = folder.join(path);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(crate::root().join(path), to).unwrap();
}

/// What the task says after `from` became `to` in a file of the copy.
fn tampered(path: &str, from: &str, to: &str) -> String {
    let folder = copy();
    let file = folder.path().join(path);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{path} has no {from}");
    fs::write(&file, text.replacen(from, to, 1)).unwrap();
    run(folder.path(), &CHECK).unwrap_err().to_string()
}

#[test]
fn the_checked_in_files_are_those_of_the_sources() {
    run(&crate::root(), &CHECK).unwrap();
}

#[test]
fn a_header_that_was_edited_by_hand_is_stale() {
    let error = tampered(HEADER, "// Success.", "// All is well.");
    assert!(error.contains("include/micro.h is stale"), "{error}");
}

#[test]
fn a_comment_that_changed_in_the_sources_makes_the_header_stale() {
    let error = tampered("ffi/c/src/status.rs", "/// Success.", "/// All is well.");
    assert!(error.contains("include/micro.h is stale"), "{error}");
}

#[test]
fn a_symbol_that_is_not_listed_is_found() {
    let error = tampered(SYMBOLS, "micro_cancel\n", "");
    assert!(error.contains("symbols.txt is stale"), "{error}");
}

#[test]
fn a_function_that_the_library_lacks_is_found() {
    let error = tampered("ffi/c/src/abi.rs", "fn micro_version(", "fn micro_edition(");
    assert!(error.contains("micro_edition is not exported"), "{error}");
    assert!(error.contains("micro_version must not be exported"), "{error}");
    assert!(error.contains("since 1.0, micro_version is gone"), "{error}");
}

#[test]
fn a_field_that_the_library_lacks_is_found() {
    let error = tampered(
        "ffi/c/src/event.rs",
        "pub reserved: u32,",
        "pub reserved: u32,\n    pub more: u64,",
    );
    assert!(error.contains("micro_event: the library has"), "{error}");
}

#[test]
fn a_struct_that_is_not_checked_is_found() {
    let more = "#[repr(C)]\npub struct micro_more {\n    pub one: u32,\n}\n\n/// Another.\n#[unsafe(no_mangle)]\npub extern \"C\" fn micro_another(_: micro_more) {\n    guard();\n}\n\n/// Version of the library for";
    let error = tampered("ffi/c/src/abi.rs", "/// Version of the library for", more);
    assert!(error.contains("does not list every struct"), "{error}");
}

#[test]
fn a_constant_that_changed_is_found() {
    let error = tampered(
        "ffi/c/src/status.rs",
        "MICRO_STALE: micro_status = 1000",
        "MICRO_STALE: micro_status = 1001",
    );
    assert!(error.contains("since 1.0, MICRO_STALE was 1000 and is 1001"), "{error}");
}

#[test]
fn an_unguarded_function_is_found() {
    let error = tampered("ffi/c/src/meta.rs", "micro_bridge::guard(|| Ok", "straight(|| Ok");
    assert!(error.contains("micro_meta_rest lets panics out"), "{error}");
}

#[test]
fn a_new_version_writes_its_history_and_keeps_the_old_one() {
    let folder = copy();
    let file = folder.path().join("ffi/c/src/abi.rs");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("MICRO_ABI_MINOR: u32 = 0", "MICRO_ABI_MINOR: u32 = 1")).unwrap();
    run(folder.path(), &WRITE).unwrap();
    run(folder.path(), &CHECK).unwrap();
    assert!(folder.path().join(HISTORY).join("1.0.json").exists());
    assert!(folder.path().join(HISTORY).join("1.1.json").exists());
}
