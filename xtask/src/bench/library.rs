//! What the library costs that other languages load, as it is installed, and programs in C that use it.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::plan::Plan;
use super::process::{Program, output};
use super::row::{Goal, Row, Sample, Spec};
use crate::Outcome;
use crate::abi::library;

const SIZE: Spec = Spec {
    id: "library.size",
    title: "Size of the installed libmicro.so, with every engine",
    unit: "MB",
    goal: Goal::at_most(24.0),
};

const BARE: Spec = Spec {
    id: "library.bare",
    title: "Size of libmicro.so without engines",
    unit: "MB",
    goal: Goal::at_most(12.0),
};

/// Engines, each a feature of the library.
const ENGINES: [(&str, Spec); 5] = [
    ("etcd", engine("library.engine.etcd", "What `etcd://` adds to it")),
    ("nats", engine("library.engine.nats", "What `nats://` and `jetstream://` add to it")),
    (
        "postgres",
        engine("library.engine.postgres", "What `postgres://` and `cockroach://` add to it"),
    ),
    ("redis", engine("library.engine.redis", "What `redis://` adds to it")),
    ("sqlite", engine("library.engine.sqlite", "What `sqlite://` adds to it")),
];

const fn engine(id: &'static str, title: &'static str) -> Spec {
    Spec { id, title, unit: "MB", goal: Goal::at_most(4.0) }
}

const IDLE: Spec = Spec {
    id: "library.idle",
    title: "Resident memory of a C program with an idle runtime",
    unit: "MB",
    goal: Goal::at_most(8.0),
};

const MEGABYTE: f64 = 1_048_576.0;

pub(crate) async fn rows(plan: &Plan, root: &Path) -> Vec<Row> {
    if !plan.has_ours() {
        return Vec::new();
    }
    if ![SIZE.id, IDLE.id].iter().any(|id| plan.is_asked_for(id)) {
        return engines(plan, root).await;
    }
    let installed = install(plan, root).await.map_err(|error| error.to_string());
    let size = plan.alone(&SIZE, async || {
        let shared = installed.clone()?.join("lib/libmicro.so");
        sample(std::fs::metadata(shared)?.len() as f64 / MEGABYTE)
    });
    let size = size.await;
    let idle = plan.alone(&IDLE, async || {
        let mut program = Program::start(Command::new(installed.clone()?.join("idle")))?;
        program.line().await?;
        let value = program.resident_megabytes()?;
        program.stop().await?;
        sample(value)
    });
    let mut rows: Vec<Row> = size.into_iter().chain(idle.await).collect();
    rows.extend(engines(plan, root).await);
    rows
}

/// The library without one engine after the other, and without any. Each is a build, so that a quick run leaves it out.
async fn engines(plan: &Plan, root: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    if plan.is_quick() {
        return rows;
    }
    let names: Vec<&str> = ENGINES.iter().map(|(name, _)| *name).collect();
    let with = async |features: &[&str]| size_with(plan, root, features).await;
    rows.extend(plan.alone(&BARE, async || sample(with(&[]).await?)).await);
    for (name, spec) in &ENGINES {
        let others: Vec<&str> = names.iter().copied().filter(|other| other != name).collect();
        let adds = async || sample(with(&names).await? - with(&others).await?);
        rows.extend(plan.alone(spec, adds).await);
    }
    if !rows.is_empty() {
        // What others find in the folder of the release has all of them again.
        if let Err(error) = with(&names).await {
            println!("the library was not built again: {error}");
        }
    }
    rows
}

/// Size of the library with these features, as it is installed.
async fn size_with(plan: &Plan, root: &Path, features: &[&str]) -> Outcome<f64> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--release",
        "--locked",
        "--package",
        "micro-ffi",
        "--no-default-features",
    ]);
    cargo.args(["--features", &features.join(",")]).current_dir(root).kill_on_drop(true);
    if !cargo.status().await?.success() {
        return Err(format!("the library does not build with {features:?}").into());
    }
    let stripped = plan.scratch().join("stripped.so");
    let mut strip = Command::new("strip");
    let built = plan.programs().join("libmicro_ffi.so");
    strip.arg("--strip-unneeded").arg("-o").arg(&stripped).arg(built);
    output(strip).await?;
    Ok(std::fs::metadata(stripped)?.len() as f64 / MEGABYTE)
}

fn sample(value: f64) -> Outcome<Sample> {
    Ok(Sample { value, cpu_us: None })
}

/// Programs in C, by the names of their sources.
const PROGRAMS: [&str; 5] = ["idle", "server", "client", "echo", "ask"];

/// Installs the library and compiles the programs in C against it, once; returns where they are.
pub(crate) async fn install(plan: &Plan, root: &Path) -> Outcome<PathBuf> {
    let prefix = plan.scratch().join("library");
    if prefix.join("include").exists() {
        return Ok(prefix);
    }
    let mut install = Command::new(root.join("scripts/install"));
    install.env("PREFIX", &prefix).env("DESTDIR", "");
    if plan.is_quick() {
        // What was built with this program will do where nothing is judged.
        install.env("LIBRARIES", library()?.parent().ok_or("no folder")?);
    } else {
        install.env("PROFILE", "release").env_remove("LIBRARIES");
    }
    // It may have to build, which takes longer than programs may take.
    if !install.kill_on_drop(true).status().await?.success() {
        return Err("scripts/install failed; its complaint is above".into());
    }
    for program in PROGRAMS {
        let mut compiler = Command::new("cc");
        compiler.arg("-O2").arg("-o").arg(prefix.join(program));
        compiler.arg(root.join(format!("tests/bench-peers/c/{program}.c")));
        compiler.arg("-I").arg(prefix.join("include"));
        compiler.arg("-L").arg(prefix.join("lib")).arg("-lmicro");
        compiler.arg(format!("-Wl,-rpath,{}", prefix.join("lib").display()));
        output(compiler).await?;
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_of_the_library_has_a_row() {
        let manifest = include_str!("../../../ffi/c/Cargo.toml");
        let manifest: toml::Table = manifest.parse().unwrap();
        let features = manifest["features"]["default"].as_array().unwrap();
        let features: Vec<&str> = features.iter().filter_map(toml::Value::as_str).collect();
        assert_eq!(features, ENGINES.map(|(name, _)| name));
    }
}
