//! The task on a copy of what it reads, whole and tampered with.

use tempfile::TempDir;

use super::*;

const HEADER: &str = "include/micro.h";
const ROWS: &str = "ffi/bridge/src/operations/mod.rs";
const REGISTRY: &str = "ffi/bridge/src/operations/registry.rs";
const SETTINGS: &str = "core/src/settings/call.rs";
const CLIENT: &str = "python/client.py";
const TWIN: &str = "python/sync.py";
const OPTIONS: &str = "python/_options.py";

/// A small tree: a bridge of one function and two questions, a header, options, and a package in Python.
fn tree() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        (LIST, include_str!("tests/surface.toml")),
        ("ffi/bridge/src/lib.rs", "mod client; pub use client::Client;"),
        ("ffi/bridge/src/client.rs", "impl Client { pub fn call(&self, token: u64) {} }"),
        (ROWS, include_str!("tests/operations.rs")),
        (REGISTRY, include_str!("tests/registry.rs")),
        (SETTINGS, include_str!("tests/call.rs")),
        (SYMBOLS, "micro_client_call\nmicro_free\n"),
        (
            "ffi/c/abi/history/1.0.json",
            r#"{"functions": {"micro_client_call": "", "micro_free": ""}, "constants": {"MICRO_REGISTRY_REGISTER": ""}}"#,
        ),
        (
            "ffi/c/abi/history/1.10.json",
            r#"{"functions": {}, "constants": {"MICRO_REGISTRY_WATCH": ""}}"#,
        ),
        (HEADER, include_str!("tests/micro.h")),
        (PAGE, ""),
        (CLIENT, include_str!("tests/client.py")),
        (TWIN, include_str!("tests/sync.py")),
        (OPTIONS, include_str!("tests/options.py")),
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
    let error =
        tampered(LIST, "c = \"micro_free\"", "c = \"micro_free\", bridge = [\"Client::drop\"]");
    assert!(error.contains("Client::drop is listed, and is no function"), "{error}");
}

#[test]
fn a_function_of_c_that_no_operation_has_is_named() {
    let error = tampered(SYMBOLS, "micro_client_call\n", "micro_client_call\nmicro_more\n");
    assert!(error.contains("micro_more belongs to no operation"), "{error}");
}

#[test]
fn a_name_that_a_language_does_not_have_is_named() {
    let error = tampered(LIST, "python = \"Client.add\"", "python = \"Client.put\"");
    assert!(
        error.contains("Registry register: python has no Client.put: write it, or say"),
        "{error}"
    );
    let error = tampered(HEADER, "int micro_client_call", "// int micro_client_call");
    assert!(error.contains("include/micro.h has no micro_client_call"), "{error}");
}

#[test]
fn a_hole_needs_a_reason() {
    let error = tampered(LIST, "none = \"ownership\"", "none = \"\"");
    assert!(error.contains("Client free: Python lacks it for no reason"), "{error}");
}

#[test]
fn an_event_that_is_none_is_named() {
    let error = tampered(LIST, "REPLY", "ANSWER");
    assert!(error.contains("there is no MICRO_EVENT_ANSWER"), "{error}");
}

