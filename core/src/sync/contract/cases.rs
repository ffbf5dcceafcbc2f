//! One line, and what moves in it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::Subject;
pub(super) use crate::registry::contract::unique;
use crate::sync::{Contender, Entry, Held, Standing};

impl Subject {
    /// What is done in time.
    pub(super) async fn soon<T>(&self, what: &str, work: impl IntoFuture<Output = T>) -> T {
        let done = timeout(self.patience, work.into_future()).await;
        done.unwrap_or_else(|_| panic!("{what} ends within {:?}", self.patience))
    }

    pub(super) async fn line(&self, line: &str) -> Vec<Standing> {
        self.soon("looking at a line", self.other.line(line)).await.expect("a line")
    }

    /// Returns when so many are in line.
    pub(super) async fn until_there_are(&self, line: &str, many: usize) {
        let mut moves = self.one.watch(line).await.expect("a watch");
        let come = async {
            while self.line(line).await.len() < many {
                moves.next().await.expect("a move");
            }
        };
        self.soon("coming into line", come).await;
    }

    /// One that enters and is not renewed, as if its process were gone.
    async fn vanish(&self, line: &str, ttl: Duration) -> Box<dyn Entry> {
        let id = unique("id").replace(|c: char| !c.is_ascii_alphanumeric(), "");
        let (who, note) = ("gone".to_owned(), String::new());
        let contender = Contender { id, who, note, process: 1, ttl };
        self.soon("entering", self.one.enter(line, &contender)).await.expect("an entry")
    }
}

pub(super) async fn those_who_wait_hold_it_in_the_order_in_which_they_came(subject: &Subject) {
    let (name, ttl) = (unique("order"), 60 * subject.ttl);
    let line = format!("lock/{name}");
    let first = subject.soon("locking", subject.one.lock(&*name).ttl(ttl)).await.expect("first");
    let mut waiting = Vec::new();
    for (many, locks) in [&subject.other, &subject.one, &subject.other].into_iter().enumerate() {
        waiting.push(tokio::spawn(locks.lock(&*name).ttl(ttl).into_future()));
        subject.until_there_are(&line, many + 2).await;
    }
    let mut token = first.token();
    assert_eq!(subject.line(&line).await[0].place, token, "the place in line is the token");
    first.unlock().await.expect("unlocks");
    for (turn, waits) in waiting.into_iter().enumerate() {
        let held: Held = subject.soon("waiting", waits).await.expect("a task").expect("a lock");
        assert!(held.token() > token, "{} after {token}, in turn {turn}", held.token());
        token = held.token();
        held.unlock().await.expect("unlocks");
    }
    assert_eq!(subject.line(&line).await, []);
}

pub(super) async fn a_lock_that_is_given_back_is_had_at_once(subject: &Subject) {
    let name = unique("handover");
    // Waiting for the end of its time would take for ever.
    let ttl = 20 * subject.patience;
    let held = subject.one.lock(&*name).ttl(ttl).await.expect("a lock");
    assert!(subject.other.try_lock(&*name).await.expect("an answer").is_none());
    let waits = tokio::spawn(subject.other.lock(&*name).ttl(ttl).into_future());
    subject.until_there_are(&format!("lock/{name}"), 2).await;
    held.unlock().await.expect("unlocks");
    let held: Held = subject.soon("the next", waits).await.expect("a task").expect("a lock");
    let waits = tokio::spawn(subject.one.lock(&*name).ttl(ttl).into_future());
    subject.until_there_are(&format!("lock/{name}"), 2).await;
    drop(held);
    subject.soon("the next after a drop", waits).await.expect("a task").expect("a lock");
}

pub(super) async fn a_holder_that_vanished_is_out_after_its_time_and_not_earlier(
    subject: &Subject,
) {
    let name = unique("vanished");
    let gone = subject.vanish(&format!("lock/{name}"), subject.ttl).await;
    let entered = Instant::now();
    let held = subject.soon("the next", subject.other.lock(&*name)).await.expect("a lock");
    assert!(Instant::now() >= gone.until(), "it was out of the line before its time");
    let late = entered.elapsed().saturating_sub(subject.ttl);
    assert!(late <= subject.late, "it was in line for {late:?} more than {:?}", subject.ttl);
    assert!(held.token() > gone.place());
}

pub(super) async fn a_holder_that_lives_is_renewed(subject: &Subject) {
    let name = unique("renewed");
    let held = subject.one.lock(&*name).ttl(subject.ttl).await.expect("a lock");
    let late = subject.other.lock(&*name).ttl(subject.ttl).wait(3 * subject.ttl).await;
    let late = late.expect_err("it is held");
    assert_eq!(late.code(), crate::Code::DeadlineExceeded, "{late}");
    assert!(!held.is_lost(), "it was renewed");
    held.unlock().await.expect("unlocks");
}

pub(super) async fn a_place_is_kept_when_it_is_renewed(subject: &Subject) {
    let line = format!("lock/{}", unique("kept"));
    let mut first = subject.vanish(&line, 20 * subject.ttl).await;
    let second = subject.vanish(&line, 20 * subject.ttl).await;
    assert!(second.place() > first.place());
    let before = first.until();
    for _ in 0..2 {
        assert!(first.renew(None).await.expect("an answer"), "it is in line");
    }
    assert!(first.until() > before, "its time begins anew");
    let places: Vec<_> = subject.line(&line).await.iter().map(|one| one.place).collect();
    assert_eq!(places, [first.place(), second.place()]);
}

pub(super) async fn what_is_out_of_the_line_is_not_renewed(subject: &Subject) {
    let line = format!("lock/{}", unique("out"));
    let mut left = subject.vanish(&line, 20 * subject.ttl).await;
    let id = subject.line(&line).await[0].contender.id.clone();
    subject.other.leave(&line, &id).await.expect("leaves");
    assert!(!left.renew(None).await.expect("an answer"), "it was taken out of the line");
    subject.other.leave(&line, &id).await.expect("nothing to do is no failure");

    let mut over = subject.vanish(&line, subject.ttl).await;
    sleep_until(over.until() + subject.late).await;
    assert!(!over.renew(None).await.expect("an answer"), "its time is over");
    assert_eq!(subject.line(&line).await, []);
}

pub(super) async fn tokens_grow(subject: &Subject) {
    let name = unique("tokens");
    let mut newest = 0;
    for locks in [&subject.one, &subject.other, &subject.one] {
        let held = locks.lock(&*name).await.expect("a lock");
        assert!(held.token() > newest, "{} after {newest}", held.token());
        newest = held.token();
        held.unlock().await.expect("unlocks");
    }
}

pub(super) async fn names_of_any_text_are_kept_apart(subject: &Subject) {
    let name = unique("names");
    let others = ["", "/", "/a", "%", " ", "ä", "\u{1F600}", ".", "\0", "\n", "*", "?", "_", "[a]"];
    let names = others.map(|other| format!("{name}{other}"));
    let mut all = Vec::new();
    for name in &names {
        let held = subject.one.try_lock(&**name).await.expect("an answer");
        all.push(held.unwrap_or_else(|| panic!("{name:?} is another's")));
    }
    // Nor is an election a lock of its name.
    let leads = subject.one.elect(&*name).now().await.expect("an answer");
    assert!(leads.is_some(), "an election is another's");
    for name in &names {
        assert!(subject.other.try_lock(&**name).await.expect("an answer").is_none(), "{name:?}");
    }
}
