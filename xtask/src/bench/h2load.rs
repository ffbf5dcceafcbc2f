//! `h2load`, the load generator of nghttp2: it knows nothing of either framework.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use prost::Message;
use tokio::process::Command;

use super::plan::Half;
use super::process::output;
use crate::Outcome;

/// Connections and streams per connection; one thread, so that the server has the other core.
const ARGUMENTS: [&str; 6] = ["-c", "4", "-m", "32", "-t", "1"];

/// `bench.Payload`, without linking either framework into this program.
#[derive(Clone, PartialEq, Message)]
struct Payload {
    #[prost(bytes = "vec", tag = "1")]
    body: Vec<u8>,
}

/// Calls of `bench.Echo/Call` with one payload.
pub(crate) struct Calls<'a> {
    /// Holds the framed request.
    file: PathBuf,
    /// Bytes of the framed request, and of a framed reply.
    framed: u64,
    /// Headers besides those of gRPC.
    headers: &'a [&'a str],
}

impl<'a> Calls<'a> {
    /// Writes a gRPC frame around a body of `size` bytes to `folder`.
    ///
    /// # Errors
    /// If h2load is not installed, or the file cannot be written.
    pub(crate) async fn new(folder: &Path, size: u32, headers: &'a [&'a str]) -> Outcome<Self> {
        let mut version = Command::new("h2load");
        version.arg("--version");
        output(version).await.map_err(|error| {
            format!("install h2load (Debian: apt-get install nghttp2-client): {error}")
        })?;
        let message = Payload { body: vec![b'x'; size as usize] }.encode_to_vec();
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len())?.to_be_bytes());
        frame.extend(message);
        let file = folder.join(format!("payload-{size}"));
        std::fs::write(&file, &frame)?;
        Ok(Self { file, framed: frame.len() as u64, headers })
    }

    /// Makes `count` calls and returns how many were answered per second. An answer that is not
    /// 200, or does not carry a message as long as the request, fails the measurement.
    pub(crate) async fn rate(&self, address: SocketAddr, count: u64) -> Outcome<f64> {
        let mut command = Half::OtherEnd.pin(&Command::new("h2load"));
        command.args(ARGUMENTS).arg("-n").arg(count.to_string()).arg("-d").arg(&self.file);
        for header in ["content-type: application/grpc", "te: trailers"].iter().chain(self.headers)
        {
            command.args(["-H", header]);
        }
        command.arg(format!("http://{address}/bench.Echo/Call"));
        let printed = output(command).await?;
        let summary = Summary::parse(&printed)
            .ok_or_else(|| format!("h2load printed something unexpected: {printed}"))?;
        let expected =
            Summary { rate: summary.rate, requests: count, ok: count, data: count * self.framed };
        if summary != expected {
            return Err(format!("asked for {expected:?}, h2load saw {summary:?}").into());
        }
        Ok(summary.rate)
    }
}

/// What h2load reports at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Summary {
    /// Requests per second.
    rate: f64,
    /// Requests made.
    requests: u64,
    /// Answers with a status of 2xx.
    ok: u64,
    /// Bytes of all response bodies: the echoed messages, since a gRPC error has no body.
    data: u64,
}

impl Summary {
    fn parse(printed: &str) -> Option<Self> {
        let line = |start| printed.lines().find_map(|line| line.strip_prefix(start));
        let rate = line("finished in ")?.split(", ").nth(1)?.strip_suffix(" req/s")?;
        let requests = line("requests: ")?.split(' ').next()?;
        let ok = line("status codes: ")?.split(' ').next()?;
        let data = line("traffic: ")?.rsplit_once('(')?.1.split(')').next()?;
        Some(Self {
            rate: rate.parse().ok()?,
            requests: requests.parse().ok()?,
            ok: ok.parse().ok()?,
            data: data.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
progress: 100% done

finished in 1.79s, 55718.00 req/s, 5.42MB/s
requests: 100000 total, 100000 started, 100000 done, 100000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 99999 2xx, 0 3xx, 1 4xx, 0 5xx
traffic: 9.73MB (10200732) total, 293.20KB (300232) headers (space savings 95.77%), 6.77MB (7100000) data
";

    #[test]
    fn the_summary_of_h2load_is_understood() {
        let summary = Summary { rate: 55718.0, requests: 100_000, ok: 99_999, data: 7_100_000 };
        assert_eq!(Summary::parse(PRINTED), Some(summary));
    }

    #[tokio::test]
    async fn the_request_is_a_grpc_frame() {
        let folder = tempfile::tempdir().unwrap();
        let calls = Calls::new(folder.path(), 64, &[]).await.unwrap();
        let frame = std::fs::read(calls.file).unwrap();
        assert_eq!(&frame[..8], b"\0\0\0\0\x42\x0a\x40x");
        assert_eq!(frame.len() as u64, calls.framed);
    }
}
