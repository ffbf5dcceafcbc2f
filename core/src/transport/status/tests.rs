//! What is written and what is read of a status.

use super::*;

/// Captured from go-micro v2: `errors.NotFound("my.id", "nope w")`.
const DETAILS: &str = "CAUSQHsiaWQiOiJteS5pZCIsImNvZGUiOjQwNCwiZGV0YWlsIjoibm9wZSB3Iiwic3RhdHVzIjoiTm90IEZvdW5kIn0aQQogdHlwZS5nb29nbGVhcGlzLmNvbS9lcnJvcnMuRXJyb3ISHQoFbXkuaWQQlAMaBm5vcGUgdyIJTm90IEZvdW5k";
const MESSAGE: &str = r#"{"id":"my.id","code":404,"detail":"nope w","status":"Not Found"}"#;

fn trailers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("value"))
        })
        .collect()
}

#[test]
fn a_micro_error_is_written_byte_for_byte_as_go_does() {
    let mut headers = HeaderMap::new();
    let error = Error::from_http("my.id", "nope w", 404);
    write_status(&mut headers, Some(&error), true);
    assert_eq!(
        headers,
        trailers(&[
            ("grpc-status", "5"),
            ("grpc-message", MESSAGE),
            ("grpc-status-details-bin", DETAILS),
        ])
    );
}

#[test]
fn the_three_forms_of_a_go_error_are_read() {
    for headers in [
        trailers(&[("grpc-status", "5"), ("grpc-status-details-bin", DETAILS)]),
        trailers(&[("grpc-status", "5"), ("grpc-message", MESSAGE)]),
    ] {
        let error = read_status(&headers).expect("an error");
        assert_eq!((error.code(), error.id(), error.http_code()), (Code::NotFound, "my.id", 404));
        assert_eq!((error.detail(), error.status()), ("nope w", "Not Found"));
    }
    let plain = trailers(&[("grpc-status", "14"), ("grpc-message", "no%20such 100%25 thing")]);
    let error = read_status(&plain).expect("an error");
    assert_eq!((error.code(), error.detail()), (Code::Unavailable, "no such 100% thing"));
    assert!(error.is_remote());
}

#[test]
fn numbers_outside_gos_table_keep_their_own_code() {
    let mut headers = HeaderMap::new();
    write_status(&mut headers, Some(&Error::resource_exhausted("full").with_id("a")), true);
    let error = read_status(&headers).expect("an error");
    assert_eq!((error.code(), error.http_code()), (Code::ResourceExhausted, 429));
}

#[test]
fn plain_grpc_callers_get_plain_text_of_any_characters() {
    let mut headers = HeaderMap::new();
    let text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n100%";
    write_status(&mut headers, Some(&Error::new(Code::Unknown, text)), false);
    headers.remove(GRPC_DETAILS);
    let error = read_status(&headers).expect("an error");
    assert_eq!((error.code(), error.detail()), (Code::Unknown, text));
}

#[test]
fn success_is_none_and_silence_is_unknown() {
    let mut headers = HeaderMap::new();
    assert_eq!(read_status(&headers).map(|e| e.code()), Some(Code::Unknown));
    write_status(&mut headers, None, true);
    assert!(read_status(&headers).is_none());
    assert_eq!(
        read_status(&trailers(&[("grpc-status", "99")])).map(|e| e.code()),
        Some(Code::Unknown)
    );
}

#[test]
fn a_detail_of_foreign_type_or_broken_base64_falls_back_to_the_text() {
    let foreign = RpcStatus {
        code: 3,
        message: "bad".into(),
        details: vec![Any {
            type_url: "type.googleapis.com/google.rpc.BadRequest".into(),
            value: Bytes::new(),
        }],
    };
    let encoded = STANDARD_NO_PAD.encode(foreign.encode_to_vec());
    for details in [encoded.as_str(), "%%%", "AAAA"] {
        let headers = trailers(&[
            ("grpc-status", "3"),
            ("grpc-message", "bad"),
            ("grpc-status-details-bin", details),
        ]);
        let error = read_status(&headers).expect("an error");
        assert_eq!((error.code(), error.detail()), (Code::InvalidArgument, "bad"));
    }
}

