use serde::Deserialize;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_change_of_a_source_is_there_without_a_restart() {
    let source = Memory::new(json!({"a": 1})).unwrap();
    let config = Config::builder().source(source.clone()).load().await.unwrap();
    let mut watch = config.watch("a");
    source.update(json!({"a": 2})).unwrap();
    assert_eq!(in_time(watch.next()).await.unwrap().int().unwrap(), 2);
    assert_eq!(config.get("a").int().unwrap(), 2);
}

#[tokio::test]
async fn a_watch_hears_of_its_path_alone_and_of_nothing_that_stays() {
    let source = Scripted::new(Ok(json!({"a": {"b": 1}, "c": 1})));
    let config = Config::builder().source(source.clone()).load().await.unwrap();
    let (mut path, mut all) = (config.watch("a.b"), config.watch(""));
    let mut events = config.events();
    // Neither another key, nor the same once more, nor what comes and goes.
    source.says(json!({"a": {"b": 1}, "c": 2}));
    assert_eq!(in_time(all.next()).await.unwrap().get("c").int().unwrap(), 2);
    config.set("x", 1).unwrap();
    config.set("x", 1).unwrap();
    source.says(json!({"a": {"b": 1}, "c": 2, "x": 5}));
    config.set("a.b", 2).unwrap();
    config.set("a.b", 1).unwrap();
    config.set("a.b", 3).unwrap();
    assert_eq!(in_time(path.next()).await.unwrap().int().unwrap(), 3);
    let versions = [2, 3, 4, 5, 6];
    for version in versions {
        let event = in_time(events.next()).await.unwrap();
        assert!(matches!(event, Event::Changed { version: told } if told == version), "{event:?}");
    }
    assert_eq!(config.status().version, 6);
}

#[tokio::test]
async fn data_that_is_read_anew_and_is_the_same_is_no_event() {
    let source = Scripted::new(Ok(json!({"a": 1})));
    let config = Config::builder().source(source.clone()).load().await.unwrap();
    let mut events = config.events();
    config.sync().await.unwrap();
    config.sync().await.unwrap();
    assert_eq!(source.reads(), 3);
    config.set("b", 1).unwrap();
    let event = in_time(events.next()).await.unwrap();
    assert!(matches!(event, Event::Changed { version: 2 }), "{event:?}");
}

#[tokio::test]
async fn the_last_value_is_never_missed() {
    let config = loaded([json!({"n": 0})]).await;
    let mut watch = config.watch("n");
    let setting = config.clone();
    let task = tokio::task::spawn_blocking(move || {
        for n in 1..=500 {
            setting.set("n", n).unwrap();
        }
    });
    let mut last = 0;
    while last < 500 {
        let now = in_time(watch.next()).await.unwrap().int().unwrap();
        assert!(now > last, "{now} after {last}");
        last = now;
    }
    task.await.unwrap();
}

#[tokio::test]
async fn a_watch_ends_with_its_configuration() {
    let source = Memory::new(json!({"a": 1})).unwrap();
    let config = Config::builder().source(source.clone()).load().await.unwrap();
    let (mut watch, mut events) = (config.watch("a"), config.events());
    drop(config);
    assert!(in_time(watch.next()).await.is_none());
    assert!(in_time(events.next()).await.is_none());
}

#[tokio::test]
async fn what_the_program_sets_is_there_at_once_and_stays() {
    let source = Scripted::new(Ok(json!({"a": {"b": 1, "c": 2}, "d": 1})));
    let config = Config::builder().source(source.clone()).load().await.unwrap();
    config.set("a.b", 10).unwrap();
    config.del("d").unwrap();
    let expected = json!({"a": {"b": 10, "c": 2}});
    assert_eq!(json(&config), expected);
    let mut watch = config.watch("a.c");
    source.says(json!({"a": {"b": 3, "c": 4}, "d": 5}));
    in_time(watch.next()).await.unwrap();
    assert_eq!(json(&config), json!({"a": {"b": 10, "c": 4}}));
    config.sync().await.unwrap();
    assert_eq!(json(&config), json!({"a": {"b": 10, "c": 4}}));
    config.set("d", json!({"e": null})).unwrap();
    config.set("a.b.x", 1).unwrap();
    assert_eq!(json(&config), json!({"a": {"b": {"x": 1}, "c": 4}, "d": {"e": null}}));
    assert_eq!(config.set("", 1).unwrap_err().code(), Code::InvalidArgument);
}

#[derive(Debug, Deserialize)]
struct Limits {
    low: u32,
    high: u32,
}

#[tokio::test]
async fn a_live_value_follows() {
    let source = Scripted::new(Ok(json!({"limits": {"low": 1, "high": 2}})));
    let config = Config::builder().source(source.clone()).load().await.unwrap();
    let live = config.live::<Limits>("limits").unwrap();
    let held = live.get();
    let mut watch = config.watch("limits");
    source.says(json!({"limits": {"low": 3, "high": 4}}));
    in_time(watch.next()).await.unwrap();
    assert_eq!((live.get().low, live.get().high), (3, 4));
    assert_eq!(held.low, 1, "what was got stays");
    // One that nothing needs any longer refuses nothing.
    drop(live);
    config.set("limits.low", "x").unwrap();
}

