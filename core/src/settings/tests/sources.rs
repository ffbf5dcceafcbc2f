//! Who decides a setting, and the table that says where it may be set.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::Service;
use crate::error::{Code, Error};
use crate::service::ServiceBuilder;
use crate::settings::gathered::Gathered;
use crate::settings::sources::Scope;
use crate::settings::{self, ClientSettings, Explanation, Operator, ServiceSettings, Source};

/// An operator with these flags.
fn operator(flags: &[&str]) -> Result<Operator, Error> {
    let mut operator = Operator::default();
    operator.add_flags(flags.iter().map(|flag| (*flag).to_owned()), "greeter", "1.2")?;
    Ok(operator)
}

fn gather(
    operator: &Operator,
    scope: Scope,
    variables: &[(&str, &str)],
) -> Result<Gathered, Error> {
    let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
    operator.gather(scope, &|name| find(name).map(|(_, value)| (*value).to_owned()))
}

/// What set each of these, and to what.
fn explained(gathered: &Gathered, keys: &[&str]) -> Vec<String> {
    let explanation = Explanation::new(&[], gathered);
    let of = |key: &&str| explanation.iter().find(|one| one.key == *key).unwrap();
    keys.iter().map(of).map(|one| format!("{} {}", one.value, one.source)).collect()
}

fn refused(flags: &[&str]) -> String {
    let error = operator(flags).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    error.detail().to_owned()
}

#[test]
fn a_flag_comes_before_a_variable_before_a_document_before_code() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.json");
    std::fs::write(
        &file,
        r#"{"grace": "3s", "id": "d", "version": "d", "client": {"retries": 3}}"#,
    )
    .unwrap();
    let name = file.display().to_string();
    let mut operator = operator(&["--server-version=f"]).unwrap();
    operator.set_document(file);
    let variables = [("MICRO_SERVER_ID", "v"), ("MICRO_SERVER_VERSION", "v")];
    let gathered = gather(&operator, Scope::Service, &variables).unwrap();
    assert_eq!(
        explained(&gathered, &["version", "id", "grace", "client.retries", "propagation"]),
        [
            "f --server-version".to_owned(),
            "v MICRO_SERVER_ID".to_owned(),
            format!("3s {name}"),
            format!("3 {name}"),
            "100ms default".to_owned(),
        ]
    );
    let code = || Service::builder("greeter").version("c").id("c").grace(Duration::from_secs(9));
    let code = code().propagation(Duration::from_secs(9)).client(|client| client.retries(9));
    let built = gathered.service().unwrap().overrule(code).unwrap();
    let wanted = Service::builder("greeter")
        .version("f")
        .id("v")
        .grace(Duration::from_secs(3))
        .propagation(Duration::from_secs(9))
        .client(|client| client.retries(3));
    assert_eq!(without_operator(&built), without_operator(&wanted));
}

fn without_operator(builder: &ServiceBuilder) -> String {
    let text = format!("{builder:?}");
    let (before, after) = text.split_once("operator:").unwrap();
    format!("{before}{}", after.split_once("ttl:").unwrap().1)
}

#[test]
fn the_document_that_is_read_is_the_one_of_the_flag_or_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, format!(r#"{{"version": "{name}"}}"#)).unwrap();
        file
    };
    let (code, variable, flag) = (write("code"), write("variable"), write("flag"));
    let version = |operator: &Operator, variables: &[(&str, &str)]| {
        let gathered = gather(operator, Scope::Service, variables).unwrap();
        explained(&gathered, &["version"])[0].split(' ').next().unwrap().to_owned()
    };
    let variables = [("MICRO_SETTINGS", variable.to_str().unwrap())];
    let mut operator = Operator::default();
    operator.set_document(code);
    assert_eq!(version(&operator, &[]), "code");
    assert_eq!(version(&operator, &variables), "variable");
    let flags = ["--settings".to_owned(), flag.display().to_string()];
    operator.add_flags(flags, "greeter", "1").unwrap();
    assert_eq!(version(&operator, &variables), "flag");
    operator.set_environment(false);
    assert_eq!(version(&operator, &[("MICRO_SERVER_VERSION", "v")]), "flag");
}

