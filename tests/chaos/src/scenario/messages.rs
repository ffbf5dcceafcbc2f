//! Publishers and consumers of a durable broker are killed and stopped, the owner of its files among them. What was acknowledged is
//! counted outside.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use micro::broker::{Broker as _, Durable, Start, Subscription};
use tokio::time::{Instant, timeout};

use super::name::Name;
use super::plan::Plan;
use crate::Outcome;
use crate::crew::Crew;
use crate::crew::worker::{REASON, TOPIC, is_poison};
use crate::report::{Goal, Scenario};

const PUBLISHERS: usize = 2;
const CONSUMERS: usize = 3;
/// Longest time from the last fault until all is handled.
const RECOVERY: Duration = Duration::from_secs(30);

pub(super) async fn run(plan: &Plan) -> Outcome<Scenario> {
    let mut random = Rng::with_seed(plan.seed);
    let folder = tempfile::tempdir()?;
    let mut crew = Crew::start(folder.path(), PUBLISHERS, CONSUMERS).await?;
    let (mut kills, mut pauses) = (0, 0);
    let end = Instant::now() + plan.time;
    let mut owners = BTreeSet::new();
    while Instant::now() < end || kills < 2 || pauses < 1 || owners.len() < 3 {
        let owner = micro::data::examine(folder.path(), |_| {})?.owner;
        let owner = owner.filter(|owner| owner.is_alive).map(|owner| owner.process);
        owners.extend(owner);
        let nth = crew.pick(&mut random, owner);
        let pause = Duration::from_millis(random.u64(200..2_500));
        if random.bool() {
            crew.kill(nth).await?;
            kills += 1;
        } else {
            crew.signal(nth, "STOP").await?;
            crew.listen(Instant::now() + pause, false).await;
            crew.signal(nth, "CONT").await?;
            pauses += 1;
        }
        let calm = Duration::from_millis(random.u64(200..1_500));
        crew.listen(Instant::now() + calm, false).await;
    }
    crew.end(false).await?;
    let calm = Instant::now();
    let is_handled = crew.listen(calm + RECOVERY, true).await;
    let took = calm.elapsed();
    crew.end(true).await?;

    let ledger = &crew.ledger;
    let published = ledger.published();
    let poison: BTreeSet<String> = published
        .iter()
        .map(|(name, number)| format!("{name} {number}"))
        .filter(|text| is_poison(text))
        .collect();
    let buried = dead_letters(folder.path(), &poison).await?;
    let examined = micro::data::examine(folder.path(), |_| {})?;
    let goals = vec![
        Goal::at_least("faults", f64::from(kills + pauses), 3.0),
        Goal::at_least("owners of the files", owners.len() as f64, 3.0),
        Goal::at_least("published", published.len() as f64, 20.0),
        Goal::at_most("acknowledged and never delivered", ledger.missing() as f64, 0.0),
        Goal::at_most("attempts made twice or too often", ledger.wrong.len() as f64, 0.0),
        Goal::at_most("delivered before one of their key", ledger.out_of_order() as f64, 0.0),
        Goal::at_most(
            "poison that is no dead letter with its reason",
            (poison.len() - buried) as f64,
            0.0,
        ),
        Goal::at_most("files that are damaged", f64::from(u8::from(!examined.is_sound())), 0.0),
        Goal::at_most(
            "seconds until all was handled after the last fault",
            took.as_secs_f64(),
            RECOVERY.as_secs_f64(),
        ),
        Goal::at_least("all was handled", f64::from(u8::from(is_handled)), 1.0),
    ];
    let mut scenario = Scenario::of(Name::Messages, &[], goals)
        .note(format!("{kills} kills and {pauses} stops, of publishers, consumers and the owner"))
        .note(format!(
            "{} messages published, {} more in doubt, {} delivered more than once, {} of poison",
            published.len(),
            ledger.failed,
            ledger.redelivered(),
            poison.len()
        ));
    scenario.calls = published.len() + ledger.failed;
    scenario.answered = published.len();
    for wrong in ledger.wrong.iter().take(5) {
        scenario = scenario.note(format!("for example {wrong}"));
    }
    Ok(scenario)
}

/// How many of these are dead letters that say why.
async fn dead_letters(folder: &Path, wanted: &BTreeSet<String>) -> Outcome<usize> {
    let broker = Durable::new(folder);
    let mut subscription = Subscription::new(format!("{TOPIC}.dead"));
    subscription.start = Start::First;
    subscription.max_in_flight = 1_000;
    let mut deliveries = broker.subscribe(subscription).await?;
    let mut found = BTreeSet::new();
    while found.len() < wanted.len() {
        let Ok(next) = timeout(Duration::from_secs(5), deliveries.next()).await else { break };
        let Some(delivery) = next? else { break };
        let message = &delivery.delivered.message;
        let text = String::from_utf8_lossy(&message.body).into_owned();
        if message.headers.get("micro-dead-reason") == Some(REASON) && wanted.contains(&text) {
            found.insert(text);
        }
        delivery.settle(micro::broker::Verdict::Ack).await?;
    }
    drop(deliveries);
    broker.close().await?;
    Ok(found.len())
}