#[test]
fn a_language_that_is_no_column_is_named() {
    let error = tampered(LIST, "c = \"micro_free\"", "c = \"micro_free\", cobol = \"CALL\"");
    assert!(error.contains("Client free: cobol is no language"), "{error}");
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

#[test]
fn what_follows_a_rule_is_not_listed() {
    let error = tampered(LIST, "c = \"micro_free\"", "c = \"micro_client_free\"");
    assert!(error.contains("Client free: c follows the rule: leave it out"), "{error}");
    let error =
        tampered(LIST, "{ name = \"register\", python = \"Client.add\" }", "{ name = \"watch\" }");
    assert!(error.contains("Registry watch follows every rule: leave it out"), "{error}");
}

#[test]
fn what_is_neither_asked_nor_described_is_named() {
    let error = tampered(ROWS, "registry.register", "registry.add");
    assert!(error.contains("Registry register is not asked: say what it does"), "{error}");
    let error = tampered(ROWS, "registry.watch", "store.watch");
    assert!(error.contains("store.watch has no object"), "{error}");
    let error =
        tampered(LIST, "python = \"Client.add\"", "does = \"Adds\", python = \"Client.add\"");
    assert!(error.contains("the row of registry.register says what it does"), "{error}");
}

#[test]
fn since_when_there_is_something_follows_from_the_history() {
    let folder = tree();
    let page = fs::read_to_string(folder.path().join(PAGE)).unwrap();
    assert!(
        page.contains("| Adds a node | `REPLY` | 1.0 | `MICRO_REGISTRY_REGISTER` | `Client.add` |"),
        "{page}"
    );
    assert!(
        page.contains(
            "| Changes | `OPENED` `CHANGE` `END` | 1.10 | `MICRO_REGISTRY_WATCH` | `Client.watch` |"
        ),
        "{page}"
    );
}

#[test]
fn arguments_are_read_under_their_own_names_once_each() {
    let error = tampered(REGISTRY, "require(\"service\"", "require(\"name\"");
    assert!(error.contains("Register reads `service` as \"name\": give both one name"), "{error}");
    let error = tampered(REGISTRY, "read(\"ttl\"", "require(\"ttl\"");
    assert!(error.contains("Register reads `ttl` with require: write read"), "{error}");
    let error = tampered(REGISTRY, "require(\"service\"", "read(\"service\"");
    assert!(error.contains("Register reads `service` with read: write require"), "{error}");
    let error = tampered(REGISTRY, "ttl: fields.read(\"ttl\", Value::period)?,", "ttl: None,");
    assert!(error.contains("Register reads `ttl` 0 times"), "{error}");
    let error = tampered(REGISTRY, "async fn watch", "async fn see");
    assert!(
        error.contains(
            "registry.watch: ffi/bridge/src/operations/registry.rs: there is no function watch"
        ),
        "{error}"
    );
}

#[test]
fn a_comment_in_c_says_the_arguments_the_number_and_the_answer() {
    let error = tampered(HEADER, "\"ttl\"?: duration", "\"ttl\": duration");
    assert!(
        error.contains(
            "MICRO_REGISTRY_REGISTER: `ttl` is optional in registry.register: make it so"
        ),
        "{error}"
    );
    let error = tampered(HEADER, "\"ttl\"?: duration", "\"ttl\"?: number");
    assert!(error.contains("`ttl` is a duration in registry.register"), "{error}");
    let error = tampered(HEADER, "\"ttl\"?: duration", "\"ttl\"?: time");
    assert!(error.contains("`ttl` is \"time\" in its comment: write text, number"), "{error}");
    let error = tampered(HEADER, "\"service\": record,", "");
    assert!(error.contains("registry.register takes \"service\": record: add it"), "{error}");
    let error = tampered(HEADER, "args {}", "args {\"service\"?: text}");
    assert!(error.contains("registry.watch takes no `service`: leave it out"), "{error}");
    let error = tampered(HEADER, "args {}. ", "");
    assert!(
        error.contains("MICRO_REGISTRY_WATCH: its comment does not say what it takes"),
        "{error}"
    );
    let error = tampered(HEADER, "CHANGE: a", "a");
    assert!(error.contains("write CHANGE: ..."), "{error}");
    let error = tampered(HEADER, "REGISTER 516", "REGISTER 517");
    assert!(error.contains("it is 517, and registry.register is 0x0204 in the table"), "{error}");
}

#[test]
fn a_method_in_python_takes_the_arguments_and_a_timeout() {
    let place = "client.py: Client.add";
    let error = tampered(CLIENT, "service: Record", "record: Record");
    assert!(
        error.contains(&format!("{place}: registry.register takes \"service\": record: add it")),
        "{error}"
    );
    assert!(error.contains(&format!("{place}: registry.register takes no `record`")), "{error}");
    let error = tampered(CLIENT, "ttl: float | None = None", "ttl: float");
    assert!(error.contains(&format!("{place}: `ttl` is optional in registry.register")), "{error}");
    let error = tampered(CLIENT, "service: Record", "service: str");
    assert!(
        error.contains(&format!("{place}: `service` is a record in registry.register")),
        "{error}"
    );
    let error = tampered(CLIENT, ", timeout: float | None = None\n", "\n");
    assert!(error.contains(&format!("{place}: it takes no timeout")), "{error}");
}

#[test]
fn a_method_in_python_asks_what_it_is_for() {
    let error = tampered(CLIENT, "\"registry.watch\"", "\"registry.watched\"");
    assert!(
        error.contains(
            "client.py: Client.watch: it does not ask question(\"registry.watch\", timeout"
        ),
        "{error}"
    );
    let error = tampered(CLIENT, ", ttl=milliseconds(ttl)", "");
    assert!(
        error.contains("client.py: Client.add: it asks registry.register with {\"service\"}"),
        "{error}"
    );
}

#[test]
fn twins_in_python_have_the_same_parameters() {
    let error = tampered(TWIN, "service: Record", "service: Node");
    assert!(
        error.contains("sync.py: Client.add: its parameters are not those in client.py"),
        "{error}"
    );
    let error = tampered(TWIN, "def watch", "def see");
    assert!(error.contains("client.py: Client.watch: micro.sync has no twin of it"), "{error}");
}

#[test]
fn an_argument_may_have_another_name_in_a_language() {
    let folder = tree();
    for path in [CLIENT, TWIN] {
        let text = fs::read_to_string(folder.path().join(path)).unwrap();
        let renamed =
            text.replace("service: Record", "record: Record").replace("of(service)", "of(record)");
        write(folder.path(), path, &renamed);
    }
    let list = fs::read_to_string(folder.path().join(LIST)).unwrap();
    let excused = list.replace(
        "python = \"Client.add\"",
        "python = \"Client.add\", arguments = { python = { service = \"record\" } }",
    );
    write(folder.path(), LIST, &excused);
    run(folder.path(), &Options { check: true }).unwrap();
}

#[test]
fn options_are_the_keys_of_the_documents() {
    let error = tampered(OPTIONS, "retries: int", "attempts: int");
    assert!(
        error.contains("Python: CallOptions has no `retries` of CallSettings: add it"),
        "{error}"
    );
    assert!(error.contains("Python: CallSettings has no `attempts` of CallOptions"), "{error}");
    let error = tampered(SETTINGS, "\"retries\"", "\"tries\"");
    assert!(error.contains("CallOptions has no `tries`"), "{error}");
    let error = tampered(OPTIONS, "codec: str", "content_type: str");
    assert!(
        error.contains("CallOptions has `content_type`: it does not lack it any more"),
        "{error}"
    );
    assert!(error.contains("CallOptions does not add `codec`"), "{error}");
    let error = tampered(LIST, "\"told beside it\"", "\"\"");
    assert!(error.contains("CallOptions: `codec` needs a reason"), "{error}");
}

#[test]
fn durations_among_options_are_typed_and_listed_as_such() {
    let error = tampered(OPTIONS, "timeout: Seconds | None", "timeout: float | None");
    assert!(error.contains("`timeout` of CallOptions is a duration in CallSettings"), "{error}");
    let error = tampered(OPTIONS, "retries: int", "retries: Seconds");
    assert!(error.contains("`retries` of CallOptions is no duration in CallSettings"), "{error}");
    let error = tampered(OPTIONS, ", \"patience\"", "");
    assert!(error.contains("`patience` is a duration: add it to _DURATIONS"), "{error}");
    let error = tampered(OPTIONS, "\"patience\"", "\"patience\", \"retries\"");
    assert!(error.contains("`retries` is no duration: take it out of _DURATIONS"), "{error}");
}