#[test]
fn a_document_that_cannot_be_used_says_which_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.json");
    let mut operator = Operator::default();
    operator.set_document(file.clone());
    let error = |operator: &Operator| {
        let error = gather(operator, Scope::Service, &[]).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        error.detail().replace(folder.path().to_str().unwrap(), "")
    };
    assert!(error(&operator).starts_with("/service.json: the settings cannot be read: "));
    for (text, says) in [
        ("{", "/service.json: service settings: no JSON: "),
        (r#"{"adress": ":1"}"#, "unknown field \"adress\": did you mean `address`?"),
        (r#"{"environment": false}"#, "/service.json: environment: only the program says that"),
        (r#"{"grace": "soon"}"#, "/service.json: service settings: grace: \"soon\" is no duration"),
    ] {
        std::fs::write(&file, text).unwrap();
        assert!(error(&operator).contains(says), "{}", error(&operator));
    }
}

#[test]
fn flags_are_written_as_people_write_them() {
    for flags in [
        &["--address", ":8080", "--client-timeout", "2s"][..],
        &["--address=:8080", "--client-timeout=2s"],
        &["-address=:8080", "--client_timeout=2s"],
        // go-micro's names.
        &["--server_address", ":8080", "--client_request_timeout", "2s", "--client", "grpc"],
        &["--address=:1", "--address=:8080", "--client-timeout=2s", "--", "--whatever", "else"],
    ] {
        let gathered = gather(&operator(flags).unwrap(), Scope::Service, &[]).unwrap();
        let values = explained(&gathered, &["address", "client.timeout"]);
        let values: Vec<_> = values.iter().map(|text| text.split(' ').next().unwrap()).collect();
        assert_eq!(values, [":8080", "2s"], "{flags:?}");
    }
}

#[test]
fn every_form_of_value_is_read() {
    let flags = [
        "--server_metadata=zone=a",
        "--server_metadata=note=x=1,y=2",
        "--register_ttl=90",
        "--register_interval=20s",
        "--max-connections=7",
        "--keepalive=none",
        "--allow-origins=https://a.example,https://b.example",
        "--allow-origins=https://c.example",
        "--limiter-patience=20ms",
        "--client-wait-for-ready",
        "--client-filters=[{\"version\": \"2\"}]",
    ];
    let gathered = gather(&operator(&flags).unwrap(), Scope::Service, &[]).unwrap();
    let read = gathered.service().unwrap();
    let wanted = ServiceSettings::from_json(
        &json!({
            "metadata": {"zone": "a", "note": "x=1,y=2"},
            "register_ttl": "90s",
            "register_interval": "20s",
            "max_connections": 7,
            "keepalive": "none",
            "allow_origins": ["https://a.example", "https://b.example", "https://c.example"],
            "limiter": {"patience": "20ms"},
            "client": {
                "wait_for_ready": true,
                "filters": [{"version": "2"}],
            },
        })
        .to_string(),
    )
    .unwrap();
    assert_eq!(format!("{read:?}"), format!("{wanted:?}"));
    let tls = operator(&["--client-tls-authority=system"]).unwrap();
    let tls = format!("{:?}", gather(&tls, Scope::Service, &[]).unwrap().service().unwrap());
    assert!(tls.contains("tls: Some(ClientTlsSettings"), "{tls}");
    let variables = [("MICRO_SERVER_METADATA", "zone=b, rack=c"), ("MICRO_REGISTER_TTL", "60")];
    let gathered = gather(&Operator::default(), Scope::Service, &variables).unwrap();
    assert_eq!(
        explained(&gathered, &["metadata.zone", "metadata.rack", "register_ttl"]),
        ["b MICRO_SERVER_METADATA", "c MICRO_SERVER_METADATA", "60s MICRO_REGISTER_TTL"]
    );
}

#[test]
fn a_wrong_flag_says_what_was_meant() {
    for (flags, says) in [
        (&["--adress=:1"][..], "unknown flag \"--adress\": did you mean --address?"),
        (
            &["--server_adress=:1"],
            "unknown flag \"--server_adress\": did you mean --server_address?",
        ),
        (&["--colour=red"], "unknown flag \"--colour\": --help shows those there are"),
        (&["serve"], "\"serve\" is no flag: write --name=value"),
        (&["--address"], "--address needs a value: write --address=HOST:PORT"),
        (&["--grace", "--address=:1"], "--grace needs a value: write --grace=TIME|none"),
        (&["--grace=5"], "--grace: \"5\" is no duration: write for example"),
        (&["--limiter=of"], "--limiter: \"of\" is unknown: did you mean \"off\"?"),
        (&["--max-connections=0"], "--max-connections: 0 is out of range: give 1 to 1 000 000"),
        (&["--max-connections=many"], "--max-connections: a text is not a whole number"),
        (&["--client-wait-for-ready=yes"], "--client-wait-for-ready: a text is not true or false"),
        (&["--server-metadata=zone"], "unknown flag \"--server-metadata\""),
    ] {
        if says.contains("unknown flag \"--server-metadata\"") {
            assert_eq!(refused(flags), "--server-metadata: write name=value");
            continue;
        }
        let refused = refused(flags);
        assert!(refused.starts_with(says), "{refused}");
    }
}

#[test]
fn what_go_micro_has_and_this_does_not_is_refused_with_the_reason() {
    for (flags, says) in [
        (
            &["--broker_address", "a:1"][..],
            "--broker_address: the address of a broker is part of its URL",
        ),
        (&["--store_address=a:1"], "--store_address: the address of a store is part of its URL"),
        (&["--server=mucp"], "--server: clients and servers speak gRPC"),
        (
            &["--registry_address=a:1"],
            "--registry_address: the address of a registry is part of its URL",
        ),
        (&["--selector=dns"], "--selector: nodes are chosen by a strategy: set --client-strategy"),
        (&["--config=service"], "--config: there is no config service here: set --settings FILE"),
        (&["--auth_provider_scope=x"], "--auth_provider_scope: there is no auth here"),
    ] {
        let refused = refused(flags);
        assert!(refused.starts_with(says), "{refused}");
    }
    assert!(operator(&["--server=grpc", "--client", "grpc"]).is_ok());
}

#[test]
fn help_shows_every_flag_and_version_the_version() {
    let text = |flag| {
        let error = operator(&[flag]).unwrap_err();
        assert_eq!(error.code(), Code::Cancelled);
        error.detail().to_owned()
    };
    let help = text("--help");
    for setting in settings::all() {
        if let (Some(flag), Some(variable)) = (setting.flag(), setting.variable()) {
            assert!(help.contains(&format!("  {flag}")), "{flag}");
            assert!(help.contains(&format!("[{variable}, ")), "{variable}");
            assert!(help.contains(setting.help()) && !setting.help().is_empty(), "{flag}");
        }
    }
    assert_eq!(text("--version"), "greeter 1.2");
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, says) in [
        ("MICRO_SERVER_GRACE", "soon", "MICRO_SERVER_GRACE: \"soon\" is no duration"),
        ("MICRO_CLIENT_RETRIES", "many", "MICRO_CLIENT_RETRIES: a text is not a whole number"),
        ("MICRO_CLIENT_REQUEST_TIMEOUT", "5", "MICRO_CLIENT_REQUEST_TIMEOUT: \"5\" is no duration"),
        ("MICRO_SERVER_METADATA", "zone", "MICRO_SERVER_METADATA: write name=value"),
    ] {
        let gathered = gather(&Operator::default(), Scope::Service, &[(name, value)]);
        let error = gathered.and_then(|gathered| gathered.service()).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.detail().starts_with(says), "{error}");
    }
}

