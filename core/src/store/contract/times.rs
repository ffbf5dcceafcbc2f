//! What every store says of records with an end. One function a promise.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Subject;
use super::steps::{conflict, place};
use crate::store::{Change, Condition, Place, Query};

const LIFE: Duration = Duration::from_millis(1500);

impl Subject {
    /// Returns when the record is gone, and not before `earliest`.
    async fn gone(&self, place: &Place, key: &str, earliest: Instant) {
        let limit = self.patience;
        let gone = timeout(limit, async {
            while self.read_at(&*self.other, place, key).await.is_some() {
                sleep(Duration::from_millis(5)).await;
            }
        });
        gone.await.expect("a record goes when its time is over");
        let now = Instant::now();
        assert!(now >= earliest, "a record stays until its time is over");
    }
}

pub(super) async fn a_record_is_gone_when_its_time_is_over(subject: &Subject) {
    let place = place();
    subject.write(&place, "stays", "value").await;
    let begun = Instant::now();
    let write = |key: &str, life| Change::write(place.clone(), key, "value").expires_in(life);
    subject.change(write("long", Duration::from_secs(3600))).await;
    subject.change(write("goes", LIFE)).await;
    let written = Instant::now();
    assert_eq!(subject.text(&place, "goes").await.as_deref(), Some("value"), "it is there first");
    subject.gone(&place, "goes", begun + LIFE).await;
    let late = Instant::now().saturating_duration_since(written + LIFE);
    assert!(late <= subject.tardiness, "it goes when its time is over, and not {late:?} later");
    assert_eq!(
        subject.keys(&Query::all(place.clone())).await,
        ["long", "stays"],
        "nor is it listed"
    );
    let absent = write("goes", LIFE).only_if(Condition::Absent);
    subject.change(absent).await;
    let tables = subject.other.tables(place.database()).await.expect("tables are named");
    assert_eq!(tables, ["micro"]);
}

pub(super) async fn a_write_sets_the_time_anew(subject: &Subject) {
    let place = place();
    let write = |key: &str| Change::write(place.clone(), key, "value");
    let begun = Instant::now();
    for key in ["longer", "stays", "shorter"] {
        let life = if key == "shorter" { LIFE * 100 } else { LIFE };
        subject.change(write(key).expires_in(life)).await;
    }
    subject.change(write("stays")).await;
    sleep_until(begun + LIFE / 2).await;
    let again = Instant::now();
    subject.change(write("shorter").expires_in(LIFE)).await;
    subject.change(write("longer").expires_in(LIFE)).await;
    sleep_until(begun + LIFE).await;
    subject.gone(&place, "longer", again + LIFE).await;
    subject.gone(&place, "shorter", again + LIFE).await;
    let stays = subject.read(&place, "stays").await.expect("what is written without an end stays");
    assert_eq!(stays.expires_in, None, "and says so");
}

pub(super) async fn the_version_of_what_is_over_is_no_version(subject: &Subject) {
    let place = place();
    let write = Change::write(place.clone(), "a", "value");
    let version = subject.change(write.clone().expires_in(LIFE)).await;
    let written = Instant::now();
    sleep_until(written + LIFE + subject.tardiness + Duration::from_millis(50)).await;
    // Nothing has looked at it since.
    let promise = "what is over has no version";
    let late = write.clone().only_if(Condition::Version(version));
    conflict(subject.apply(late).await, promise);
    conflict(subject.apply(write.clone().only_if(Condition::Present)).await, promise);
    let delete = Change::delete(place.clone(), "a").only_if(Condition::Present);
    conflict(subject.apply(delete).await, promise);
    let again = subject.change(write.only_if(Condition::Absent)).await;
    assert!(again > version, "versions grow");
}

pub(super) async fn the_time_that_is_left_can_be_seen(subject: &Subject) {
    let place = place();
    let life = Duration::from_secs(100);
    let begun = Instant::now();
    subject.change(Change::write(place.clone(), "a", "value").expires_in(life)).await;
    let written = Instant::now();
    sleep(Duration::from_millis(300)).await;
    for listed in [false, true] {
        let asked = Instant::now();
        let record = match listed {
            false => subject.read_at(&*subject.other, &place, "a").await,
            true => subject.list(&Query::all(place.clone())).await.records.pop(),
        };
        let answered = Instant::now();
        let left = record.and_then(|record| record.expires_in).expect("the time that is left");
        let (least, most) = (life - (answered - begun), life - (asked - written));
        let slack = subject.tardiness;
        assert!(
            left + slack >= least && left <= most + slack,
            "the time that is left is between {least:?} and {most:?}, but was told as {left:?}"
        );
    }
}
