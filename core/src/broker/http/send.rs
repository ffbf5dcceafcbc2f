//! Messages on their way to the subscribers of a topic.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::time::timeout;

use super::connections::{Connection, Connections};
use crate::broker::{Message, envelope};
use crate::error::{Error, Result};
use crate::registry::{Labels, Node, Service};
use crate::selector::Node as Known;

/// What subscriptions are registered as.
pub(super) const SERVICE: &str = "micro.http.broker";
/// Version of subscriptions without a queue.
pub(super) const BROADCAST: &str = "ff.http.broadcast";
/// How long one subscriber may take to accept a message.
const PATIENCE: Duration = Duration::from_secs(40);
/// Bytes of an answer, which nothing is done with.
const ANSWER_BYTES: usize = 64 << 10;

/// Sends a message to those who subscribe to its topic, as [`subscribers`] tells: to all who have no queue, and to one of each queue.
///
/// # Errors
/// Of the first queue whose members all fail, or of all without a queue where every one of them fails: the message is to be sent again.
pub(super) async fn deliver(
    message: &Message,
    subscribed: &[Service],
    connections: &Connections,
) -> Result<()> {
    let body = envelope::write(message);
    let queues = subscribed.iter().map(|service| {
        let body = body.clone();
        let mut nodes: Vec<&Node> = service.nodes.iter().collect();
        async move {
            if service.version == BROADCAST {
                let sent = nodes.iter().map(|node| post(node, message, body.clone(), connections));
                let sent = join_all(sent).await;
                let failed = sent.iter().all(Result::is_err);
                return sent.into_iter().next().filter(|_| failed).unwrap_or(Ok(()));
            }
            fastrand::shuffle(&mut nodes);
            let mut outcome = Ok(());
            for node in nodes {
                outcome = post(node, message, body.clone(), connections).await;
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
async fn post(
    node: &Node,
    message: &Message,
    body: Bytes,
    connections: &Connections,
) -> Result<()> {
    let posted = timeout(PATIENCE, try_post(node, message, body, connections)).await;
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

async fn try_post(
    node: &Node,
    message: &Message,
    body: Bytes,
    connections: &Connections,
) -> Result<()> {
    if node.metadata.get("secure").is_some_and(|secure| secure == "true") {
        return Err(Error::unimplemented(
            "it takes messages over TLS, and shows a certificate that nobody can verify",
        ));
    }
    let mut request = request(node, message, body)?;
    loop {
        let mut connection = match connections.take(&node.address) {
            Some(connection) => connection,
            None => Connection::open(&node.address).await?,
        };
        let answer = match connection.sender.try_send_request(request).await {
            Ok(answer) => answer,
            Err(mut error) => match error.take_message() {
                // Its other end closed it meanwhile, and nothing was sent.
                Some(unsent) if connection.is_used => {
                    request = unsent;
                    continue;
                }
                _ => return Err(Error::unavailable(error.into_error().to_string())),
            },
        };
        let status = answer.status();
        let said = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        if said.is_ok() && connection.sender.ready().await.is_ok() {
            connections.keep(&node.address, connection);
        }
        return match status.as_u16() {
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
        };
    }
}

fn request(node: &Node, message: &Message, body: Bytes) -> Result<Request<Full<Bytes>>> {
    let unreachable = |error: &dyn std::fmt::Display| Error::unavailable(error.to_string());
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
    Ok(request)
}

/// Those who subscribe to `topic`, by version: as the registry has told so far, and those of this process.
pub(super) fn subscribers<'a>(
    topic: &str,
    known: impl Iterator<Item = &'a Arc<Known>>,
    local: impl Iterator<Item = &'a Service>,
) -> Vec<Service> {
    let is_for = |labels: &Labels| {
        let label = |name: &str| labels.get(name).map(String::as_str);
        label("broker") == Some("http") && label("topic") == Some(topic)
    };
    let mut all: Vec<Service> = Vec::new();
    let mut add = |version: &str, node: Node| {
        let service = match all.iter_mut().find(|service| service.version == version) {
            Some(service) => service,
            None => {
                all.push(Service::new(SERVICE, version));
                let last = all.len() - 1;
                &mut all[last]
            }
        };
        if !service.nodes.iter().any(|other| other.id == node.id) {
            service.nodes.push(node);
        }
    };
    for node in known.filter(|node| is_for(node.labels())) {
        add(node.version(), node.record());
    }
    for service in local {
        for node in service.nodes.iter().filter(|node| is_for(&node.metadata)) {
            add(&service.version, node.clone());
        }
    }
    all
}
