use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::store::{self, Batch, Change, Place, Store};
use crate::{ClientTls, Pem};

/// What a server of HTTP says, and what it was asked.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    status: u16,
    kind: &'static str,
    body: String,
    asked: Vec<String>,
    /// Answers without a body.
    unchanged: usize,
}

impl Page {
    fn says(&self, status: u16, kind: &'static str, body: impl Into<String>) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (said.status, said.kind, said.body) = (status, kind, body.into());
    }

    fn unchanged(&self) -> usize {
        self.0.lock().unwrap().unchanged
    }

    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => asked.push(byte),
                Err(_) => return,
            }
        }
        let asked = String::from_utf8(asked).unwrap().to_lowercase();
        let answer = {
            let mut said = self.0.lock().unwrap();
            // The tag of a text is the text.
            let tag = format!("\"{}\"", said.body.len());
            let is_known = asked.contains(&format!("if-none-match: {tag}")) && said.status == 200;
            said.asked.push(asked);
            if is_known {
                said.unchanged += 1;
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 0\r\n\r\n".to_owned()
            } else {
                format!(
                    "HTTP/1.1 {} -\r\ncontent-type: {}\r\netag: {tag}\r\ncontent-length: {}\r\n\r\n{}",
                    said.status,
                    said.kind,
                    said.body.len(),
                    said.body
                )
            }
        };
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.flush().await;
        let _ = stream.read_u8().await;
    }

    /// Serves it until it is dropped; the port it is at.
    async fn serve(&self, tls: Option<TlsAcceptor>) -> (u16, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let page = self.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (page, tls) = (page.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                page.answer(stream).await;
                            }
                        }
                        None => page.answer(stream).await,
                    }
                });
            }
        });
        (port, AbortOnDropHandle::new(serving))
    }
}

const EVERY: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_document_is_fetched_and_asked_for_again() {
    let page = Page::default();
    page.says(200, "application/json", r#"{"a": 1}"#);
    let (port, _serving) = page.serve(None).await;
    let source = Http::new(&format!("http://127.0.0.1:{port}/shop?token=hunter2")).unwrap();
    let source = source.every(EVERY).header("authorization", "Bearer abc").unwrap();
    assert!(!format!("{source:?}").contains("hunter2"));
    let config = Config::builder().source(source).load().await.unwrap();
    assert_eq!(config.get("a").int().unwrap(), 1);
    let origin = config.why("a").origin().unwrap().to_string();
    assert_eq!(origin, format!("http://127.0.0.1:{port}/shop:1"));
    let (mut watch, mut events) = (config.watch("a"), config.events());
    page.says(200, "application/json", r#"{"a":   2}"#);
    assert_eq!(in_time(watch.next()).await.unwrap().int().unwrap(), 2);
    in_time(async {
        while page.unchanged() < 3 {
            tokio::time::sleep(EVERY).await;
        }
    })
    .await;
    {
        let said = page.0.lock().unwrap();
        assert!(said.asked[0].starts_with("get /shop?token=hunter2 http/1.1\r\n"));
        assert!(said.asked.iter().all(|asked| asked.contains("authorization: bearer abc")));
    }
    assert!(matches!(in_time(events.next()).await, Some(Event::Changed { version: 2 })));
    // Out of order, then nonsense, then well again.
    page.says(503, "text/plain", "busy");
    let event = in_time(events.next()).await.unwrap();
    let Event::Failed { error, .. } = event else { panic!("{event:?}") };
    assert!(error.detail().contains("the server said 503"), "{error}");
    page.says(200, "application/json", "<html>");
    let event = in_time(events.next()).await.unwrap();
    let Event::Failed { error, .. } = event else { panic!("{event:?}") };
    assert!(error.detail().contains("/shop:1: column"), "{error}");
    assert_eq!(config.get("a").int().unwrap(), 2);
    page.says(200, "application/json", r#"{"a":    3}"#);
    assert_eq!(in_time(watch.next()).await.unwrap().int().unwrap(), 3);
}

#[tokio::test]
async fn an_answer_that_is_no_document_says_what_to_do() {
    let page = Page::default();
    let (port, _serving) = page.serve(None).await;
    let url = format!("http://127.0.0.1:{port}/shop");
    for (status, kind, body, code, why) in [
        (404, "text/plain", "", Code::NotFound, "the server said 404"),
        (401, "text/plain", "", Code::Unauthenticated, "the server said 401"),
        (302, "text/plain", "", Code::InvalidArgument, "redirections are not followed"),
        (200, "text/plain", "a: 1", Code::InvalidArgument, "set `format`"),
        (200, "application/json", "[1, 2, 3, 4, 5, 6, 7]", Code::ResourceExhausted, "`max_bytes`"),
    ] {
        page.says(status, kind, body);
        let source = Http::new(&url).unwrap().max_bytes(20);
        let error = Config::builder().source(source).load().await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.detail().contains(why), "{error}");
        assert!(error.detail().contains(&url), "{error}");
    }
    drop(_serving);
    let error = Config::builder().source(url.as_str()).load().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_document_is_fetched_over_tls_from_those_who_are_trusted() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.pem();
    let chain = vec![made.cert.der().clone()];
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let terms = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let page = Page::default();
    page.says(200, "application/json", r#"{"a": 1}"#);
    let (port, _serving) = page.serve(Some(TlsAcceptor::from(Arc::new(terms)))).await;
    let source = Http::new(&format!("https://localhost:{port}/shop")).unwrap();
    let trusting = ClientTls::trusting(Pem::from(&certificate)).unwrap();
    let config = Config::builder().source(source.tls(trusting)).load().await.unwrap();
    assert_eq!(config.get("a").int().unwrap(), 1);
    let stranger = Http::new(&format!("https://localhost:{port}/shop")).unwrap();
    let error = Config::builder().source(stranger).load().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_record_of_a_store_is_a_document() {
    let store = store::Memory::named("config-test");
    let place = Place::new("micro", "config").unwrap();
    let write = async |key: &str, text: &str| {
        let change = Change::write(place.clone(), key, Bytes::from(text.to_owned()));
        store.apply(Batch { changes: vec![change], ..Batch::default() }).await.unwrap();
    };
    let url = "store://memory://config-test?table=config&key=shop.json";
    let error = Config::builder().source(url).load().await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.detail().contains("store://memory/micro/config/shop.json"), "{error}");
    let config = Config::builder().optional(url).load().await.unwrap();
    let mut watch = config.watch("a");
    write("shop.json", r#"{"a": 1}"#).await;
    assert_eq!(in_time(watch.next()).await.unwrap().int().unwrap(), 1);
    write("shop.json.bak", r#"{"a": 7}"#).await;
    write("shop.json", r#"{"a": 2}"#).await;
    assert_eq!(in_time(watch.next()).await.unwrap().int().unwrap(), 2);
}
