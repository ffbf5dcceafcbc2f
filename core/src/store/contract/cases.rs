//! What every store does with single records. One function a promise.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::Subject;
use super::steps::{place, refused, table, unique};
use crate::error::{Code, Reason};
use crate::store::{Change, MAX_KEY, MAX_METADATA, MAX_VALUE, Place, Query, What};

pub(super) async fn what_is_written_is_read(subject: &Subject) {
    let place = place();
    assert_eq!(subject.read(&place, "a").await, None, "what was never written is not there");
    let version = subject.write(&place, "a", vec![0, 255, 13, 10, 128]).await;
    let record = subject.read(&place, "a").await.expect("what was written is there");
    assert_eq!(record.key, "a");
    assert_eq!(&record.value[..], [0, 255, 13, 10, 128], "a value is any bytes");
    assert!(record.metadata.is_empty(), "metadata is empty unless it is written");
    assert_eq!(record.version, version, "a record has the version that its change got");
    assert_eq!(record.expires_in, None, "a record stays unless it is given an end");
    subject.write(&place, "a", "again").await;
    assert_eq!(subject.text(&place, "a").await.as_deref(), Some("again"), "the last write counts");
    subject.change(Change::delete(place.clone(), "a")).await;
    assert_eq!(subject.read(&place, "a").await, None, "what was deleted is not there");
    let nothing = subject.change(Change::delete(place.clone(), "a")).await;
    assert_eq!(nothing, 0, "where nothing is deleted, nothing changes");
}

/// Keys that something in between might take for something else.
pub(super) fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a",
        "A",
        "a/b",
        "a//b",
        "/",
        "//",
        "/a",
        "a/",
        ".",
        "..",
        "../a",
        "%",
        "%2F",
        "%61",
        "_",
        "a_",
        "a%",
        "*",
        "a*",
        "?",
        "[a]",
        "{a}",
        "a b",
        " ",
        " a",
        "a ",
        "a\tb",
        "a\nb",
        "a\rb",
        "'",
        "\"",
        "\\",
        "a\\",
        "\\x61",
        "--",
        ";",
        "$1",
        ":",
        "a:b",
        "#",
        "\u{1}",
        "\u{7f}",
        "é",
        "e\u{301}",
        "ü",
        "日本",
        "🦀",
        "ß",
        "SS",
        "ı",
        "I",
        "\u{fffd}",
        "\u{10ffff}",
        "null",
        "0",
        "00",
        "-1",
        "1e3",
        "1000",
    ]
    .map(str::to_owned)
    .into();
    keys.push("k".repeat(MAX_KEY));
    keys.push(format!("{}ü", "k".repeat(MAX_KEY - 2)));
    keys
}

pub(super) async fn keys_of_any_text_are_kept_apart(subject: &Subject) {
    let place = place();
    let keys = odd_keys();
    for (nth, key) in keys.iter().enumerate() {
        subject.write(&place, key, nth.to_string()).await;
    }
    for (nth, key) in keys.iter().enumerate() {
        let text = subject.text(&place, key).await;
        assert_eq!(text, Some(nth.to_string()), "{key:?} is a key of its own");
    }
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(
        subject.keys(&Query::all(place.clone())).await,
        sorted,
        "all are listed as they are"
    );
    for key in &keys {
        subject.change(Change::delete(place.clone(), key)).await;
    }
    assert!(subject.keys(&Query::all(place)).await.is_empty(), "each is deleted by its key");
}

pub(super) async fn a_value_is_kept_whole_or_refused_whatever_its_size(subject: &Subject) {
    let place = place();
    for size in [0, 1, 1023, 64 << 10, 1 << 20, MAX_VALUE] {
        let value: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let written = subject.apply(Change::write(place.clone(), "a", value.clone())).await;
        if size <= subject.max_value {
            written.unwrap_or_else(|error| panic!("a value of {size} bytes is kept: {error}"));
            let record = subject.read(&place, "a").await.expect("it is there");
            assert!(record.value == value, "a value of {size} bytes is read as it was written");
        } else {
            let promise = "a value that does not fit is refused";
            refused(written, Code::InvalidArgument, Some(Reason::TooLarge), promise);
        }
    }
}

