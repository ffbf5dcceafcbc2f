//! `micro config`, as the operator of a program runs it.
#![allow(clippy::expect_used, reason = "a test says what it expected by failing")]

use std::process::{Command, Output};

use serde_json::{Value, json};

/// Runs the command in an environment of these variables alone.
fn config(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_micro"));
    command.env_clear().envs(variables.iter().copied()).arg("config");
    command.args(arguments).output().expect("it runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn values_are_shown_with_where_they_come_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.yaml");
    std::fs::write(&file, "db:\n  url: postgres://${HOST:-localhost}\n  pool: 4\n")
        .expect("a file");
    let file = file.to_str().expect("text");
    let sources = ["--source", file, "--source", "env://SHOP"];
    let variables = [("SHOP_DB_POOL", "8"), ("HOST", "db.example")];
    let run = |words: &[&str]| config(&[words, &sources].concat(), &variables);

    let got = run(&["get", "db.url"]);
    assert_eq!(text(&got.stdout), "postgres://db.example\n", "{got:?}");
    let all = run(&["get"]);
    let all: Value = serde_json::from_slice(&all.stdout).expect("JSON");
    assert_eq!(all, json!({"db": {"url": "postgres://db.example", "pool": 8}}));
    let raw = run(&["get", "db.url", "--raw"]);
    assert_eq!(text(&raw.stdout), "postgres://${HOST:-localhost}\n");

    let why = run(&["why", "db.pool"]);
    let expected =
        format!("db.pool = 8\n  from the variable SHOP_DB_POOL: 8\n  over {file}:3: 4\n");
    assert_eq!(text(&why.stdout), expected);

    let nothing = run(&["get", "db.pol"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing.stderr).contains("no source sets db.pol"), "{nothing:?}");
}

#[test]
fn a_file_that_is_wrong_is_told_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.toml");
    std::fs::write(&file, "a = 1\nb = \n").expect("a file");
    let file = file.to_str().expect("text");
    let refused = config(&["get", "--source", file], &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains(&format!("{file}:2: ")), "{refused:?}");
}
