//! A short run of the benchmark: every row is measured, none is judged. Those of Python need a wheel, and are part of the run
//! that `make test` makes once it is built, as are those of messages next to servers.

use std::process::Command;

/// Where the names of the rows begin.
const FAMILIES: &str = "server,client,stream,tonic,discovery,footprint,library,c,border,message.floor,message.latency,\
                        message.groups,message.slow-group,message.topics,message.recovery,message.memory";

const ROWS: [&str; 39] = [
    "server.bare.64",
    "server.bare.1024",
    "server.full.64",
    "server.full.1024",
    "client.latency",
    "client.throughput",
    "client.fleet",
    "stream.server",
    "stream.client",
    "tonic.channel",
    "tonic.server",
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
    "c.server.64",
    "c.client.64",
    "c.server.1024",
    "c.client.1024",
    "border.echo.1",
    "border.wakes.1",
    "border.echo.32",
    "border.wakes.32",
    "border.echo.1000",
    "border.wakes.1000",
    "border.ask.32",
    "message.floor",
    "message.latency",
    "message.groups",
    "message.slow-group",
    "message.topics",
    "message.recovery",
    "message.memory",
];

#[test]
fn a_quick_run_measures_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "--quick", "--rows", FAMILIES, "--out"])
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
