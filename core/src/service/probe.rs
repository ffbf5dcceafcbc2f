//! The register check that a document can express: something that this service needs, and that must answer.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

use crate::error::{Error, Result};
use crate::transport::network::{Network as _, Tcp};

/// Longest line that tells how a request of HTTP ended, in bytes.
const MAX_LINE: u64 = 1024;

/// What must answer: `tcp://host:port` takes a connection, `http://host:port/path` answers a GET with 200 to 299.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    url: String,
    /// `host:port`.
    target: String,
    /// What HTTP is asked for.
    path: Option<String>,
}

impl Probe {
    /// # Errors
    /// `INVALID_ARGUMENT` for what is no such URL.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::invalid_argument(format!(
                "{text:?} cannot be asked: {why}: write tcp://host:port, or http://host:port/path"
            ))
        };
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        let path = match url.scheme() {
            "tcp" if matches!(url.path(), "" | "/") && url.query().is_none() => None,
            "tcp" => return Err(wrong("a connection has no path")),
            "http" => {
                let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
                Some(format!("{}{query}", url.path()))
            }
            "https" => return Err(wrong("TLS is not spoken for this")),
            _ => return Err(wrong("the scheme is neither tcp nor http")),
        };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(wrong("it has more than a host, a port and a path"));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("there is no host"))?;
        let port = url.port_or_known_default().ok_or_else(|| wrong("there is no port"))?;
        Ok(Self { target: format!("{host}:{port}"), path, url: text.to_owned() })
    }

    /// The URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Asks; the caller bounds how long.
    ///
    /// # Errors
    /// `UNAVAILABLE` where there is no answer, or a bad one.
    pub(super) async fn run(&self) -> Result<()> {
        let failed = |why: String| Error::unavailable(format!("{}: {why}", self.url));
        let io = Tcp.connect(&self.target).await;
        let mut io = io.map_err(|error| failed(format!("cannot connect: {error}")))?;
        let Some(path) = &self.path else { return Ok(()) };
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: micro\r\nconnection: close\r\n\r\n",
            self.target
        );
        let broken = |error: std::io::Error| failed(format!("no answer: {error}"));
        io.write_all(request.as_bytes()).await.map_err(broken)?;
        io.flush().await.map_err(broken)?;
        let (mut line, mut byte) = (Vec::new(), [0]);
        let mut bounded = io.take(MAX_LINE);
        while !line.ends_with(b"\r\n") && bounded.read(&mut byte).await.map_err(broken)? == 1 {
            line.extend_from_slice(&byte);
        }
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split_whitespace();
        let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
        match words.next().and_then(|status| status.parse::<u16>().ok()) {
            Some(200..=299) if is_http => Ok(()),
            Some(status) if is_http => Err(failed(format!("it answers {status}"))),
            _ => Err(failed("what answers there does not speak HTTP/1.1".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncBufReadExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::error::Code;

    /// Asks `scheme://…path` of a server that says `answer` to whatever it reads the head of.
    async fn asked(answer: &'static str) -> (Result<()>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/ready?deep=1", listener.local_addr().unwrap());
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = tokio::io::BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(stream.read_line(&mut head).await.unwrap(), 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            head
        };
        let probe = Probe::parse(&url).unwrap();
        tokio::join!(probe.run(), server)
    }

    #[tokio::test]
    async fn http_is_fit_with_a_status_of_success_alone() {
        let (fit, head) = asked("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert!(fit.is_ok() && head.starts_with("GET /ready?deep=1 HTTP/1.1\r\n"), "{head}");
        for (answer, says) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "it answers 503"),
            ("HTTP/1.1 302 Found\r\n\r\n", "it answers 302"),
            ("220 mail.example ESMTP\r\n", "does not speak HTTP"),
            ("", "does not speak HTTP"),
        ] {
            let error = asked(answer).await.0.unwrap_err();
            assert_eq!(error.code(), Code::Unavailable);
            assert!(error.detail().contains(says), "{error}");
        }
    }

    #[tokio::test]
    async fn tcp_is_fit_while_it_takes_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probe = Probe::parse(&format!("tcp://{}", listener.local_addr().unwrap())).unwrap();
        assert!(probe.run().await.is_ok());
        drop(listener);
        let error = probe.run().await.unwrap_err();
        assert!(error.detail().contains("cannot connect"), "{error}");
    }

    #[test]
    fn what_cannot_be_asked_says_why_and_what_can() {
        for (url, says) in [
            ("db:5432", "neither tcp nor http"),
            ("tcp://db", "there is no port"),
            ("tcp://db:5432/x", "a connection has no path"),
            ("https://a.example/", "TLS is not spoken"),
            ("http://me:secret@a.example/", "more than a host"),
            ("exec:///bin/true", "neither tcp nor http"),
            ("", "relative URL"),
        ] {
            let error = Probe::parse(url).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(error.detail().contains(says), "{error}");
            assert!(error.detail().ends_with("write tcp://host:port, or http://host:port/path"));
        }
        let known = Probe::parse("http://[::1]/ready").unwrap();
        assert_eq!((known.target.as_str(), known.path.as_deref()), ("[::1]:80", Some("/ready")));
    }
}
