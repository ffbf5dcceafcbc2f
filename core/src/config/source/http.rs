//! A document that is fetched by HTTP.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_NONE_MATCH};
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::{Changes, Source};
use crate::config::document::Document;
use crate::config::format::{Format, MAX_BYTES};
use crate::config::origin::Origin;
use crate::error::{Code, Error, Result};
use crate::transport::{ClientTls, network};

/// Time between two requests, unless set.
const EVERY: Duration = Duration::from_secs(30);
/// What is asked for.
const ACCEPTED: &str = "application/json, application/yaml, application/toml, application/xml, */*";

/// A document that is fetched from `http://` or `https://`, and asked for again every 30 seconds. A server that gives an `ETag` sends it
/// again only when it has changed.
///
/// What it is written in is what its content type says, or else the extension of its path.
pub struct Http {
    name: String,
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    every: Duration,
    format: Option<Format>,
    max_bytes: usize,
    tls: Option<ClientTls>,
    /// What was fetched last, with its tag.
    last: Arc<Mutex<Option<(HeaderValue, Document)>>>,
}

impl Http {
    /// The document at `url`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what is no URL of HTTP.
    pub fn new(url: &str) -> Result<Self> {
        let wrong = |why: &dyn fmt::Display| Error::invalid_argument(format!("{why}"));
        let url = Url::parse(url).map_err(|error| wrong(&error))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong(&"write for example https://config.example/shop.yaml"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(&"a URL with a password shows in messages: add it as a header"));
        }
        let mut shown = url.clone();
        // It may have a token in it.
        shown.set_query(None);
        shown.set_fragment(None);
        Ok(Self {
            name: shown.into(),
            url,
            headers: Vec::new(),
            every: EVERY,
            format: None,
            max_bytes: MAX_BYTES,
            tls: None,
            last: Arc::default(),
        })
    }

    /// Sends a header with each request, such as `authorization`. It is not shown.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what cannot be a header.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self> {
        let wrong = || Error::invalid_argument(format!("{name:?} cannot be sent as a header"));
        let name = HeaderName::try_from(name).map_err(|_| wrong())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(self)
    }

    /// Asks again after so long; 30 seconds unless set, and at least 10 milliseconds.
    #[must_use]
    pub fn every(mut self, pause: Duration) -> Self {
        self.every = pause.max(Duration::from_millis(10));
        self
    }

    /// What it is written in, whatever the server says.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Most bytes of the document; 16 MiB unless set.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Whom to trust, and the certificate to show, for `https://`; the authorities of the system unless set.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    async fn fetch(&self) -> Result<Document> {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or(80);
        let address = format!("{host}:{port}");
        let stream = network::connect("tcp")?.connect(&address).await;
        let stream = stream.map_err(|error| self.unreached(&error))?;
        let request = self.request(&address)?;
        if self.url.scheme() == "http" {
            return self.ask(stream, request).await;
        }
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None => tokio::task::spawn_blocking(ClientTls::system)
                .await
                .map_err(|error| self.unreached(&error))??,
        };
        let name = tls.name_for(host.trim_matches(['[', ']']), None)?;
        let mut terms = rustls::ClientConfig::clone(&*tls.current().await);
        terms.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connector = TlsConnector::from(Arc::new(terms));
        let stream =
            connector.connect(name, stream).await.map_err(|error| self.unreached(&error))?;
        self.ask(stream, request).await
    }

    fn request(&self, address: &str) -> Result<Request<Empty<Bytes>>> {
        let wrong =
            |error: &dyn fmt::Display| Error::invalid_argument(format!("{}: {error}", self.name));
        let path = match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        };
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.parse().map_err(|error| wrong(&error))?;
        let host = HeaderValue::from_str(address).map_err(|error| wrong(&error))?;
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        headers.extend(self.headers.iter().cloned());
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((tag, _)) = last.as_ref() {
            headers.insert(IF_NONE_MATCH, tag.clone());
        }
        Ok(request)
    }

    async fn ask(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Empty<Bytes>>,
    ) -> Result<Document> {
        let io = TokioIo::new(stream);
        let (mut sender, connection) =
            http1::handshake(io).await.map_err(|error| self.unreached(&error))?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let answer = sender.send_request(request).await.map_err(|error| self.unreached(&error))?;
        match answer.status() {
            StatusCode::NOT_MODIFIED => {
                let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                let document = last.as_ref().map(|(_, document)| document.clone());
                return document.ok_or_else(|| {
                    Error::unavailable(format!("{}: 304 without a question for it", self.name))
                });
            }
            StatusCode::OK => {}
            status if status.is_redirection() => {
                return Err(Error::invalid_argument(format!(
                    "{}: it is somewhere else ({status}): write that URL, as redirections are not followed",
                    self.name
                )));
            }
            status => {
                let code = match status.as_u16() {
                    401 => Code::Unauthenticated,
                    403 => Code::PermissionDenied,
                    404 | 410 => Code::NotFound,
                    _ => Code::Unavailable,
                };
                return Err(Error::new(code, format!("{}: the server said {status}", self.name)));
            }
        }
        self.document(answer).await
    }

    async fn document(&self, answer: Response<Incoming>) -> Result<Document> {
        let tag = answer.headers().get(ETAG).cloned();
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let extension = self.url.path().rsplit_once('.').map(|(_, extension)| extension);
        let format = self
            .format
            .or_else(|| kind.and_then(Format::from_content_type))
            .or_else(|| extension.and_then(Format::from_extension))
            .ok_or_else(|| {
                Error::invalid_argument(format!(
                    "{}: neither its content type ({}) nor its path says what it is written in: set `format`",
                    self.name,
                    kind.unwrap_or("none")
                ))
            })?;
        let body = Limited::new(answer.into_body(), self.max_bytes).collect().await;
        let body = body.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
            true => Error::resource_exhausted(format!(
                "{}: the document has more than {} bytes: make it smaller, or raise `max_bytes` of its source",
                self.name, self.max_bytes
            )),
            false => self.unreached(&error),
        })?;
        let (bytes, max_bytes) = (body.to_bytes(), self.max_bytes);
        let origin = Origin::new(self.name.as_str());
        let parsed = tokio::task::spawn_blocking(move || {
            Document::parse_up_to(format, &bytes, &origin, max_bytes)
        });
        let document = parsed.await.map_err(|error| self.unreached(&error))??;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = tag.map(|tag| (tag, document.clone()));
        Ok(document)
    }

    fn unreached(&self, error: &dyn fmt::Display) -> Error {
        Error::unavailable(format!("{}: {error}", self.name))
    }
}

/// Without headers and the query, which may have secrets in them.
impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http({})", self.name)
    }
}

#[async_trait]
impl Source for Http {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self) -> Result<Document> {
        self.fetch().await
    }

    async fn watch(&self) -> Result<Option<Box<dyn Changes>>> {
        Ok(Some(Box::new(Clock(self.every))))
    }
}

/// Tells that it may have changed.
struct Clock(Duration);

#[async_trait]
impl Changes for Clock {
    async fn changed(&mut self) -> Result<()> {
        // Not all processes of a fleet at once.
        sleep(self.0.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        Ok(())
    }
}
