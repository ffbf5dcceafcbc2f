//! h2spec: the conformance suite for HTTP/2 servers.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::go;
use crate::toolchain::{Missing, Need, interop};

/// What the suite is built from, pinned by `interop/h2spec/go.mod`.
const MODULE: &str = "github.com/summerwind/h2spec";

pub(crate) fn build() -> Result<PathBuf, Missing> {
    static BUILT: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    BUILT.get_or_init(|| go::build_program("h2spec", &format!("{MODULE}/cmd/h2spec"))).clone()
}

/// The pinned version, such as `v2.2.1`.
///
/// # Panics
/// When `go.mod` does not name it.
pub fn version() -> String {
    let text = fs::read_to_string(interop().join("h2spec").join("go.mod")).unwrap();
    let line = text.lines().find(|line| line.contains(MODULE)).expect("a requirement");
    let version = line.split_whitespace().find(|word| word.starts_with('v')).expect("a version");
    version.trim_end_matches("+incompatible").to_owned()
}

/// One case of the suite.
#[derive(Debug, PartialEq, Eq)]
pub struct Case {
    /// Section and description, such as `http2/5.1.1: Sends even-numbered stream identifier`.
    pub name: String,
    /// How it ended.
    pub end: End,
}

/// How a case ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The server did as the standard says.
    Passed,
    /// The suite saw no way to test it.
    Skipped,
    /// What the suite expected and saw instead.
    Failed(String),
}

/// Runs the sections about servers against `address`, over TLS with any certificate if asked.
///
/// # Panics
/// When the suite cannot run or reports nothing.
pub async fn run(address: SocketAddr, tls: bool) -> Vec<Case> {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.xml");
    let mut command = Command::new(Need::H2spec.path());
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    command.args(["-o", "3", "-j"]).arg(&report);
    if tls {
        command.args(["-t", "-k"]);
    }
    command.args(["generic", "http2", "hpack"]).stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let Output { stdout, stderr, .. } = ended.expect("the suite starts");
    let text = fs::read_to_string(&report).unwrap_or_else(|error| {
        let said = [stdout, stderr].concat();
        panic!("h2spec left no report: {error}\n{}", String::from_utf8_lossy(&said))
    });
    let cases = read(&text);
    assert!(!cases.is_empty(), "a report without cases:\n{text}");
    cases
}

/// The cases of a JUnit report as h2spec writes it.
fn read(report: &str) -> Vec<Case> {
    let cases = report.split("<testcase ").skip(1).map(|case| {
        let case = case.split("</testcase>").next().unwrap_or(case);
        let (head, body) = case.split_once('>').expect("an element");
        let end = if body.contains("<skipped") {
            End::Skipped
        } else if body.contains("<failure") || body.contains("<error") {
            End::Failed(plain(body))
        } else {
            End::Passed
        };
        Case {
            name: format!("{}: {}", attribute(head, "package"), attribute(head, "classname")),
            end,
        }
    });
    cases.collect()
}

fn attribute(head: &str, name: &str) -> String {
    let value = head.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
    plain(value.unwrap_or_else(|| panic!("no {name} in {head}")))
}

/// Text without tags and entities.
fn plain(text: &str) -> String {
    let words: String =
        text.split('<').map(|part| part.split_once('>').map_or(part, |(_, rest)| rest)).collect();
    words
        .replace("&#xA;", "\n")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_read() {
        let report = r#"<testsuite name="s" tests="3">
            <testcase package="http2/4.1" classname="Sends &#34;x&#34;" time="0.1"></testcase>
            <testcase package="http2/5" classname="b" time="0"><skipped></skipped></testcase>
            <testcase package="hpack/6" classname="c" time="0">
              <failure>GOAWAY&#xA;not a &lt;reset&gt;</failure></testcase></testsuite>"#;
        let case = |name: &str, end| Case { name: name.into(), end };
        let expected = [
            case("http2/4.1: Sends \"x\"", End::Passed),
            case("http2/5: b", End::Skipped),
            case("hpack/6: c", End::Failed("GOAWAY\nnot a <reset>".into())),
        ];
        assert_eq!(read(report), expected);
    }

    #[test]
    fn version_is_the_pinned_one() {
        assert!(version().starts_with("v2."), "{}", version());
    }
}