#[test]
fn a_client_of_its_own_takes_what_concerns_clients() {
    let variables =
        [("MICRO_CLIENT_RETRIES", "7"), ("MICRO_SERVER_ID", "x"), ("MICRO_REGISTRY", "memory://a")];
    let gathered = gather(&Operator::default(), Scope::Client, &variables).unwrap();
    let wanted = ClientSettings::from_json(r#"{"retries": 7, "registry": "memory://a"}"#).unwrap();
    let (built, wanted) = (gathered.client().unwrap().builder(), wanted.builder());
    assert_eq!(built.unwrap().told(), wanted.unwrap().told());
}

#[test]
fn of_a_word_and_its_parts_the_source_that_comes_first_is_taken() {
    let limiter = |flags: &[&str], variables: &[(&str, &str)]| {
        let gathered = gather(&operator(flags).unwrap(), Scope::Service, variables).unwrap();
        let given = gathered.given().iter();
        given.map(|given| given.setting.key()).collect::<Vec<_>>()
    };
    let patience = [("MICRO_SERVER_LIMITER_PATIENCE", "20ms")];
    assert_eq!(limiter(&[], &patience), ["limiter.patience"]);
    assert_eq!(limiter(&["--limiter=off"], &patience), ["limiter"]);
    let off = [("MICRO_SERVER_LIMITER", "off")];
    assert_eq!(limiter(&["--limiter-at-least=3"], &off), ["limiter.at_least"]);
}

#[test]
fn an_explanation_says_what_code_has_set_and_hides_secrets() {
    let builder = Service::builder("greeter")
        .environment(false)
        .grace(Duration::from_secs(30))
        .metadata("zone", "a")
        .client(|client| client.metadata("authorization", "Bearer secret"))
        .args(["--server_metadata=rack=b", "--client-metadata=authorization=Bearer secret"])
        .unwrap();
    let explanation = builder.explain().unwrap();
    let source = |key| explanation.source(key).unwrap();
    assert_eq!(source("grace"), &Source::Code);
    assert_eq!(source("name"), &Source::Code);
    assert_eq!(source("metadata.rack"), &Source::Flag("--server_metadata".into()));
    assert_eq!(source("address"), &Source::Default);
    let text = explanation.to_string();
    assert!(text.contains("grace = 30s (code)\n"), "{text}");
    assert!(text.contains("metadata = zone=a (code)\n"), "{text}");
    assert!(!text.contains("address") && !text.contains("secret"), "{text}");
}

#[test]
fn the_table_has_every_key_of_a_document_and_no_other() {
    // What a document knows is what it says when it is asked for what it does not.
    let known = |document: &serde_json::Value| {
        let error = ServiceSettings::from_json(&document.to_string()).unwrap_err();
        let list = error.detail().split_once("(known: ").expect("it lists them").1;
        let keys = list.trim_end_matches(')').split(", ").map(str::to_owned);
        keys.collect::<BTreeSet<_>>()
    };
    let ask = json!({"zzzzzzzzzzzz": 1});
    let mut keys = BTreeSet::new();
    for (prefix, of) in [
        ("", ask.clone()),
        ("client.", json!({"client": ask.clone()})),
        ("limiter.", json!({"limiter": ask.clone()})),
        (
            "tls.",
            json!({"tls": {"certificate": {"file": "a"}, "private_key": {"file": "a"}, "zzzzzzzzzzzz": 1}}),
        ),
        ("client.tls.", json!({"client": {"tls": {"authority": "system", "zzzzzzzzzzzz": 1}}})),
    ] {
        keys.extend(known(&of).into_iter().map(|key| format!("{prefix}{key}")));
    }
    // Objects whose parts are settings; what the client of a service shares with it.
    for whole in [
        "client",
        "tls",
        "client.tls",
        "client.registry",
        "client.broker",
        "client.store",
        "client.network",
        "client.environment",
    ] {
        assert!(keys.remove(whole), "{whole}");
    }
    let table: BTreeSet<String> = settings::all().map(|setting| setting.key().to_owned()).collect();
    assert_eq!(table, keys);
}

#[test]
fn no_flag_and_no_variable_is_there_twice() {
    let mut seen = BTreeSet::new();
    for setting in settings::all() {
        let ours = [setting.flag(), setting.variable()];
        let theirs = [setting.go_micro_flag(), setting.go_micro_variable()];
        let mine: BTreeSet<_> = ours.into_iter().chain(theirs).flatten().collect();
        let plain = mine.into_iter().map(|name| name.replace('_', "-")).collect::<BTreeSet<_>>();
        for name in plain {
            assert!(seen.insert(name.clone()), "{name}");
        }
    }
}
