//! A short run of the whole benchmark: every row is measured, none is judged.

use std::process::Command;

const ROWS: [&str; 18] = [
    "server.bare.64",
    "server.bare.1024",
    "server.full.64",
    "server.full.1024",
    "client.latency",
    "client.throughput",
    "stream.server",
    "stream.client",
    "discovery.pick.10",
    "discovery.pick.10000",
    "discovery.flat",
    "discovery.memory",
    "discovery.change",
    "discovery.copied",
    "footprint.idle",
    "footprint.start",
    "library.size",
    "library.idle",
];

#[test]
fn a_quick_run_measures_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "--quick", "--out"])
        .arg(folder.path())
        .output()
        .unwrap();
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{told}");
    let text = std::fs::read_to_string(folder.path().join("benchmarks.json")).unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let measured: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    assert_eq!(measured, ROWS, "{told}");
    for row in rows {
        assert!(row["ours"].as_f64().is_some_and(|ours| ours > 0.0), "{row}");
        assert!(row["met"].is_null(), "too short to judge: {row}");
    }
}
