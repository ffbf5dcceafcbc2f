//! The client's part: one client at a time, any number of calls.

use micro::settings::ClientSettings;
use micro::{Client, Result};
use micro_conformance::Line;
use tokio::sync::mpsc;

use crate::calls::Calls;
use crate::layers;
use crate::output::{Output, failure};
use crate::questions::{self, Provided};
use crate::streams;
use crate::wrong::Wrong;

/// Answers requests until there are no more.
pub(crate) async fn serve(
    mut requests: mpsc::UnboundedReceiver<Line>,
    output: Output,
    wrong: Option<Wrong>,
) {
    let calls = Calls::new(output, wrong);
    let provided = Provided::default();
    let mut client = None;
    while let Some(request) = requests.recv().await {
        let id = request.number("id").unwrap_or_default();
        let answer = |verb: &str| Line::new(verb).with("id", id);
        match (request.verb.as_str(), &client) {
            ("start", _) => match start(&request) {
                Ok(started) => {
                    client = Some(started);
                    output.tell(&answer("ok"));
                }
                Err(error) => output.tell(&failure(answer("failed"), &error)),
            },
            ("stop", _) => {
                client = None;
                calls.end_all().await;
                output.tell(&answer("ok"));
            }
            ("ping", _) => output.tell(&answer("ok")),
            ("cancel", _) => calls.cancel(id),
            ("send" | "headers" | "recv" | "close", _) => calls.forward(id, request),
            ("call", Some(client)) => calls.call(client, &request, id),
            ("open", Some(client)) => streams::open(&calls, client, &request, id),
            ("publish", Some(client)) => calls.publish(client, &request, id),
            ("many", Some(client)) => calls.many(client, request, id),
            ("ask", Some(client)) => questions::ask(&calls, client, &request, id),
            ("follow", Some(client)) => questions::follow(&calls, client, &request, id),
            ("provide", _) => {
                let done = provided.provide(request.get("name").unwrap_or_default());
                output.tell(&match done {
                    Ok(()) => answer("ok"),
                    Err(error) => failure(answer("failed"), &error),
                });
            }
            (other, _) => output.note(&format!("a client does not know `{other}` now")),
        }
    }
}

fn start(request: &Line) -> Result<Client> {
    let settings = ClientSettings::from_json(request.get("settings").unwrap_or_default())?;
    layers::of_client(settings.builder()?, request).build()
}
