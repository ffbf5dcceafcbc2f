//! Locks over a store that is slow, that loses requests and answers, and that cannot be reached for a while.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use micro::store::{
    Abilities, Batch, Change, Changes, Event, Memory, Page, Place, Query, Record, Store, Watch,
};
use micro::sync::contract::{History, check};
use micro::sync::{self, Rate};
use micro::{Code, Error, Reason, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

const TTL: Duration = Duration::from_secs(1);
const CLIENTS: usize = 4;
const ROUNDS: usize = 6;

/// A client's way to a store that all share.
#[derive(Debug, Clone)]
struct Faulty {
    inner: Memory,
    dice: Arc<Mutex<Rng>>,
    /// Requests and answers are late, and none is lost.
    is_only_slow: bool,
    /// Nothing comes through until then.
    cut: Arc<Mutex<Option<Instant>>>,
}

impl Faulty {
    fn new(inner: Memory, seed: u64) -> Self {
        let dice = Arc::new(Mutex::new(Rng::with_seed(seed)));
        Self { inner, dice, is_only_slow: false, cut: Arc::default() }
    }

    fn roll<T>(&self, roll: impl FnOnce(&mut Rng) -> T) -> T {
        roll(&mut self.dice.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn cut_off(&self, time: Duration) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
    }

    fn is_cut(&self) -> Option<Instant> {
        let cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        cut.filter(|until| *until > Instant::now())
    }

    fn delay(&self) -> Duration {
        self.roll(|dice| match dice.u8(..100) {
            0..80 => Duration::from_millis(dice.u64(0..20)),
            80..97 => Duration::from_millis(dice.u64(20..400)),
            _ if self.is_only_slow => Duration::ZERO,
            _ => Duration::from_millis(dice.u64(400..3000)),
        })
    }

    /// One way, there or back.
    async fn way(&self) -> Result<()> {
        sleep(self.delay()).await;
        if let Some(until) = self.is_cut() {
            sleep_until(until).await;
            return Err(Error::unavailable("cut off"));
        }
        match self.roll(|dice| dice.u8(..100)) {
            0..4 if !self.is_only_slow => Err(Error::unavailable("lost")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    async fn read(&self, place: &Place, key: &str) -> Result<Option<Record>> {
        self.way().await?;
        let record = self.inner.read(place, key).await;
        self.way().await?;
        record
    }

    async fn apply(&self, batch: Batch) -> Result<Vec<u64>> {
        self.way().await?;
        // What is under way arrives, though nobody may wait for it any more.
        let inner = self.inner.clone();
        let late = self.delay();
        let done = tokio::spawn(async move {
            sleep(late / 4).await;
            inner.apply(batch).await
        });
        let done = done.await.expect("a task");
        self.way().await?;
        done
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.way().await?;
        let page = self.inner.list(query).await;
        self.way().await?;
        page
    }

    async fn watch(&self, watch: Watch) -> Result<Box<dyn Changes>> {
        self.way().await?;
        let inner = self.inner.watch(watch).await?;
        Ok(Box::new(Late { store: self.clone(), inner, due: None }))
    }

    async fn databases(&self) -> Result<Vec<String>> {
        self.inner.databases().await
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        self.inner.tables(database).await
    }
}

/// Changes that are told late, until the connection breaks.
struct Late {
    store: Faulty,
    inner: Box<dyn Changes>,
    due: Option<(Instant, Event)>,
}

#[async_trait]
impl Changes for Late {
    async fn next(&mut self) -> Result<Option<Event>> {
        if self.due.is_none() {
            let Some(event) = self.inner.next().await? else { return Ok(None) };
            self.due = Some((Instant::now() + self.store.delay(), event));
        }
        let due = self.due.as_ref().map(|(due, _)| *due);
        sleep_until(due.unwrap_or_else(Instant::now)).await;
        if self.store.is_cut().is_some()
            || !self.store.is_only_slow && self.store.roll(|dice| dice.u8(..100)) < 3
        {
            return Err(Error::unavailable("the connection broke"));
        }
        Ok(self.due.take().map(|(_, event)| event))
    }
}

/// What the holders did, and the tokens of what they wrote in the order of its versions.
struct Run {
    acts: Vec<u64>,
    written: Vec<u64>,
    refused: usize,
    lost: usize,
}

/// Clients that hold it in turn, act while they do, and write though they may have lost it.
fn run(seed: u64, room: usize) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = Memory::new();
        let data = Place::default();
        let mut changes = store
            .watch(Watch { place: data.clone(), prefix: String::new(), after: None })
            .await
            .expect("a watch");
        let written = Arc::new(Mutex::new(Vec::new()));
        let writes = written.clone();
        let writes = tokio::spawn(async move {
            while let Some(event) = changes.next().await.expect("no change is missed") {
                let value = event.record.expect("nothing is deleted").value;
                let token = std::str::from_utf8(&value).expect("text").parse::<u64>();
                writes.lock().unwrap_or_else(PoisonError::into_inner).push(token.expect("a token"));
            }
        });
        let history = Arc::new(History::default());
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let way = Faulty::new(store.clone(), seed.wrapping_mul(31) + client as u64);
            clients.spawn(client_of(way, room, history.clone(), data.clone()));
        }
        let (mut refused, mut lost) = (0, 0);
        while let Some(client) = clients.join_next().await {
            let (was_refused, was_lost) = client.expect("a client");
            refused += was_refused;
            lost += was_lost;
        }
        // What is still under way.
        sleep(Duration::from_secs(10)).await;
        writes.abort();
        let written = written.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Run { acts: history.acts(), written, refused, lost }
    })
}

async fn client_of(way: Faulty, room: usize, history: Arc<History>, data: Place) -> (usize, usize) {
    let locks = sync::over(Arc::new(way.clone()));
    let (mut refused, mut lost) = (0, 0);
    let mut rounds = 0;
    while rounds < ROUNDS {
        let claim = match room {
            1 => locks.lock("stock"),
            room => locks.semaphore("stock", room),
        };
        let Ok(held) = claim.ttl(TTL).await else { continue };
        rounds += 1;
        let fence = held.fence().await;
        if way.roll(|dice| dice.u8(..4)) == 0 {
            way.cut_off(way.roll(|dice| Duration::from_millis(dice.u64(0..3000))));
        }
        for _ in 0..way.roll(|dice| dice.usize(1..6)) {
            if !held.is_lost() {
                history.act(held.token());
            }
            sleep(way.roll(|dice| Duration::from_millis(dice.u64(0..400)))).await;
        }
        lost += usize::from(held.is_lost());
        // One that does not look whether it still holds it.
        if let Ok(fence) = fence {
            let change = Change::write(data.clone(), "stock", held.token().to_string());
            let wrote = way.apply(Batch { fences: vec![fence], ..change.into() }).await;
            refused += usize::from(wrote.is_err_and(|e| e.reason() == Some(Reason::StaleToken)));
        }
        match way.roll(|dice| dice.u8(..3)) {
            0 => drop(held),
            _ => drop(held.unlock().await),
        }
    }
    (refused, lost)
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|seed| seed.parse::<u64>().ok());
    match number("MICRO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MICRO_SEEDS").unwrap_or(100),
    }
}

