//! Other machines: processes in network namespaces of their own, joined by cables.
//!
//! Inside of [`isolated`](crate::isolated) only, whose namespace is the first machine.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take that should happen.
const PATIENCE: Duration = Duration::from_secs(45);

/// Another machine, as long as this lives.
#[derive(Debug)]
pub struct Host {
    /// Holds the namespace until its stdin ends, which it does with this process.
    keeper: Child,
}

/// A program that runs on a machine, as long as this lives.
#[derive(Debug)]
pub struct Program {
    child: Child,
    lines: Receiver<String>,
}

/// Runs `ip` here, once for each line of `script`.
///
/// # Panics
/// When it fails.
pub fn ip(script: &str) {
    run(&[], script);
}

/// Lays a cable between this machine and `host`; both ends are up and have no address.
///
/// # Panics
/// When that fails.
pub fn cable(here: &str, host: &Host, there: &str) {
    let number = host.keeper.id();
    ip(&format!("link add {here} type veth peer name {there} netns {number}\nlink set {here} up"));
    host.ip(&format!("link set {there} up"));
}

/// Starts `program` here; it gets no variables of micro's but those of `variables`.
///
/// # Panics
/// When it does not start.
pub fn start(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Program {
    Program::start(Command::new(program), arguments, variables)
}

impl Host {
    /// A machine without cables.
    ///
    /// # Panics
    /// When no namespace can be made.
    pub fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["-n", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let host = Self { keeper: command.spawn().expect("unshare") };
        let namespace =
            |process: &str| std::fs::read_link(Path::new("/proc").join(process).join("ns/net"));
        let ours = namespace("self").expect("a namespace");
        let begun = Instant::now();
        while namespace(&host.keeper.id().to_string()).ok().is_none_or(|theirs| theirs == ours) {
            assert!(begun.elapsed() < PATIENCE, "no namespace for another machine");
            std::thread::yield_now();
        }
        host.ip("link set lo up multicast on");
        host
    }

    /// Runs `ip` there, once for each line of `script`.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, script: &str) {
        let target = self.keeper.id().to_string();
        run(&["nsenter", "-t", &target, "-n", "--"], script);
    }

    /// Starts `program` there.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&self, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Program {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.keeper.id().to_string(), "-n", "--", program]);
        Program::start(command, arguments, variables)
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

impl Program {
    fn start(mut command: Command, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MICRO_")) {
            command.env_remove(name);
        }
        command.args(arguments).envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line it prints.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }

    /// Reads lines until one contains `text`.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn line_with(&self, text: &str) -> String {
        let begun = Instant::now();
        let mut seen = Vec::new();
        loop {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {text:?}, but {seen:#?}"),
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(within: &[&str], script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words = within.iter().copied().chain(["ip"]).chain(line.split_whitespace());
        let words: Vec<&str> = words.collect();
        let output = Command::new(words[0]).args(&words[1..]).output().expect("ip");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {line}: {said}");
    }
}
