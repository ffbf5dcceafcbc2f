//! What fits a type, and what does not.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::{Codec, Json, Message};
use crate::error::{Code, Result};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Order {
    order_id: i64,
    #[serde(rename = "buyerName")]
    buyer: String,
    total_2024: Option<u64>,
    lines: Vec<Line>,
    by_place: HashMap<String, Line>,
    kind: Kind,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Line {
    part_no: u32,
    #[serde(default)]
    price: f64,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
enum Kind {
    #[default]
    Plain,
    Gift {
        wrapped_in: String,
    },
}

fn read<T>(json: &str) -> Result<T>
where
    T: Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    let bytes = Bytes::copy_from_slice(json.as_bytes());
    Json::decode(Codec::Json, bytes).map(|Json(value)| value)
}

#[test]
fn names_and_numbers_are_read_as_protobuf_writes_them() {
    let order = read::<Order>(
        r#"{"orderId":"9007199254740993","buyerName":"Ada","total2024":"18446744073709551615","unknown":{"a":[1]},
            "lines":[{"partNo":"7","price":1.5},{"part_no":8}],"byPlace":{"top_left":{"partNo":9},"topLeft":{"partNo":10}},
            "kind":{"Gift":{"wrappedIn":"paper"}}}"#,
    )
    .expect("an order");
    assert_eq!((order.order_id, order.buyer.as_str()), (9_007_199_254_740_993, "Ada"));
    assert_eq!(order.total_2024, Some(u64::MAX));
    let parts: Vec<u32> = order.lines.iter().map(|line| line.part_no).collect();
    assert_eq!((parts, order.lines[0].price), (vec![7, 8], 1.5));
    // The names of a map are values.
    assert_eq!((order.by_place["top_left"].part_no, order.by_place["topLeft"].part_no), (9, 10));
    assert_eq!(order.kind, Kind::Gift { wrapped_in: "paper".into() });
}

#[test]
fn what_a_type_writes_itself_is_read_as_ever() {
    let order = Order {
        order_id: -7,
        total_2024: Some(3),
        lines: vec![Line { part_no: 1, price: 0.5 }],
        kind: Kind::Gift { wrapped_in: "x".into() },
        ..Order::default()
    };
    let text = serde_json::to_string(&order).expect("writes");
    assert_eq!(read::<Order>(&text), Ok(order));
    assert_eq!(read::<HashMap<u64, i8>>(r#"{"7":-1}"#), Ok(HashMap::from([(7, -1)])));
    assert_eq!(read::<(u8, String)>(r#"[1,"2"]"#), Ok((1, "2".into())));
    assert_eq!(read::<serde_json::Value>(r#"{"aB":"7"}"#), Ok(serde_json::json!({"aB": "7"})));
}

#[test]
fn what_does_not_fit_says_where_and_what_was_expected() {
    for (json, said) in [
        (r#"{"orderId":"x"}"#, r#"field `orderId`: invalid type: string "x", expected i64"#),
        (r#"{"orderId":"1.0"}"#, "field `orderId`"),
        (r#"{"orderId":""}"#, "field `orderId`"),
        (r#"{"orderId":"+1"}"#, "field `orderId`"),
        (r#"{"orderId":"99999999999999999999"}"#, "field `orderId`"),
        (r#"{"orderId":1.5}"#, "floating point `1.5`, expected i64"),
        (r#"{"orderId":true}"#, "boolean `true`, expected i64"),
        (r#"{"lines":[{"partNo":"4294967296"}]}"#, "field `lines[0].partNo`"),
        (r#"{"lines":[{"part_No":1}]}"#, "missing field `part_no`"),
        (r#"{"orderId":1,"order_id":2}"#, "duplicate field `order_id`"),
        (r#"{"buyerName":7}"#, "expected a string"),
    ] {
        let error = read::<Order>(json).expect_err(json);
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.detail().contains(said), "{json}: {error}");
    }
}

#[test]
fn a_type_may_refuse_what_it_does_not_know() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        a_b: u8,
    }
    assert_eq!(read::<Strict>(r#"{"aB":1}"#), Ok(Strict { a_b: 1 }));
    let error = read::<Strict>(r#"{"aB":1,"aC":2}"#).expect_err("unknown");
    assert!(error.detail().contains("unknown field `aC`"), "{error}");
}