#[test]
fn attached_details_reach_every_caller_but_go_micros() {
    let detail = Detail::new("google.rpc.BadRequest", vec![1, 2]);
    let error = Error::invalid_argument("bad").with_attached(detail.clone());
    for (error, own) in [(error.clone(), 0), (error.with_id("users"), 1)] {
        for micro in [false, true] {
            let mut headers = HeaderMap::new();
            write_status(&mut headers, Some(&error), micro);
            let first = read_details(&headers, GRPC_DETAILS);
            let foreign = first.iter().filter(|any| any.type_url != ERROR_TYPE).count();
            assert_eq!(foreign, usize::from(!micro), "a Go caller dies of a foreign detail");
            assert_eq!(first.len() - foreign, own.max(usize::from(micro)));
            let read = read_status(&headers).expect("an error");
            assert_eq!(read.attached(), std::slice::from_ref(&detail));
            assert_eq!((read.code(), read.id()), (Code::InvalidArgument, error.id()));
        }
    }
}

/// As gRPC's peers count a block: grpcio begins to refuse at 8 KiB.
fn fits(headers: &HeaderMap) -> bool {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum::<usize>() < 8192
}

#[test]
fn details_that_no_peer_takes_do_not_take_the_status_with_them() {
    let huge = Detail::new("x.Huge", vec![7; 8192]);
    let mut headers = HeaderMap::new();
    write_status(&mut headers, Some(&Error::new(Code::Aborted, "no").with_attached(huge)), false);
    let error = read_status(&headers).expect("an error");
    assert_eq!((error.code(), error.detail(), error.attached()), (Code::Aborted, "no", &[][..]));
}

#[test]
fn a_long_text_is_cut_before_details_and_both_before_metadata() {
    let detail = Detail::new("google.rpc.ErrorInfo", vec![7; 1500]);
    for text in ["Ошибка: ".repeat(1000), "x".repeat(100_000), "\u{1}\"<😈%".repeat(9000)] {
        for micro in [false, true] {
            let error = Error::not_found(text.clone()).with_id("магазин.заказы".repeat(100));
            let mut headers = trailers(&[("tenant", "blue")]);
            write_status(&mut headers, Some(&error.with_attached(detail.clone())), micro);
            assert!(fits(&headers), "{micro} {}", &text[..8]);
            let read = read_status(&headers).expect("an error");
            assert_eq!(read.code(), Code::NotFound);
            let told = read.detail().strip_suffix('…').expect("a mark where it was cut");
            assert!(told.len() >= 500 && text.starts_with(told), "{}", told.len());
            assert_eq!(read.attached(), std::slice::from_ref(&detail));
            assert!(headers.contains_key("tenant"));
        }
    }
}

#[test]
fn metadata_that_leaves_no_room_gives_way_to_the_status() {
    let value = "x".repeat(7000);
    let mut headers = trailers(&[("tenant", "blue"), ("large", &value)]);
    let error = Error::not_found("нет".repeat(1000)).with_id("shop");
    write_status(&mut headers, Some(&error), true);
    assert!(fits(&headers) && headers.contains_key("tenant") && !headers.contains_key("large"));
    assert_eq!(read_status(&headers).map(|error| error.code()), Some(Code::NotFound));
}

#[test]
fn a_text_of_two_kilobytes_is_whole_where_it_fits() {
    let text = "я".repeat(1024);
    let mut headers = HeaderMap::new();
    write_status(&mut headers, Some(&Error::not_found(text.clone())), false);
    assert_eq!(read_status(&headers).expect("an error").detail(), text);
}

#[test]
fn a_foreign_servers_json_is_its_text() {
    let text = r#"{"code":1042,"msg":"card declined"}"#;
    let headers = trailers(&[("grpc-status", "9"), ("grpc-message", text)]);
    let error = read_status(&headers).expect("an error");
    assert_eq!(
        (error.code(), error.detail(), error.http_code()),
        (Code::FailedPrecondition, text, 412)
    );
}

proptest::proptest! {
    #[test]
    fn arbitrary_trailers_never_panic(
        status in "[0-9a-z-]{0,6}",
        message in "[ -~]{0,60}",
        details in "[A-Za-z0-9+/=]{0,80}",
    ) {
        let headers = trailers(&[
            ("grpc-status", status.as_str()),
            ("grpc-message", message.as_str()),
            ("grpc-status-details-bin", details.as_str()),
        ]);
        let _ = read_status(&headers);
    }

    #[test]
    fn any_error_survives_the_wire_of_either_kind(
        number in 1i32..17,
        id in "[a-z.]{0,20}",
        detail in "\\PC{0,100}",
        micro in proptest::prelude::any::<bool>(),
    ) {
        let code = Code::from_grpc(number).expect("a code");
        let error = Error::new(code, detail.clone()).with_id(id.clone());
        let mut headers = HeaderMap::new();
        write_status(&mut headers, Some(&error), micro);
        let read = read_status(&headers).expect("an error");
        proptest::prop_assert_eq!((read.code(), read.id(), read.detail()), (code, &*id, &*detail));
    }
}
