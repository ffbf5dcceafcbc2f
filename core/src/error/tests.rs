use super::*;

#[test]
fn text_is_go_json_in_order_without_zero_fields() {
    let error = Error::from_http("go.micro.srv.greeter", "user 7 not found", 404);
    assert_eq!(
        error.to_json(),
        r#"{"id":"go.micro.srv.greeter","code":404,"detail":"user 7 not found","status":"Not Found"}"#
    );
    assert_eq!(
        Error::from_http("a", "<b>&", 500).to_json(),
        r#"{"id":"a","code":500,"detail":"\u003cb\u003e\u0026","status":"Internal Server Error"}"#
    );
    assert_eq!(Error::parse(r#"{"id":"x"}"#).to_json(), r#"{"id":"x"}"#);
    assert_eq!(Error::from_http("a", "b", 499).to_json(), r#"{"id":"a","code":499,"detail":"b"}"#);
    assert_eq!(Error::from_http("a", "b", 408).status(), "Request Timeout");
}

#[test]
fn parse_reads_any_case_and_keeps_foreign_text_as_detail() {
    let error = Error::parse(r#"{"ID":"my.id","Code":404,"DETAIL":"nope","other":[1]}"#);
    assert_eq!((error.id(), error.http_code(), error.detail()), ("my.id", 404, "nope"));
    assert_eq!(error.code(), Code::NotFound);
    let plain = Error::parse("no such 100% thing");
    assert_eq!((plain.http_code(), plain.detail()), (0, "no such 100% thing"));
    let wrong = Error::parse(r#"{"id":"a","code":"x"}"#);
    assert_eq!((wrong.id(), wrong.detail()), ("a", r#"{"id":"a","code":"x"}"#));
    assert_eq!(Error::parse("null").http_code(), 0);
    assert_eq!(Error::parse("null").detail(), "");
}

#[test]
fn message_names_endpoint_node_and_attempts() {
    let error = Error::unavailable("connection refused").with_origin(Origin {
        service: "greeter".into(),
        endpoint: "Greeter.Hello".into(),
        node: "greeter-1 at 127.0.0.1:1".into(),
        attempts: 3,
    });
    assert_eq!(
        error.to_string(),
        "UNAVAILABLE: connection refused (calling greeter Greeter.Hello on greeter-1 at 127.0.0.1:1, 3 attempts)"
    );
}

#[test]
fn errors_are_equal_when_their_numbers_are() {
    let not_found = Error::not_found("user 7");
    assert_eq!(not_found, Error::from_http("users", "no such user", 404));
    assert_ne!(not_found, Error::not_found("user 7").with_http_code(410));
    assert_ne!(not_found, Error::permission_denied("user 7"));
    // Two codes of gRPC that are one number to go-micro.
    assert_eq!(Error::internal("a"), Error::new(Code::DataLoss, "b").with_http_code(500));
}

proptest::proptest! {
    #[test]
    fn arbitrary_text_parses_to_some_error(text in "\\PC{0,80}") {
        let _ = Error::parse(&text);
    }

    #[test]
    fn what_was_written_is_read_back(
        id in "\\PC{0,20}", detail in "\\PC{0,60}", code in 1i32..600,
    ) {
        let error = Error::from_http(id.clone(), detail.clone(), code);
        let read = Error::parse(&error.to_json());
        proptest::prop_assert_eq!((read.id(), read.detail(), read.http_code()), (&*id, &*detail, code));
        proptest::prop_assert_eq!(read.status(), error.status());
    }
}
