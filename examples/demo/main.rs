//! Shows what the framework does for four copies of the greeter, and checks every word of it.
//!
//! `make demo` builds and runs this. Everything it starts is a process of its own on this machine,
//! found over multicast DNS on the loopback interface; nothing is installed or left behind.

mod fleet;
mod load;
mod narrator;
mod native;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use micro::{Client, registry};

use fleet::{Fleet, GREETERS};
use load::{Load, Tally};
use narrator::{bars, paragraph, say, title};

/// What did not happen as promised.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Where the demo's services meet, unless `MICRO_REGISTRY` says otherwise.
const REGISTRY: &str = "mdns://lo";
/// Calls under way at any moment while there is load.
const AT_ONCE: usize = 8;
/// Calls counted for the spread over the nodes.
const SPREAD: u64 = 300;
/// Calls made before, and after, something happens to a node under load.
const UNDER_LOAD: u64 = 1_000;

#[tokio::main]
async fn main() -> ExitCode {
    let begun = Instant::now();
    match demo().await {
        Ok(()) => {
            paragraph(&format!("All of it held, in {:.1} s.", begun.elapsed().as_secs_f32()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nDEMO FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Outcome {
    let url = std::env::var("MICRO_REGISTRY").ok().filter(|url| !url.is_empty());
    let url = url.unwrap_or_else(|| REGISTRY.to_owned());
    let registry = registry::connect(&url)?;
    let client = Client::builder().registry(Arc::clone(&registry)).build()?;
    let mut fleet = Fleet::new(registry, url)?;

    paragraph(
        "This demo starts four copies of one small service, examples/greeter/service.rs, .py, .c and .go,\n\
         calls them by name and then treats them badly. No server, broker or configuration is\n\
         involved: services announce themselves on the network, here on the loopback only.",
    );
    if !fleet.speaks_python() {
        paragraph("SKIPPED Python: MICRO_DEMO_PYTHON names no interpreter with the package.");
    }
    if !fleet.speaks_node() {
        paragraph("SKIPPED Node: MICRO_DEMO_NODE names no Node that finds the package.");
    }
    if let Some(why) = fleet.lacks_c() {
        paragraph(&format!("SKIPPED C: {why}."));
    }
    if let Some(why) = fleet.lacks_go() {
        paragraph(&format!("SKIPPED Go: {why}."));
    }
    start(&mut fleet).await?;
    look(&fleet).await?;
    call(&fleet).await?;
    spread(&fleet, &client).await?;
    crash(&mut fleet, &client).await?;
    replace(&mut fleet, &client).await?;
    message(&fleet).await?;
    stop(&mut fleet).await
}

async fn start(fleet: &mut Fleet) -> Outcome {
    title("Start four greeters");
    say("Each picks a free port and announces itself under the name `greeter`.");
    fleet.expect_none().await?;
    for _ in 0..GREETERS {
        let (process, language) = fleet.start()?;
        say(&format!("started process {process}, written in {language}"));
    }
    fleet.expect_nodes(GREETERS).await
}

async fn look(fleet: &Fleet) -> Outcome {
    title("See who is there");
    say("The `micro` command asks the network, just as any client does.");
    expect(&fleet.micro(&["services"]).await?, "greeter")?;
    let described = fleet.micro(&["describe", "greeter"]).await?;
    expect(&described, "Greeter.Hello")?;
    let nodes = described.matches("127.0.0.1:").count();
    check(nodes == GREETERS, || format!("{GREETERS} nodes should be described, not {nodes}"))
}

async fn call(fleet: &Fleet) -> Outcome {
    title("Call it by name, with JSON");
    say("No address, no generated code: a name, an endpoint and a request.");
    let reply = fleet.micro(&["call", "greeter", "Greeter.Hello", r#"{"name":"Ada"}"#]).await?;
    expect(&reply, "Hello, Ada!")?;
    say("A slip of the finger gets an answer that helps:");
    let complaint = fleet.micro_fails(&["call", "greter", "Greeter.Hello"]).await?;
    expect(&complaint, "did you mean `greeter`?")
}

async fn spread(fleet: &Fleet, client: &Client) -> Outcome {
    title("Watch the calls spread");
    say(&format!(
        "{SPREAD} calls by name. Each goes to the less busy of two nodes, so a process that"
    ));
    say("this machine keeps waiting gets fewer.");
    let load = Load::start(client, AT_ONCE);
    load.calls(SPREAD).await?;
    let tally = load.end().await?;
    bars(&tally.by_process);
    no_failures(&tally)?;
    for process in fleet.processes() {
        check(tally.by(process) > 0, || format!("process {process} was not called at all"))?;
    }
    Ok(())
}

async fn crash(fleet: &mut Fleet, client: &Client) -> Outcome {
    title("Kill one in the middle of it");
    say(&format!("{AT_ONCE} calls at any moment, and one greeter gets `kill -9`: no goodbye."));
    let load = Load::start(client, AT_ONCE);
    load.calls(UNDER_LOAD).await?;
    let before = load.take();
    let victim = fleet.kill().await?;
    load.calls(UNDER_LOAD).await?;
    let after = load.end().await?;
    say("before:");
    bars(&before.by_process);
    say(&format!("after the end of process {victim}:"));
    bars(&after.by_process);
    say(&format!(
        "{} calls answered, {} failed; the slowest took {} ms.",
        before.answered() + after.answered(),
        before.failures.len() + after.failures.len(),
        before.slowest.max(after.slowest).as_millis()
    ));
    say("Greeter.Hello is marked idempotent, so calls that died with their node were made again.");
    no_failures(&before)?;
    no_failures(&after)?;
    gone(&after, victim)?;
    fleet.expect_nodes(GREETERS - 1).await?;
    let health = fleet.micro(&["health", "greeter"]).await?;
    check(!health.contains("not serving"), || "the survivors should be well".to_owned())
}

async fn replace(fleet: &mut Fleet, client: &Client) -> Outcome {
    title("Replace one under load, the polite way");
    say(
        "A new greeter joins, in JavaScript where there is Node; then an old one is asked to leave with SIGTERM: it says goodbye,",
    );
    say("finishes what it is doing, and goes.");
    let load = Load::start(client, AT_ONCE);
    load.calls(UNDER_LOAD).await?;
    let (newcomer, language) = fleet.start()?;
    say(&format!("started process {newcomer}, written in {language}"));
    fleet.expect_nodes(GREETERS).await?;
    load.until_answered_by(newcomer).await?;
    let leaver = fleet.terminate().await?;
    let before = load.take();
    load.calls(UNDER_LOAD).await?;
    let after = load.end().await?;
    say(&format!("process {newcomer} came, process {leaver} left:"));
    bars(&after.by_process);
    let failed = before.failures.len() + after.failures.len();
    say(&format!("{} calls answered, {failed} failed.", before.answered() + after.answered()));
    no_failures(&before)?;
    no_failures(&after)?;
    gone(&after, leaver)
}

async fn message(fleet: &Fleet) -> Outcome {
    title("Publish an event, and kill its broker");
    say(
        "The broker is a folder. A process owns it, here one of its own; a message is on the disk once it is published.",
    );
    let folder = std::env::temp_dir().join(format!("micro-demo-{}", std::process::id()));
    let path = folder.to_str().ok_or("the folder for temporary files has no name in text")?;
    let broker = format!("--broker=durable://{path}");
    let outcome = async {
        let mut owner = fleet.own(path).await?;
        let event = ["publish", "orders", r#"{"id":7}"#, &broker];
        expect(&fleet.micro(&event).await?, "published to orders")?;
        let process = owner.id().ok_or("the owner ended by itself")?;
        owner.kill().await?;
        say(&format!(
            "process {process}, which owned the folder, got `kill -9`. The next one to use it owns it:"
        ));
        let take = ["subscribe", "orders", "--queue", "billing", "--from", "first", "--count", "1"];
        let taken = fleet.micro(&[&take[..], &[&broker]].concat()).await?;
        expect(&taken, r#"{"id":7}"#)?;
        expect(&fleet.micro(&["topics", &broker]).await?, "billing")
    };
    let held = outcome.await;
    std::fs::remove_dir_all(&folder)?;
    held
}

async fn stop(fleet: &mut Fleet) -> Outcome {
    title("Stop everything");
    while !fleet.processes().is_empty() {
        let process = fleet.terminate().await?;
        say(&format!("process {process} has stopped"));
    }
    let left = fleet.micro(&["services"]).await?;
    check(!left.contains("greeter"), || "no greeter should be left".to_owned())
}

fn expect(text: &str, part: &str) -> Outcome {
    check(text.contains(part), || format!("expected `{part}` in what was printed"))
}

/// Nothing is heard of a process that ended but answers that were on their way.
fn gone(after: &Tally, process: u32) -> Outcome {
    let heard = after.by(process);
    check(heard <= AT_ONCE as u64, || {
        format!("process {process} is gone and answered {heard} calls")
    })
}

fn no_failures(tally: &Tally) -> Outcome {
    match tally.failures.first() {
        Some(first) => {
            Err(format!("{} calls failed, the first with {first}", tally.failures.len()).into())
        }
        None => Ok(()),
    }
}

fn check(held: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if held { Ok(()) } else { Err(otherwise().into()) }
}
