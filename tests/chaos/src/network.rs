//! A network of the run's own: no port is taken, and no other program is disturbed.

use std::env;
use std::process::{Command, Stdio};

use crate::Outcome;

/// Set inside.
const INSIDE: &str = "MICRO_CHAOS_NETWORK";
const SET_UP: &str = "ip link set lo up && exec \"$@\"";

/// Runs `work` in a network namespace, by starting this program again inside one.
pub(crate) fn alone(work: impl FnOnce() -> Outcome<bool>) -> Outcome<bool> {
    if env::var_os(INSIDE).is_some() {
        return work();
    }
    let way = ["-n", "-Urn"].into_iter().find(|way| works(way)).ok_or(
        "no network namespaces: `unshare` and `ip` are needed, and root or user namespaces",
    )?;
    let status = Command::new("unshare")
        .args([way, "--", "sh", "-c", SET_UP, "sh"])
        .arg(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(INSIDE, "yes")
        .status()?;
    Ok(status.success())
}

fn works(way: &str) -> bool {
    let mut command = Command::new("unshare");
    command.args([way, "--", "sh", "-c", SET_UP, "sh", "true"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