#[tokio::test]
async fn a_reload_is_atomic_and_a_bad_one_changes_nothing() {
    let source = Scripted::new(Ok(json!({"one": {"n": 1}, "two": {"n": 1}})));
    let config = Config::builder()
        .source(source.clone())
        .check::<Limit>("one")
        .check_fn(|all| match all.get("two.n").int() {
            Ok(3) => Err(Error::invalid_argument("two.n may not be 3")),
            _ => Ok(()),
        })
        .load()
        .await
        .unwrap();
    let (one, two) = (config.live::<Limit>("one").unwrap(), config.live::<Limit>("two").unwrap());
    let mut events = config.events();
    // A key that changes its type; the other one is fine, and is not taken over alone.
    for (bad, why) in [
        (json!({"one": {"n": 2}, "two": {"n": "many"}}), "two.n (scripted): invalid type"),
        (json!({"one": {"n": {}}, "two": {"n": 2}}), "one.n (scripted): invalid type"),
        (json!({"one": {"n": 2}, "two": {"n": 3}}), "two.n may not be 3"),
        (json!({"one": {"n": 2}, "two": {"n": "${NOT_SET_ANYWHERE}"}}), "NOT_SET_ANYWHERE"),
    ] {
        source.says(bad);
        let event = in_time(events.next()).await.unwrap();
        let Event::Refused { source, error } = event else { panic!("{event:?}") };
        assert_eq!(source, "scripted");
        assert!(error.detail().contains(why), "{error}");
        assert_eq!((one.get().n, two.get().n, config.get("one.n").int().unwrap()), (1, 1, 1));
        let status = config.status();
        assert!(!status.is_current());
        let SourceState::Refused { error, .. } = &status.sources[0].state else { panic!() };
        assert!(error.detail().contains(why), "{error}");
        assert_eq!(status.version, 1);
    }
    let error = config.set("two.n", "x").unwrap_err();
    assert!(error.detail().contains("two.n (the program)"), "{error}");
    assert_eq!(config.get("two.n").int().unwrap(), 1);
    let mut watch = config.watch("two");
    source.says(json!({"one": {"n": 4}, "two": {"n": 4}}));
    in_time(watch.next()).await.unwrap();
    assert_eq!((one.get().n, two.get().n), (4, 4));
    let event = in_time(events.next()).await.unwrap();
    assert!(matches!(event, Event::Changed { version: 2 }), "{event:?}");
    let event = in_time(events.next()).await.unwrap();
    assert!(matches!(event, Event::Recovered { .. }), "{event:?}");
    assert!(config.status().is_current());
}

#[derive(Debug, Deserialize)]
struct Limit {
    n: u32,
}

#[tokio::test]
async fn readers_never_see_half_a_change() {
    let source = Scripted::new(Ok(json!({"a": 0, "b": 0})));
    let config = Config::builder().source(source.clone()).load().await.unwrap();
    let reading = config.clone();
    let reader = tokio::task::spawn_blocking(move || {
        let mut seen = 0;
        while seen < 200 {
            let all = reading.get("");
            let (a, b) = (all.get("a").int().unwrap(), all.get("b").int().unwrap());
            assert_eq!(a, b);
            seen = a;
        }
    });
    let mut watch = config.watch("");
    for n in 1..=200 {
        source.says(json!({"a": n, "b": n}));
        in_time(watch.next()).await.unwrap();
    }
    in_time(reader).await.unwrap();
}

#[tokio::test]
async fn ten_thousand_keys_are_reloaded_without_holding_up_a_reader() {
    let tree = |n: usize| {
        let group = |g: usize| {
            let keys =
                (0..100).map(|k| (format!("key{k}"), json!(format!("value {} of {n}", g * k))));
            (format!("group{g}"), Json::Object(keys.collect()))
        };
        Json::Object((0..100).map(group).collect())
    };
    let source = Memory::new(tree(0)).unwrap();
    let config = Config::builder().source(source.clone()).load().await.unwrap();
    let mut watch = config.watch("group99.key99");
    let start = std::time::Instant::now();
    source.update(tree(1)).unwrap();
    in_time(watch.next()).await.unwrap();
    // 20 ms where it is optimized; this is not, and shares its machine.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(config.get("group3.key7").string().unwrap(), "value 21 of 1");
}

#[cfg(feature = "config-schema")]
#[tokio::test]
async fn values_are_as_their_schema_says() {
    let schema = json!({
        "type": "object",
        "properties": {
            "port": {"type": "integer", "minimum": 1},
            "password": {"type": "string", "minLength": 3},
            "db": {"type": "object", "required": ["url"]},
        },
    });
    let source = Scripted::new(Ok(json!({"db": {"url": "x"}})));
    let env = Env::all().with_variables([("PORT", "8080"), ("PASSWORD", "12345")]);
    let builder = || Config::builder().schema(&schema).secret("password");
    let config = builder().source(source.clone()).source(env).load().await.unwrap();
    assert_eq!(config.get("password").string().unwrap(), "12345");
    let mut events = config.events();
    source.says(json!({"db": {"user": "hunter2"}}));
    let event = in_time(events.next()).await.unwrap();
    let Event::Refused { error, .. } = event else { panic!("{event:?}") };
    assert!(error.detail().starts_with("db (scripted): \"url\" is a required property"), "{error}");
    assert!(!error.detail().contains("hunter2"), "{error}");
    let error = config.set("port", 0).unwrap_err();
    assert!(error.detail().starts_with("port (the program): "), "{error}");
    let error = config.set("password", "ab").unwrap_err();
    assert!(error.detail().starts_with("password (the program): "), "{error}");
    assert!(!error.detail().contains("\"ab\""), "{error}");
    let error = Config::builder().schema(&json!({"type": "nothing"})).load().await.unwrap_err();
    assert!(error.detail().contains("the schema of the configuration"), "{error}");
}
