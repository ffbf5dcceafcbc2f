use serde_json::json;

use super::*;

#[tokio::test]
async fn a_source_that_fails_at_the_start_is_named_and_hides_no_other() {
    let error = Config::builder()
        .source(Scripted::new(Err(Error::unavailable("it is down"))))
        .source("file:///nowhere/shop.json")
        .load()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let lines: Vec<&str> = error.detail().lines().collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert_eq!(lines[0], "scripted: it is down");
    assert!(lines[1].contains("/nowhere/shop.json"), "{error}");
    let error = Config::builder().source("fil://x").load().await.unwrap_err();
    assert!(error.detail().contains("did you mean file://?"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_optional_source_that_fails_is_told_and_tried_again() {
    let optional = Scripted::new(Err(Error::unavailable("it is down")));
    let other = Memory::new(json!({"a": 1})).unwrap();
    let config = Config::builder().optional(optional.clone()).source(other).load().await.unwrap();
    let mut events = config.events();
    assert_eq!(config.get("a").int().unwrap(), 1);
    let status = config.status();
    assert!(status.sources[0].is_optional && !status.is_current());
    let error = status.sources[0].state.error().unwrap();
    assert_eq!(error.detail(), "scripted: it is down");
    let mut watch = config.watch("b");
    // Not a change, but the next try finds it.
    optional.says.send_if_modified(|says| {
        *says = Ok(json!({"b": 2}));
        false
    });
    assert_eq!(in_time(watch.next()).await.unwrap().int().unwrap(), 2);
    let changed = in_time(events.next()).await.unwrap();
    assert!(matches!(changed, Event::Changed { .. }), "{changed:?}");
    let recovered = in_time(events.next()).await.unwrap();
    assert!(matches!(recovered, Event::Recovered { .. }), "{recovered:?}");
    assert!(config.status().is_current());
}

#[tokio::test]
async fn an_optional_source_that_is_there_and_wrong_is_refused() {
    let wrong = Scripted::new(Err(Error::invalid_argument("shop.json:3: no comma")));
    let error = Config::builder().optional(wrong).load().await.unwrap_err();
    assert_eq!(error.detail(), "scripted: shop.json:3: no comma");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_later_keeps_what_it_said_and_is_tried_again_less_and_less_often() {
    let source = Scripted::new(Ok(json!({"a": 1})));
    let config = Config::builder().source(source.clone()).load().await.unwrap();
    let mut events = config.events();
    source.fails(Code::Unavailable, "cut off");
    let event = in_time(events.next()).await.unwrap();
    let Event::Failed { source: name, error } = event else { panic!("{event:?}") };
    assert_eq!((name.as_str(), error.detail()), ("scripted", "scripted: cut off"));
    assert_eq!(config.get("a").int().unwrap(), 1);
    let before = source.reads();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let tries = source.reads() - before;
    assert!((100..400).contains(&tries), "{tries} tries in an hour");
    source.says(json!({"a": 2}));
    let event = in_time(events.next()).await.unwrap();
    // The hour of failures was told once.
    assert!(matches!(event, Event::Changed { .. }), "{event:?}");
    assert_eq!(config.get("a").int().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_is_begun_anew() {
    let source = Scripted::new(Ok(json!({"a": 1})));
    let config = Config::builder().source(source.clone()).load().await.unwrap();
    let mut events = config.events();
    source.watched.send_replace(false);
    let event = in_time(events.next()).await.unwrap();
    let Event::Failed { error, .. } = event else { panic!("{event:?}") };
    assert_eq!(error.detail(), "scripted: the watch broke");
    let mut watch = config.watch("a");
    source.says(json!({"a": 2}));
    source.watched.send_replace(true);
    assert_eq!(in_time(watch.next()).await.unwrap().int().unwrap(), 2);
    source.says(json!({"a": 3}));
    assert_eq!(in_time(watch.next()).await.unwrap().int().unwrap(), 3);
}

/// A source that never answers.
#[derive(Debug)]
struct Stuck;

#[async_trait]
impl Source for Stuck {
    fn name(&self) -> &str {
        "stuck"
    }

    async fn read(&self) -> Result<Document> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_or_panics_ends_in_an_error() {
    let builder = Config::builder().source(Stuck).read_timeout(Duration::from_secs(3));
    let start = tokio::time::Instant::now();
    let error = builder.load().await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert!(error.detail().contains("stuck"), "{error}");
    assert_eq!(start.elapsed().as_secs(), 3);

    #[derive(Debug)]
    struct Panics;
    #[async_trait]
    impl Source for Panics {
        fn name(&self) -> &str {
            "panics"
        }
        async fn read(&self) -> Result<Document> {
            panic!("a bug")
        }
    }
    let error = Config::builder().source(Panics).load().await.unwrap_err();
    assert!(error.detail().contains("panics panicked: a bug"), "{error}");
}

#[tokio::test]
async fn all_sources_are_read_anew_when_they_are_synced() {
    let (first, second) = (Scripted::new(Ok(json!({"a": 1}))), Scripted::new(Ok(json!({"b": 1}))));
    let builder = Config::builder().source(first.clone()).source(second.clone());
    let config = builder.load().await.unwrap();
    let quietly = |source: &Scripted, says: Result<Json>| {
        source.says.send_if_modified(|now| {
            *now = says;
            false
        });
    };
    quietly(&first, Err(Error::unavailable("it is down")));
    quietly(&second, Ok(json!({"b": 2})));
    let error = config.sync().await.unwrap_err();
    assert_eq!(error.detail(), "scripted: it is down");
    assert_eq!(json(&config), json!({"a": 1, "b": 2}));
    quietly(&first, Ok(json!({"a": 3})));
    config.sync().await.unwrap();
    assert_eq!(json(&config), json!({"a": 3, "b": 2}));
    assert!(config.status().is_current());
}

#[tokio::test]
async fn events_that_are_not_read_are_counted() {
    let config = loaded([json!({"n": 0})]).await;
    let mut events = config.events();
    for n in 1..=100 {
        config.set("n", n).unwrap();
    }
    let event = in_time(events.next()).await.unwrap();
    assert!(matches!(event, Event::Missed { count: 36 }), "{event:?}");
    let event = in_time(events.next()).await.unwrap();
    assert!(matches!(event, Event::Changed { version: 38 }), "{event:?}");
}
