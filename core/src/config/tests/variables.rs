use serde_json::json;

use super::*;

async fn with(values: Json, variables: &[(&str, &str)]) -> Result<Config> {
    let source = Memory::new(values).unwrap();
    let variables = variables.iter().map(|(name, value)| (*name, *value));
    Config::builder().source(source).variables(variables).load().await
}

#[tokio::test]
async fn variables_stand_in_values_without_breaking_them() {
    let config = with(
        json!({
            "url": "postgres://${DB_USER}@${DB_HOST:-localhost}:${DB_PORT:-5432}/shop", "port": "${PORT}", "on": "${ON}",
            "password": "${PASSWORD}", "literal": "$${PORT} costs $5", "list": ["${PORT}"], "empty": "a${NONE:-}b",
            "else": "${NONE:-${PORT}}", "default": "${EMPTY:-x}",
        }),
        &[
            ("DB_USER", "me"),
            ("PORT", "8080"),
            ("ON", "true"),
            ("PASSWORD", "\", \"admin\": true, \"x\": \"\n{}[]: #"),
            ("EMPTY", ""),
        ],
    )
    .await
    .unwrap();
    let text = |path: &str| config.get(path).string().unwrap();
    assert_eq!(text("url"), "postgres://me@localhost:5432/shop");
    assert_eq!(config.get("port").int().unwrap(), 8080);
    assert_eq!(text("port"), "8080");
    assert!(config.get("on").bool().unwrap());
    assert_eq!(text("password"), "\", \"admin\": true, \"x\": \"\n{}[]: #");
    assert!(!config.get("admin").is_set());
    assert_eq!(text("literal"), "${PORT} costs $5");
    assert_eq!(config.get("list.0").int().unwrap(), 8080);
    assert_eq!(
        (text("empty"), text("else"), text("default")),
        ("ab".into(), "8080".into(), "x".into())
    );
}

#[tokio::test]
async fn unknown_variables_are_told_all_at_once_with_what_to_do() {
    let values = json!({"a": "${DB_HOTS}", "b": {"c": ["${NONE}"]}, "d": "${", "e": "${a b}"});
    let error = with(values, &[("DB_HOST", "x")]).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let expected = "a (memory): the environment has no variable DB_HOTS (there is DB_HOST): set it, or write ${DB_HOTS:-default}\n\
                    b.c.0 (memory): the environment has no variable NONE: set it, or write ${NONE:-default}\n\
                    d (memory): `${` has no `}`: close it, or write `$${` for a `${` that stays\n\
                    e (memory): `${a b}` names no variable: write ${NAME} or ${NAME:-default}, or `$${` for a `${` that stays";
    assert_eq!(error.detail(), expected);
}

#[tokio::test]
async fn variables_may_name_others_and_a_loop_of_them_is_told() {
    let config = with(json!({"a": "${A}"}), &[("A", "1${B}"), ("B", "2")]).await.unwrap();
    assert_eq!(config.get("a").string().unwrap(), "12");
    let error = with(json!({"a": "${A}"}), &[("A", "${B}"), ("B", "${A}")]).await.unwrap_err();
    assert_eq!(error.detail(), "a (memory): ${A} → ${B} → ${A} is a loop: set A to a value");
    // As many as a billion laughs.
    let names: Vec<(String, String)> = (0..12)
        .map(|n| (format!("V{n}"), format!("${{V{}}}", n + 1).repeat(10)))
        .chain([("V12".to_owned(), "lol".repeat(100))])
        .collect();
    let names: Vec<(&str, &str)> = names.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let error = with(json!({"a": "${V0}"}), &names).await.unwrap_err();
    assert!(error.detail().contains("longer than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn a_loop_that_comes_with_a_change_leaves_the_last_good_values() {
    let source = Scripted::new(Ok(json!({"a": "fine"})));
    let builder = Config::builder().source(source.clone()).variables([("A", "${A}")]);
    let config = builder.load().await.unwrap();
    let mut events = config.events();
    source.says(json!({"a": "${A}"}));
    let event = in_time(events.next()).await.unwrap();
    let Event::Refused { error, .. } = event else { panic!("{event:?}") };
    assert!(error.detail().contains("is a loop: set A to a value"), "{error}");
    assert_eq!(config.get("a").string().unwrap(), "fine");
}

#[tokio::test]
async fn values_are_left_as_they_are_where_the_program_says_so() {
    let source = Memory::new(json!({"a": "${A}"})).unwrap();
    let config = Config::builder().source(source).without_variables().load().await.unwrap();
    assert_eq!(config.get("a").string().unwrap(), "${A}");
}

#[tokio::test]
async fn variables_are_those_of_the_process_unless_told_otherwise() {
    let source = Memory::new(json!({"path": "${PATH}"})).unwrap();
    let config = Config::builder().source(source).load().await.unwrap();
    assert_eq!(config.get("path").string().unwrap(), std::env::var("PATH").unwrap());
}
