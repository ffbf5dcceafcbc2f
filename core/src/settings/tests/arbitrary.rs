//! No document is more than a mistake.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::error::Code;
use crate::settings::{JobSettings, PublishSettings, SubscriberSettings};

/// Documents of known fields with any values.
fn documents() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "\\PC{0,12}|[0-9.]{1,20}(ms|s|m|h)|(memory|tcp)(://)?[a-z/?=&]{0,8}|none|-----BEGIN.{0,20}"
            .prop_map(Json::from),
    ];
    let keys = "start|sequence|time|delay|timeout|wait_for_ready|metadata|addresses|filters|strategy|key|tls|certificate|private_key|authority|file|network|client|limiter|server_name|policy|forward|only|except|credentials|patience|at_least|keepalive|label|version|descriptors|request|\\PC{0,8}";
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::hash_map(keys, inner, 0..6)
                .prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
}

fn harmless<T>(read: Result<T>) {
    if let Err(error) = read {
        let code = error.code();
        assert!(matches!(code, Code::InvalidArgument | Code::FailedPrecondition), "{error}");
    }
}

proptest! {
    #[test]
    fn arbitrary_documents_never_panic(document in documents()) {
        harmless(service(&document));
        harmless(client(&document));
        harmless(call(&document));
        harmless(endpoint(&document));
    }

    #[test]
    fn arbitrary_texts_never_panic(text in "\\PC{0,60}") {
        harmless(ServiceSettings::from_json(&text));
        harmless(ClientSettings::from_json(&text));
        harmless(CallSettings::from_json(&text));
        harmless(PublishSettings::from_json(&text));
        harmless(SubscriberSettings::from_json(&text));
        harmless(JobSettings::from_json(&text));
        harmless(EndpointSettings::from_json(&text));
    }
}
