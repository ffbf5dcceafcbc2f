//! Messages on their way to the subscribers of a topic.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::broker::{Message, envelope};
use crate::error::{Error, Result};
use crate::registry::{Node, Service};
use crate::transport::network::Io;

/// Version of subscriptions without a queue.
pub(super) const BROADCAST: &str = "ff.http.broadcast";
/// How long one subscriber may take to accept a message.
const PATIENCE: Duration = Duration::from_secs(40);
/// Bytes of an answer, which nothing is done with.
const ANSWER_BYTES: usize = 64 << 10;

/// Sends a message to those who subscribe to its topic: to all who have no queue, and to one of each queue.
///
/// # Errors
/// Of the first queue whose members all fail, or of all without a queue where every one of them fails: the message is to be sent again.
pub(super) async fn deliver(message: &Message, subscribed: &[Service]) -> Result<()> {
    let body = envelope::write(message);
    let is_for = |node: &&Node| {
        let label = |name: &str| node.metadata.get(name).map(String::as_str);
        label("broker") == Some("http") && label("topic") == Some(&message.topic)
    };
    let queues = subscribed.iter().map(|service| {
        let body = body.clone();
        let mut nodes: Vec<&Node> = service.nodes.iter().filter(is_for).collect();
        async move {
            if service.version == BROADCAST {
                let sent =
                    join_all(nodes.iter().map(|node| post(node, message, body.clone()))).await;
                let failed = sent.iter().all(Result::is_err);
                return sent.into_iter().next().filter(|_| failed).unwrap_or(Ok(()));
            }
            fastrand::shuffle(&mut nodes);
            let mut outcome = Ok(());
            for node in nodes {
                outcome = post(node, message, body.clone()).await;
                if outcome.is_ok() {
                    break;
                }
            }
            outcome
        }
    });
    join_all(queues).await.into_iter().collect()
}

/// Gives a message to one subscriber.
async fn post(node: &Node, message: &Message, body: Bytes) -> Result<()> {
    let posted = timeout(PATIENCE, try_post(node, message, body)).await;
    let posted = posted.unwrap_or_else(|_| Err(Error::deadline_exceeded("it did not answer")));
    posted.map_err(|error| {
        Error::unavailable(format!(
            "subscriber {} at {}: {}",
            node.id,
            node.address,
            error.detail()
        ))
    })
}

async fn try_post(node: &Node, message: &Message, body: Bytes) -> Result<()> {
    if node.metadata.get("secure").is_some_and(|secure| secure == "true") {
        return Err(Error::unimplemented(
            "it takes messages over TLS, and shows a certificate that nobody can verify",
        ));
    }
    let unreachable = |error: &dyn std::fmt::Display| Error::unavailable(error.to_string());
    let stream = TcpStream::connect(&node.address).await.map_err(|error| unreachable(&error))?;
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Io::from(stream));
    let (mut sender, connection) =
        http1::handshake(io).await.map_err(|error| unreachable(&error))?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let id: String = url::form_urlencoded::byte_serialize(node.id.as_bytes()).collect();
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    let uri = format!("/?id={id}").parse();
    *request.uri_mut() = uri.map_err(|error| unreachable(&error))?;
    let host = HeaderValue::from_str(&node.address).map_err(|error| unreachable(&error))?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // What a CloudEvent says of itself is read also by those who know nothing of the envelope.
    let event =
        message.headers.headers().iter().filter(|(name, _)| name.as_str().starts_with("ce-"));
    request.headers_mut().extend(event.map(|(name, value)| (name.clone(), value.clone())));
    let answer = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
    let status = answer.status();
    let said = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
    match status.as_u16() {
        // Go's subscribers say so also when their handler failed.
        200..300 => Ok(()),
        503 => Err(Error::unavailable("it is busy")),
        _ => {
            // To send it again would end the same way.
            let said = said.map(|said| String::from_utf8_lossy(&said.to_bytes()).into_owned());
            let said = said.unwrap_or_default();
            tracing::warn!(node = node.id, %status, said, "a subscriber cannot read a message, which is lost");
            Ok(())
        }
    }
}

/// What local subscriptions add to what the registry has told so far.
pub(super) fn with_local(known: Vec<Service>, local: &[Service]) -> Vec<Service> {
    let mut all = known;
    for service in local {
        let version = all.iter_mut().find(|other| other.version == service.version);
        match version {
            Some(known) => {
                for node in &service.nodes {
                    if !known.nodes.iter().any(|other| other.id == node.id) {
                        known.nodes.push(node.clone());
                    }
                }
            }
            None => all.push(service.clone()),
        }
    }
    all
}
