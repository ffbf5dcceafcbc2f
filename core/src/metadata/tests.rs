use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::Metadata;
use super::writing::{MOST_NAMES, RESERVED};
use crate::Code;
use crate::error::Result;

#[test]
fn lookup_ignores_case_and_empty_value_deletes() -> Result<()> {
    let mut metadata = Metadata::new();
    metadata.insert("Micro-Trace-Id", "1")?;
    assert_eq!(metadata.get("micro-TRACE-id"), Some("1"));
    metadata.insert("micro-trace-id", "")?;
    assert!(metadata.is_empty());
    Ok(())
}

#[test]
fn whole_sets_add_up_without_what_a_caller_may_not_set() -> Result<()> {
    let mut metadata = Metadata::new();
    metadata.append("tenant", "blue")?;
    let mut headers = HeaderMap::new();
    for (name, value) in [("tenant", "red"), ("tenant", "green"), ("te", "trailers")] {
        headers.append(name, HeaderValue::from_static(value));
    }
    metadata.append_all(headers.into())?;
    assert_eq!(metadata.get_all("tenant").collect::<Vec<_>>(), ["blue", "red", "green"]);
    assert_eq!(metadata.len(), 3);
    Ok(())
}

#[test]
fn a_merge_keeps_or_replaces_what_is_there() -> Result<()> {
    let set = |pairs: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Metadata::from(headers)
    };
    let before = set(&[("tenant", "blue"), ("tenant", "red"), ("user", "ada")]);
    let other = set(&[("tenant", "green"), ("zone", "a"), ("zone", "b"), ("te", "trailers")]);
    let mut kept = before.clone();
    kept.insert_missing(other.clone())?;
    let zones = [("zone", "a"), ("zone", "b")];
    assert_eq!(
        kept,
        set(&[&[("tenant", "blue"), ("tenant", "red"), ("user", "ada")][..], &zones].concat())
    );
    let mut replaced = before.clone();
    replaced.insert_all(other)?;
    assert_eq!(replaced, set(&[&[("tenant", "green"), ("user", "ada")][..], &zones].concat()));
    replaced.insert_all(set(&[("tenant", ""), ("zone", "")]))?;
    assert_eq!(replaced, set(&[("user", "ada")]));
    assert_eq!(before.get("tenant"), Some("blue"), "what was copied stays");
    Ok(())
}

#[test]
fn more_names_than_fit_are_refused() {
    let mut metadata = Metadata::new();
    let mut put = |n: usize| metadata.append(&format!("name-{n}"), "1");
    let refused = (0..40_000).find_map(|n| put(n).err().map(|error| (n, error)));
    let (fit, error) = refused.expect("there is a limit");
    assert_eq!((fit, error.code()), (MOST_NAMES, Code::InvalidArgument));
    assert!(error.detail().contains("8192"), "{error}");
    assert_eq!(metadata.insert("another", "1").unwrap_err().code(), Code::InvalidArgument);
    let mut other = Metadata::new();
    other.append("another", "1").expect("room");
    assert_eq!(other.append_all(metadata.clone()).unwrap_err().code(), Code::InvalidArgument);
    // Off the wire, there may be as many as a header map can hold.
    let mut full = HeaderMap::new();
    while full
        .try_append(
            format!("full-{}", full.len()).parse::<HeaderName>().expect("a name"),
            HeaderValue::from_static("1"),
        )
        .is_ok()
    {}
    let mut headers = metadata.into_headers();
    crate::forward::forward(&full, &mut headers, None, true);
    assert_eq!(headers.keys_len(), MOST_NAMES, "what goes on finds no more room either");
}

#[test]
fn bytes_round_trip_under_bin_names_only() -> Result<()> {
    let mut metadata = Metadata::new();
    metadata.insert_bin("trace-bin", &[0, 255, 7])?;
    assert_eq!(metadata.get_bin("Trace-Bin"), Some(vec![0, 255, 7]));
    assert!(metadata.insert_bin("trace", &[0]).is_err());
    metadata.append_bin("trace-bin", &[1])?;
    assert_eq!(metadata.get_all("trace-bin").count(), 2);
    assert!(metadata.append_bin("trace", &[0]).is_err());
    Ok(())
}

#[test]
fn bytes_are_read_as_any_stack_writes_them() {
    for (value, wanted) in [
        ("AQ==,Ag", vec![vec![1], vec![2]]),
        ("AQ, Ag ,,", vec![vec![1], vec![2]]),
        ("AR", vec![vec![1]]),
        ("-_8", vec![vec![0xfb, 0xff]]),
        ("+/8=", vec![vec![0xfb, 0xff]]),
        ("", vec![vec![]]),
        ("AQ,!!!", vec![vec![1]]),
        ("raw text", vec![]),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("x-bin", HeaderValue::from_static(value));
        let metadata = Metadata::from(headers);
        assert_eq!(metadata.get_all_bin("X-Bin").collect::<Vec<_>>(), wanted, "{value}");
        assert_eq!(metadata.get_bin("x-bin"), wanted.first().cloned(), "{value}");
        let values: Vec<_> = metadata.values().map(|(_, value)| value.into_owned()).collect();
        assert_eq!(values, wanted, "{value}");
    }
}

#[test]
fn names_that_http2_servers_reset_are_refused() {
    let mut metadata = Metadata::new();
    for name in ["Content-Length", "connection", "te", "grpc-timeout", "Host", "Expect"] {
        assert!(metadata.insert(name, "1").is_err(), "{name}");
    }
}

#[test]
fn secrets_are_not_written_into_logs() -> Result<()> {
    let mut metadata = Metadata::new();
    for name in ["authorization", "cookie", "x-api-key", "proxy-authorization"] {
        metadata.insert(name, "hunter2")?;
    }
    metadata.insert("tenant", "blue")?;
    let shown = format!("{metadata:?}");
    assert!(!shown.contains("hunter2") && shown.contains("blue"), "{shown}");
    Ok(())
}

#[test]
fn the_table_is_sorted_for_binary_search() {
    assert!(RESERVED.is_sorted());
}
