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
    title: "Size of the installed libmicro.so",
    unit: "MB",
    goal: Goal::at_most(12.0),
};

const IDLE: Spec = Spec {
    id: "library.idle",
    title: "Resident memory of a C program with an idle runtime",
    unit: "MB",
    goal: Goal::at_most(8.0),
};

const MEGABYTE: f64 = 1_048_576.0;

pub(crate) async fn rows(plan: &Plan, root: &Path) -> Vec<Row> {
    if !plan.has_ours() || ![SIZE.id, IDLE.id].iter().any(|id| plan.is_asked_for(id)) {
        return Vec::new();
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
    size.into_iter().chain(idle.await).collect()
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
