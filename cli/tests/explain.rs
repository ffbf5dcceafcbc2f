//! `micro explain config`, as the operator of a service runs it.
#![allow(clippy::expect_used, reason = "a test says what it expected by failing")]

use std::process::{Command, Output};

use serde_json::{Value, json};

/// Runs the command in an environment of these variables alone.
fn explain(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_micro"));
    command.env_clear().envs(variables.iter().copied()).args(["explain", "config"]);
    command.args(arguments).output().expect("it runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn each_setting_is_shown_with_what_set_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("service.json");
    std::fs::write(&file, r#"{"grace": "3s", "id": "d", "address": ":1"}"#).expect("a document");
    let file = file.to_str().expect("text");
    let flags =
        ["--settings", file, "--", "--address=:8080", "--client-metadata=authorization=secret"];
    let variables = [("MICRO_SERVER_ID", "v"), ("MICRO_SERVER_ADDRESS", ":2")];
    let shown = explain(&flags, &variables);
    assert!(shown.status.success(), "{shown:?}");
    let lines: Vec<Vec<&str>> =
        text(&shown.stdout).lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines,
        [
            vec!["SETTING", "VALUE", "SET", "BY"],
            vec!["id", "v", "variable", "MICRO_SERVER_ID"],
            vec!["address", ":8080", "flag", "--address"],
            vec!["grace", "3s", "document", file],
            vec!["client.metadata.authorization", "…", "flag", "--client-metadata"],
        ]
    );
    let told = explain(&["-o", "json", "--", "--grace=5s"], &[]);
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    let grace = json!({"setting": "grace", "value": "5s", "kind": "flag", "source": "--grace"});
    assert_eq!(told, json!([grace]));
}

#[test]
fn defaults_are_shown_where_they_are_asked_for() {
    let nothing = explain(&[], &[]);
    assert!(nothing.status.success() && nothing.stdout.is_empty(), "{nothing:?}");
    assert!(text(&nothing.stderr).contains("--all shows the defaults"));
    let all = explain(&["--all"], &[]);
    let rows: Vec<_> = text(&all.stdout).lines().skip(1).collect();
    // But for the document that names itself.
    assert_eq!(rows.len() + 1, micro::settings::all().count());
    assert!(rows.iter().all(|row| row.ends_with("default")), "{rows:#?}");
}

#[test]
fn what_is_wrong_is_refused_as_the_service_would() {
    for (flags, variables, says) in [
        (&["--", "--adress=:1"][..], &[][..], "unknown flag \"--adress\": did you mean --address?"),
        (&[], &[("MICRO_SERVER_GRACE", "soon")], "MICRO_SERVER_GRACE: \"soon\" is no duration"),
        (&["--settings", "/nowhere.json"], &[], "/nowhere.json: the settings cannot be read"),
    ] {
        let output = explain(flags, variables);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(says), "{output:?}");
    }
    let help = explain(&["--", "--help"], &[]);
    assert!(help.status.success() && text(&help.stdout).contains("  --address HOST:PORT\n"));
}
