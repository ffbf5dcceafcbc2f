use serde_json::json;

use super::*;

async fn of(source: impl Source) -> Config {
    Config::builder().source(source).load().await.unwrap()
}

#[tokio::test]
async fn variables_become_a_tree_with_a_prefix_or_without() {
    let variables = [
        ("SHOP_DB_URL", "postgres://db"),
        ("SHOP_DB_PORT", "5432"),
        ("SHOP_DB__MAX_OPEN", "7"),
        ("SHOP_TLS", "true"),
        ("SHOP_ZIP", "007"),
        ("SHOP_A_B", "2"),
        ("SHOP_A", "1"),
        ("SHOPPING", "x"),
        ("OTHER_X", "1"),
    ];
    let stripped = of(Env::prefix("SHOP").with_variables(variables)).await;
    let expected = json!({
        "db": {"url": "postgres://db", "port": 5432, "max_open": 7}, "tls": true, "zip": "007", "a": {"b": 2},
    });
    assert_eq!(json(&stripped), expected);
    assert_eq!(stripped.get("zip").int().unwrap(), 7, "a number for those that want one");
    assert_eq!(stripped.get("db.port").string().unwrap(), "5432");
    let kept = of(Env::prefix("SHOP_").keep_prefix().with_variables(variables)).await;
    assert_eq!(kept.get("shop.db.port").int().unwrap(), 5432);
    let both = of(Env::prefix("SHOP").and_prefix("OTHER").with_variables(variables)).await;
    assert_eq!(both.get("x").int().unwrap(), 1);
    let all = of(Env::all().with_variables(variables)).await;
    assert_eq!(all.get("shopping").string().unwrap(), "x");
    assert!(connect("env://SHOP").unwrap().name() == "env://SHOP");
}

#[tokio::test]
async fn the_environment_of_the_process_is_read() {
    let config = of(Env::all()).await;
    let path = std::env::var("PATH").unwrap();
    assert_eq!(config.get("path").string().unwrap(), path);
    assert_eq!(config.why("path").origin().unwrap().to_string(), "the variable PATH");
}

#[tokio::test]
async fn flags_that_were_given_count_and_others_when_they_are_included() {
    let flags = Flags::new()
        .set("--db-host", "a.example")
        .set("verbose", "true")
        .set("db.max-open", "7")
        .unset("db_port", "5432");
    let given = of(flags.clone()).await;
    let expected = json!({"db": {"host": "a.example", "max-open": 7}, "verbose": true});
    assert_eq!(json(&given), expected);
    assert_eq!(given.why("db.host").origin().unwrap().to_string(), "the flag --db-host");
    let all = of(flags.include_unset()).await;
    assert_eq!(all.get("db.port").int().unwrap(), 5432);
    let origin = all.why("db.port").origin().unwrap().to_string();
    assert_eq!(origin, "the default of the flag --db_port");
    let args = ["run", "--db-host=b", "-x", "--fast", "--", "--not=this"];
    assert_eq!(json(&of(Flags::from_args(args)).await), json!({"db": {"host": "b"}, "fast": true}));
}

#[tokio::test]
async fn a_source_of_ones_own_is_opened_by_its_url() {
    provide("config-test", |rest| Ok(Arc::new(Memory::new(json!({"rest": rest}))?))).unwrap();
    let config = Config::builder().source("config-test://a/b").load().await.unwrap();
    assert_eq!(config.get("rest").string().unwrap(), "a/b");
    assert_eq!(
        provide("file", |_| Err(Error::internal("not asked"))).unwrap_err().code(),
        Code::AlreadyExists
    );
}

#[test]
fn a_url_that_is_wrong_is_told_without_its_secrets() {
    for (url, why) in [
        ("file://", "it has no path"),
        ("http://", "http://"),
        ("https://me:hunter2@a.example/x", "add it as a header"),
        ("store://memory://x", "it names no record"),
        ("store://memory://x?key=a&table=a+b", "cannot be the name of a table"),
    ] {
        let error = connect(url).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{url}");
        assert!(error.detail().contains(why), "{url}: {error}");
        assert!(!error.detail().contains("hunter2"), "{error}");
    }
}