pub(super) async fn metadata_of_any_json_is_kept(subject: &Subject) {
    let place = place();
    let json = json!({
        "text": "ü \" \\ \n 🦀", "empty": "", "": "no name", "a.b": "dots", "$ref": "dollar", "none": null, "yes": true, "no": false,
        "most": u64::MAX, "least": i64::MIN, "half": 0.5, "list": [1, [], {}, null], "deep": {"a": {"b": {"c": [0]}}},
        "long": "m".repeat(8000),
    });
    let serde_json::Value::Object(metadata) = json else { panic!("an object") };
    let mut change = Change::write(place.clone(), "a", "value");
    if let What::Write { metadata: of, .. } = &mut change.what {
        of.clone_from(&metadata);
    }
    subject.change(change).await;
    let record = subject.read(&place, "a").await.expect("it is there");
    assert_eq!(record.metadata, metadata, "metadata is read as it was written");
    let page = subject.list(&Query::all(place.clone())).await;
    assert_eq!(page.records[0].metadata, metadata, "and listed so");
    subject.write(&place, "a", "value").await;
    let record = subject.read(&place, "a").await.expect("it is there");
    assert!(record.metadata.is_empty(), "metadata goes with the value that it belongs to");
}

pub(super) async fn what_cannot_be_kept_is_refused(subject: &Subject) {
    let place = place();
    let write = |key: &str| Change::write(place.clone(), key, "value");
    let invalid = Code::InvalidArgument;
    let long = "k".repeat(MAX_KEY + 1);
    for (key, reason) in [("", None), ("a\0b", None), (&*long, Some(Reason::TooLarge))] {
        refused(subject.apply(write(key)).await, invalid, reason, "such a key is refused");
        let read = subject.one.read(&place, key).await;
        refused(read, invalid, None, "such a key is not read either");
    }
    let large = Change::write(place.clone(), "a", vec![0; MAX_VALUE + 1]);
    refused(subject.apply(large).await, invalid, Some(Reason::TooLarge), "a value has a bound");
    let mut metadata = write("a");
    if let What::Write { metadata, .. } = &mut metadata.what {
        metadata.insert("long".into(), "m".repeat(MAX_METADATA).into());
    }
    let too_large = Some(Reason::TooLarge);
    refused(subject.apply(metadata).await, invalid, too_large, "metadata has a bound");
    let gone = write("a").expires_in(Duration::from_micros(10));
    refused(subject.apply(gone).await, invalid, None, "a record lives for a millisecond");
    assert_eq!(subject.read(&place, "a").await, None, "what is refused changes nothing");
}

pub(super) async fn databases_and_tables_are_apart_and_named(subject: &Subject) {
    let first = table("a.b");
    let places = [
        first.clone(),
        Place::new(first.database(), "a_b").expect("a table"),
        Place::new(first.database(), "A_B").expect("a table"),
        Place::new(first.database(), &"t".repeat(64)).expect("a table"),
        Place::new(&unique("Other"), "a.b").expect("a table"),
    ];
    for (nth, place) in places.iter().enumerate() {
        subject.write(place, "key", nth.to_string()).await;
    }
    for (nth, place) in places.iter().enumerate() {
        let text = subject.text(place, "key").await;
        assert_eq!(text, Some(nth.to_string()), "{place} is a table of its own");
    }
    let databases = subject.other.databases().await.expect("databases are named");
    for place in &places {
        let found = databases.iter().any(|name| name == place.database());
        assert!(found, "{} is among the databases {databases:?}", place.database());
    }
    assert!(databases.is_sorted(), "databases are sorted: {databases:?}");
    let tables = subject.other.tables(first.database()).await.expect("tables are named");
    assert_eq!(tables, ["A_B", "a.b", "a_b", &"t".repeat(64)], "tables are sorted");
    subject.change(Change::delete(places[1].clone(), "key")).await;
    let tables = subject.other.tables(first.database()).await.expect("tables are named");
    assert_eq!(tables, ["A_B", "a.b", &"t".repeat(64)], "one without a record is not named");
    let nowhere = subject.other.tables(&unique("nowhere")).await.expect("tables are named");
    assert!(nowhere.is_empty(), "a database without records has no tables");
}

pub(super) async fn a_call_that_is_given_up_leaves_all_or_nothing(subject: &Subject) {
    let place = place();
    for nth in 0..50_u64 {
        let key = format!("{nth}");
        let before = subject.write(&place, &key, "before").await;
        let change = Change::write(place.clone(), &key, "after");
        let wait = Duration::from_micros(nth * 20);
        let _ = timeout(wait, subject.one.apply(change.into())).await;
        let _ = timeout(wait, subject.one.read(&place, &key)).await;
        let _ = timeout(wait, subject.one.list(&Query::all(place.clone()))).await;
        // What was given up may still be made; what is written now comes behind it, or before it.
        let last = subject.write(&place, &key, "last").await;
        let record = subject.read(&place, &key).await.expect("it is there");
        assert!(record.version >= last && last > before, "versions grow: {record:?}");
        let is_whole = [&b"last"[..], b"after"].contains(&&*record.value);
        assert!(is_whole, "a write that is given up is made or not made: {record:?}");
    }
}