#[test]
fn whatever_is_lost_or_late_one_holds_it_and_stale_writes_are_refused() {
    let (mut refused, mut lost, mut acts) = (0, 0, 0);
    for seed in seeds() {
        let run = run(seed, 1);
        check(&run.acts, 1).unwrap_or_else(|wrong| panic!("MICRO_SEED={seed}: {wrong}"));
        assert!(run.written.is_sorted(), "MICRO_SEED={seed}: {:?}", run.written);
        (refused, lost, acts) = (refused + run.refused, lost + run.lost, acts + run.acts.len());
    }
    if seeds().count() >= 100 {
        // Or the faults are none.
        assert!(refused > 5 && lost > 50 && acts > 1000, "{refused} {lost} {acts}");
    }
}

#[test]
fn whatever_is_lost_or_late_no_more_than_its_seats_hold_a_semaphore() {
    for seed in seeds() {
        let run = run(seed, 2);
        check(&run.acts, 2).unwrap_or_else(|wrong| panic!("MICRO_SEED={seed}: {wrong}"));
    }
}

#[test]
fn however_late_all_is_parties_meet_and_none_goes_on_before_the_others_are_there() {
    const PARTIES: usize = 3;
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let store = Memory::new();
            let come = Arc::new(Mutex::new([0; ROUNDS]));
            let mut parties = JoinSet::new();
            for party in 0..PARTIES {
                let mut way = Faulty::new(store.clone(), seed.wrapping_mul(31) + party as u64);
                way.is_only_slow = true;
                let (way, come): (Arc<dyn Store>, _) = (Arc::new(way), come.clone());
                parties.spawn(async move {
                    for round in 0..ROUNDS {
                        come.lock().unwrap_or_else(PoisonError::into_inner)[round] += 1;
                        let met = sync::barrier(&way, "round", PARTIES)
                            .ttl(10 * TTL)
                            .wait(Duration::from_secs(60))
                            .await;
                        met.unwrap_or_else(|error| panic!("MICRO_SEED={seed}: {error}"));
                        let come = come.lock().unwrap_or_else(PoisonError::into_inner)[round];
                        assert_eq!(come, PARTIES, "MICRO_SEED={seed}: round {round}");
                    }
                });
            }
            parties.join_all().await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_cut_off_is_told_before_another_holds_it() {
    let store = Memory::new();
    let mut way = Faulty::new(store.clone(), 1);
    way.dice = Arc::new(Mutex::new(Rng::with_seed(7)));
    let held = loop {
        match sync::over(Arc::new(way.clone())).lock("stock").ttl(TTL).await {
            Ok(held) => break held,
            Err(error) => assert_eq!(error.code(), Code::Unavailable, "{error}"),
        }
    };
    let waits = tokio::spawn({
        let locks = sync::over(Arc::new(store));
        async move { (locks.lock("stock").ttl(TTL).await.expect("a lock"), Instant::now()) }
    });
    way.cut_off(20 * TTL);
    held.lost().await;
    let told = Instant::now();
    assert!(held.is_lost());
    assert!(!waits.is_finished());
    let (next, had) = waits.await.expect("a task");
    assert!(had - told >= TTL / 10 - Duration::from_millis(1), "{:?}", had - told);
    assert!(next.token() > held.token());
    let refused = held.fence().await.expect_err("it is lost");
    assert_eq!(refused.code(), Code::Aborted);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_whatever_comes_late() {
    let store = Memory::new();
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for client in 0..CLIENTS as u64 {
        let way: Arc<dyn Store> = Arc::new(Faulty::new(store.clone(), client));
        let rate = Rate::new(&way, "mails", 20, Duration::from_secs(1)).expect("a rate").burst(5);
        tasks.spawn(async move {
            let mut taken = 0;
            while begun.elapsed() < Duration::from_secs(60) {
                taken += usize::from(rate.take(1, Duration::from_secs(1)).await.is_ok());
            }
            taken
        });
    }
    let taken: usize = tasks.join_all().await.into_iter().sum();
    // Those of a minute, what was there at first, and what is waited for at the end.
    assert!(taken <= 20 * 60 + 5 + 20, "{taken}");
    assert!(taken >= 20 * 60 / 10, "{taken}");
}
