//! A program of `bench-peers`: started, talked to, measured from outside and ended.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Take};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::plan::{Half, Plan, Side};
use crate::Outcome;

/// Longest any program may take to become ready or to finish.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a program may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// Most output kept of a program.
const OUTPUT: u64 = 1 << 20;
/// The kernel counts processor time for user space in hundredths of a second on every platform.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running program that talks by lines, killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<Take<ChildStdout>>>,
    name: String,
}

impl Program {
    /// Starts `command`. The programs of `bench-peers` end when their standard input does, even
    /// if this program is killed.
    pub(crate) fn start(mut command: Command) -> Outcome<Self> {
        let name = format!("{:?}", command.as_std());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        let stdin = child.stdin.take().ok_or("no standard input")?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        Ok(Self { child, stdin, stdout: BufReader::new(stdout.take(OUTPUT)).lines(), name })
    }

    /// The next line it prints.
    pub(crate) async fn line(&mut self) -> Outcome<String> {
        let line = timeout(PATIENCE, self.stdout.next_line())
            .await
            .map_err(|_| format!("{} is silent for {PATIENCE:?}", self.name))??;
        line.ok_or_else(|| format!("{} ended; its complaint is above", self.name).into())
    }

    /// Writes `question` and reads the answer.
    pub(crate) async fn ask(&mut self, question: &str) -> Outcome<String> {
        self.stdin.write_all(format!("{question}\n").as_bytes()).await?;
        self.line().await
    }

    /// Processor time used so far, in seconds.
    pub(crate) fn processor_time(&self) -> Outcome<f64> {
        let stat = std::fs::read_to_string(self.proc("stat")?)?;
        processor_seconds(&stat).ok_or_else(|| format!("/proc says {stat:?}").into())
    }

    /// Resident memory, in megabytes of 2^20 bytes.
    pub(crate) fn resident_megabytes(&self) -> Outcome<f64> {
        let status = std::fs::read_to_string(self.proc("status")?)?;
        resident_megabytes(&status).ok_or_else(|| format!("/proc says {status:?}").into())
    }

    fn proc(&self, file: &str) -> Outcome<PathBuf> {
        let id = self.child.id().ok_or_else(|| format!("{} ended", self.name))?;
        let path = Path::new("/proc").join(id.to_string()).join(file);
        if !path.exists() {
            return Err("memory and processor time are read from /proc: run on Linux".into());
        }
        Ok(path)
    }

    /// Ends the program and waits until it is gone, so that it does not compete with the next one.
    pub(crate) async fn stop(self) -> Outcome {
        let Self { mut child, stdin, .. } = self;
        drop(stdin);
        if timeout(GRACE, child.wait()).await.is_err() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Ends it without a warning, as `kill -9` does.
    pub(crate) async fn kill(mut self) -> Outcome {
        Ok(self.child.kill().await?)
    }
}

/// A program that accepts connections.
pub(crate) struct Server {
    /// Where it runs.
    pub(crate) program: Program,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From the start of the process until it said it answers calls.
    pub(crate) started_in: Duration,
}

impl Server {
    /// Starts `command` and waits until it prints `listening <address>`.
    pub(crate) async fn start(command: Command) -> Outcome<Self> {
        let spawned = Instant::now();
        let mut program = Program::start(command)?;
        let line = program.line().await?;
        let started_in = spawned.elapsed();
        let address = line
            .strip_prefix("listening ")
            .and_then(|address| address.parse().ok())
            .ok_or_else(|| format!("{} said {line:?}, not its address", program.name))?;
        Ok(Self { program, address, started_in })
    }

    /// Starts the server of `side`; `arguments` are for ours only, in a noise run for neither.
    pub(crate) async fn of(
        plan: &Plan,
        half: Half,
        side: Side,
        arguments: &[&str],
    ) -> Outcome<Self> {
        let mut command = plan.side_on(half, side, "server");
        if plan.is_ours(side) {
            command.args(arguments);
        }
        Self::start(command).await
    }
}

/// Runs `command` to its end and returns what it printed.
pub(crate) async fn output(mut command: Command) -> Outcome<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let stderr = child.stderr.take().ok_or("no standard error")?;
    let (mut printed, mut complained) = (String::new(), String::new());
    let status = timeout(PATIENCE, async {
        let (mut stdout, mut stderr) = (stdout.take(OUTPUT), stderr.take(OUTPUT));
        tokio::try_join!(
            stdout.read_to_string(&mut printed),
            stderr.read_to_string(&mut complained)
        )?;
        child.wait().await
    })
    .await
    .map_err(|_| format!("{:?} did not finish in {PATIENCE:?}", command.as_std()))??;
    if status.success() {
        return Ok(printed);
    }
    Err(format!("{:?} failed: {}{}", command.as_std(), printed.trim(), complained.trim()).into())
}

/// User and system time of `/proc/<id>/stat`: fields 14 and 15, counted after the program's name,
/// which is in parentheses and may itself contain spaces.
fn processor_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn resident_megabytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn processor_time_is_user_plus_system() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4 1 0 0 0 150 50 0 0 20 0 3 0 1 1 1";
        assert_eq!(processor_seconds(stat), Some(2.0));
    }

    #[test]
    fn resident_memory_is_read_in_megabytes() {
        assert_eq!(resident_megabytes("VmSize:\t 9 kB\nVmRSS:\t    3072 kB\n"), Some(3.0));
    }

    #[tokio::test]
    async fn a_server_ends_when_it_is_stopped() {
        let server = Server::start(shell("echo listening 127.0.0.1:9; cat")).await.unwrap();
        let id = server.program.child.id().unwrap();
        assert_eq!(server.address, "127.0.0.1:9".parse().unwrap());
        server.program.stop().await.unwrap();
        assert!(!Path::new("/proc").join(id.to_string()).exists());
    }

    #[tokio::test]
    async fn a_server_that_says_something_else_is_an_error() {
        let error = Server::start(shell("echo no port left")).await.err().unwrap().to_string();
        assert!(error.contains("no port left"), "{error}");
    }

    #[tokio::test]
    async fn a_program_answers_line_by_line() {
        let mut program = Program::start(shell("cat")).unwrap();
        assert_eq!(program.ask("150").await.unwrap(), "150");
        program.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_program_that_ended_does_not_keep_the_harness_waiting() {
        let mut program = Program::start(shell("exit 1")).unwrap();
        let error = program.line().await.unwrap_err().to_string();
        assert!(error.contains("ended"), "{error}");
    }

    #[tokio::test]
    async fn a_failed_program_is_an_error_with_its_complaint() {
        let error = output(shell("echo broken >&2; exit 3")).await.unwrap_err().to_string();
        assert!(error.contains("broken"), "{error}");
    }
}
