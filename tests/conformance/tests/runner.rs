//! The runner with adapters that are wrong, missing or broken: it must notice.
#![allow(clippy::unwrap_used, reason = "a test says what it expected by failing")]

use std::path::Path;
use std::process::Command;

/// Two scenarios: one that a lossy `Echo` fails, one that a call which ends twice fails.
const SCENARIOS: &str = r#"
[[scenario]]
name = "echo"
steps = [
    { call = { id = "a", endpoint = "Echo", payload = "hello" } },
    { ends = { id = "a", payload = "hello" } },
]

[[scenario]]
name = "failure"
steps = [
    { call = { id = "a", endpoint = "Do", do = "detail=no;fail=5" } },
    { ends = { id = "a", code = "NOT_FOUND", detail = "no" } },
]
"#;

/// The Rust adapter, as one table of `adapters.toml`.
fn rust(name: &str, arguments: &[&str]) -> String {
    let run: Vec<_> = std::iter::once(env!("CARGO_BIN_EXE_adapter-rust"))
        .chain(arguments.iter().copied())
        .collect();
    format!("[[adapter]]\nname = {name:?}\nrun = {run:?}\n")
}

/// What a run said.
struct Said {
    fine: bool,
    text: String,
    matrix: Option<serde_json::Value>,
}

impl Said {
    fn has(&self, text: &str) -> &Self {
        assert!(self.text.contains(text), "no `{text}` in:\n{}", self.text);
        self
    }
}

/// Plays the scenarios with these adapters.
fn play(adapters: &str, ci: bool) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("adapters.toml", adapters);
    write("scenarios/test.toml", SCENARIOS);
    let at = |name: &str| folder.path().join(name);
    let output = Command::new(env!("CARGO_BIN_EXE_conformance"))
        .arg("--adapters")
        .arg(at("adapters.toml"))
        .arg("--scenarios")
        .arg(at("scenarios"))
        .arg("--reports")
        .arg(at("reports"))
        .env("CI", if ci { "true" } else { "" })
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let matrix = Path::new(&at("reports")).join("matrix.json");
    Said {
        fine: output.status.success(),
        text: String::from_utf8(text).unwrap(),
        matrix: std::fs::read(matrix).ok().map(|json| serde_json::from_slice(&json).unwrap()),
    }
}

#[test]
fn adapters_that_are_right_pass_in_every_cell() {
    let said = play(&[rust("one", &[]), rust("two", &[])].concat(), false);
    assert!(said.fine, "{}", said.text);
    said.has("test one->two/test/echo ... ok").has("8 passed; 0 failed; 0 ignored; 0 left out");
    let matrix = said.matrix.unwrap();
    assert_eq!(matrix["scenarios"], 2);
    assert_eq!(matrix["cells"].as_array().unwrap().len(), 4);
    let cell = serde_json::json!(
        { "client": "one", "server": "two", "passed": 2, "failed": 0, "skipped": 0 }
    );
    assert_eq!(matrix["cells"][1], cell);
}

#[test]
fn a_server_that_loses_a_byte_fails_its_cells_and_no_other() {
    let said = play(&[rust("rust", &[]), rust("lossy", &["--wrong", "echo"])].concat(), false);
    assert!(!said.fine);
    said.has("test rust->lossy/test/echo ... FAILED")
        .has("test lossy->lossy/test/echo ... FAILED")
        .has("test lossy->rust/test/echo ... ok")
        .has("test rust->lossy/test/failure ... ok")
        .has("expected Inline(b\"hello\"), got Inline(b\"hell\")")
        .has("6 passed; 2 failed");
    assert_eq!(said.matrix.unwrap()["cells"][1]["failed"], 1);
}

#[test]
fn a_client_whose_calls_end_twice_is_found_out() {
    let said = play(&rust("twice", &["--wrong", "end"]), false);
    assert!(!said.fine);
    said.has("test twice->twice/test/failure ... FAILED").has("test twice->twice/test/echo ... ok");
}

#[test]
fn a_language_whose_tools_are_missing_is_ignored_but_not_where_nothing_may_be() {
    let missing = "[[adapter]]\nname = 'cobol'\nrun = ['cobol']\nneeds = ['no-such-compiler']\n";
    let adapters = [rust("rust", &[]), missing.to_owned()].concat();
    let said = play(&adapters, false);
    assert!(said.fine, "{}", said.text);
    said.has("test cobol ... ignored, no-such-compiler is missing").has("1 ignored");
    let said = play(&adapters, true);
    assert!(!said.fine, "{}", said.text);
}

#[test]
fn what_an_adapter_leaves_out_is_counted_with_its_reason() {
    let skip = "[[adapter.skip]]\nscenario = 'test/echo'\nrole = 'server'\nreason = 'no echo'\n";
    let said = play(&[rust("rust", &[]), skip.to_owned()].concat(), true);
    assert!(said.fine, "{}", said.text);
    said.has("test rust->rust/test/echo ... left out, rust as server: no echo").has("1 left out");
    let unknown = skip.replace("test/echo", "test/nothing");
    let said = play(&[rust("rust", &[]), unknown].concat(), false);
    assert!(!said.fine);
    said.has("`test/nothing`, which is no scenario");
}

#[test]
fn an_adapter_that_ends_at_once_fails_with_a_reason() {
    let broken = "[[adapter]]\nname = 'broken'\nrun = ['false']\n";
    let said = play(broken, false);
    assert!(!said.fine);
    said.has("it did not say `ready`").has("0 passed; 2 failed");
}
