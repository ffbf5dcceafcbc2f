//! Streams of the client, each with its two directions apart.

use bytes::Bytes;
use futures_util::StreamExt as _;
use micro::client::{Outgoing, Seen};
use micro::{Client, Raw, Result, Streaming};
use micro_conformance::{Line, Payload};
use tokio::sync::{Mutex, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::calls::{Calls, Wanted, result};
use crate::output::{Output, failure, metadata};
use crate::requests::{Asked, Inbox, Requests};

/// Begins a stream.
pub(crate) fn open(calls: &Calls, client: &Client, request: &Line, id: u64) {
    let (requests, inbox) = Requests::channel();
    let (wanted, client) = (Wanted::of(request), client.clone());
    let kind = request.get("kind").unwrap_or_default().to_owned();
    let output = calls.output;
    calls.spawn(id, Some(requests), async move {
        let line = Line::new("result").with("id", id);
        let seen = Seen::new();
        let stream = Stream { id, output, seen: seen.clone() };
        let outcome = match wanted {
            Err(error) => return failure(line, &error),
            Ok(wanted) => match kind.as_str() {
                "server" => stream.server(&client, wanted, inbox).await,
                "client" => stream.client(&client, wanted, inbox).await,
                _ => stream.bidi(&client, wanted, inbox).await,
            },
        };
        result(line, outcome, &seen)
    });
}

struct Stream {
    id: u64,
    output: Output,
    seen: Seen,
}

impl Stream {
    fn tell(&self, verb: &str) {
        self.output.tell(&Line::new(verb).with("id", self.id));
    }

    async fn server(&self, client: &Client, wanted: Wanted, inbox: Inbox) -> Result<Option<Raw>> {
        let call =
            client.server_stream(&wanted.service, &wanted.endpoint, Raw(wanted.payload.clone()));
        let mut replies: Streaming<Raw> = call.settings(&wanted.settings).seen(&self.seen).await?;
        self.tell("opened");
        self.receive(&mut replies, inbox.receiving).await.map(|()| None)
    }

    async fn bidi(&self, client: &Client, wanted: Wanted, inbox: Inbox) -> Result<Option<Raw>> {
        let call = client.open::<Raw, Raw>(&wanted.service, &wanted.endpoint);
        let (outgoing, mut replies) = call.settings(&wanted.settings).seen(&self.seen).await?;
        self.tell("opened");
        let sending = send_from(inbox.sending, self.id, self.output, outgoing);
        let _sending = AbortOnDropHandle::new(tokio::spawn(sending));
        self.receive(&mut replies, inbox.receiving).await.map(|()| None)
    }

    /// A stream of requests as the API has it: the messages of another stream.
    async fn client(&self, client: &Client, wanted: Wanted, inbox: Inbox) -> Result<Option<Raw>> {
        let requests = {
            let (id, output, inbox) = (self.id, self.output, Mutex::new(inbox.sending));
            futures_util::stream::unfold((inbox, Vec::new()), move |(inbox, mut left)| async move {
                loop {
                    if let Some(message) = left.pop() {
                        if left.is_empty() {
                            output.tell(&Line::new("sent").with("id", id));
                        }
                        return Some((Raw(message), (inbox, left)));
                    }
                    let request = inbox.lock().await.recv().await?;
                    if request.verb == "close" {
                        return None;
                    }
                    left = messages(&request);
                }
            })
        };
        let call = client.client_stream(&wanted.service, &wanted.endpoint, requests.boxed());
        self.tell("opened");
        call.settings(&wanted.settings).seen(&self.seen).await.map(Some)
    }

    /// Receives a message for each request to, and the headers where they are asked for.
    async fn receive(
        &self,
        replies: &mut Streaming<Raw>,
        mut requests: mpsc::UnboundedReceiver<Asked>,
    ) -> Result<()> {
        while let Some(asked) = requests.recv().await {
            if let Asked::Headers = asked {
                let headers = replies.headers().await.cloned().unwrap_or_default();
                let line = Line::new("headers").with("id", self.id);
                self.output.tell(&metadata(line, "h.", &headers));
                continue;
            }
            match replies.message().await? {
                Some(Raw(message)) => {
                    let line = Line::new("message").with("id", self.id);
                    self.output.tell(&Payload::of(&message).onto(line));
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Sends the messages of each request; dropping `outgoing` closes the stream.
async fn send_from(
    mut requests: mpsc::UnboundedReceiver<Line>,
    id: u64,
    output: Output,
    outgoing: Outgoing<Raw>,
) {
    while let Some(request) = requests.recv().await {
        if request.verb == "close" {
            return;
        }
        let mut outcome = Ok(());
        for message in messages(&request) {
            outcome = outgoing.send(Raw(message)).await;
            if outcome.is_err() {
                break;
            }
        }
        let verb = if outcome.is_ok() { "sent" } else { "unsent" };
        output.tell(&Line::new(verb).with("id", id));
    }
}

/// The messages a request asks to send.
fn messages(request: &Line) -> Vec<Bytes> {
    let count = request.number("count").unwrap_or(1);
    vec![Payload::wanted(request); usize::try_from(count).unwrap_or(1)]
}
