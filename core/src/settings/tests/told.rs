//! An explanation knows what a program has set, whichever option of the table it is.

use serde_json::{Map, Value as Json, json};

use super::service;
use crate::settings::table::Form;
use crate::settings::{self, Setting, Source};

/// A value of this setting that is not its default.
fn sample(setting: &Setting) -> Json {
    match (setting.key(), setting.form()) {
        ("address" | "advertise", _) => json!("127.0.0.1:1234"),
        ("register_check", _) => json!("tcp://127.0.0.1:1234"),
        ("client.content_type", _) => json!("application/grpc+json"),
        ("broker" | "store" | "registry" | "network", _) => json!("memory://told"),
        ("environment", _) => json!(false),
        ("client.retries", _) => json!(7),
        (_, Form::Text(_) | Form::Ranged(_)) => json!("sample"),
        (_, Form::Number(_)) => json!(70_000),
        (_, Form::Time(_) | Form::TimeOrNone(_) | Form::Duration | Form::Seconds | Form::Limit) => {
            json!("77s")
        }
        (_, Form::Truth) => json!(true),
        (_, Form::Choice(words)) => json!(words.iter().find(|word| **word != setting.default())),
        (_, Form::List(_)) => json!(["https://a.example"]),
        (_, Form::Labels) => json!({"zone": "a"}),
        ("client.filters", _) => json!([{"version": "2"}]),
        (_, Form::Json(_)) => json!("none"),
        (_, Form::File | Form::FileOrSystem) => json!("system"),
    }
}

/// A document with this value alone.
fn document(key: &str, value: Json) -> Json {
    let parts = key.rsplit('.');
    parts.fold(value, |inner, part| Json::Object(Map::from_iter([(part.to_owned(), inner)])))
}

#[test]
fn an_explanation_knows_every_option_that_a_program_can_set() {
    for setting in settings::all() {
        let key = setting.key();
        // What names the document itself, and what needs certificates: those are one object, told by its first part.
        if key == "settings" || (key.contains("tls.") && key != "client.tls.authority") {
            continue;
        }
        let document = document(key, sample(setting));
        let builder = match service(&document) {
            // A machine without authorities of its own cannot use them.
            Err(error) if key == "client.tls.authority" => {
                assert_eq!(error.code(), crate::Code::FailedPrecondition, "{error}");
                continue;
            }
            built => built.unwrap_or_else(|error| panic!("{document}: {error}")),
        };
        let explanation = builder.environment(false).explain().unwrap();
        // Parts of a word such as `limiter` are told with it.
        let whole = key.rsplit_once('.').map_or(key, |(whole, _)| whole);
        let source = [key, whole].into_iter().filter_map(|key| explanation.source(key));
        assert!(
            source.into_iter().any(|source| *source == Source::Code),
            "{key} is set by the program, and the explanation does not know: give it a line in `told`"
        );
    }
}
