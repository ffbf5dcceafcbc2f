//! The short form of every scenario: what holds on any machine, however busy. `make chaos` judges
//! the figures that need a quiet one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::process::Command;

use micro_tests::suite::Report;
use micro_tests::toolchain::{Missing, skip};
use serde_json::Value;

/// The faults are the same in every run, so that a failure can be had again.
const SEED: &str = "7";

#[test]
fn a_fleet_in_trouble_keeps_its_promises() {
    if !network() {
        let missing = Missing("no network namespaces: `unshare` and `ip` are needed".into());
        return skip("a_fleet_in_trouble_keeps_its_promises", &missing);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let mut chaos = Command::new(env!("CARGO_BIN_EXE_chaos"));
    chaos.args(["--bounded", "--seconds", "32", "--seed", SEED, "--json"]).arg(&file);
    let output = chaos.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{printed}"));
    let report: Value = serde_json::from_str(&text).unwrap();
    let goals: Vec<&Value> = report["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|scenario| scenario["goals"].as_array().unwrap())
        .filter(|goal| goal["judged"] == true)
        .collect();
    let passed = goals.iter().filter(|goal| goal["met"] == true).count();
    let report = Report {
        suite: "chaos (bounded)".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        tested: "client and server".into(),
        passed,
        failed: goals.len() - passed,
        known: Vec::new(),
    };
    report.record();
    assert!(output.status.success() && report.failed == 0, "{printed}");
}

/// This machine lets us have a network.
fn network() -> bool {
    ["-n", "-Urn"].iter().any(|way| {
        let script = "ip link set lo up";
        let output = Command::new("unshare").args([way, "--", "sh", "-c", script]).output();
        output.is_ok_and(|output| output.status.success())
    })
}
