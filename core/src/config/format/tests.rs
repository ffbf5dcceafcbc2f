use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::config::node::at;
use crate::error::Code;

fn origin() -> Origin {
    Origin::new("file://shop").at("shop")
}

fn read(format: Format, text: &str) -> Result<Arc<Node>> {
    parse(format, text.as_bytes(), &origin(), MAX_BYTES)
}

fn json_of(format: Format, text: &str) -> Json {
    read(format, text).unwrap().to_json(&|_| Json::Null)
}

fn why(format: Format, text: &str) -> String {
    let error = read(format, text).expect_err(text);
    assert_eq!(error.code(), Code::InvalidArgument);
    error.detail().to_owned()
}

fn line(root: &Arc<Node>, path: &str) -> Option<u32> {
    at(root, &path.into()).unwrap().origin.line()
}

const JSON: &str = r#"{
  "name": "shop",
  "db": {
    "port": 5432,
    "ratio": 0.5,
    "tls": true,
    "hosts": [
      "a",
      "b"
    ],
    "none": null
  }
}"#;

fn expected() -> Json {
    serde_json::from_str(JSON).unwrap()
}

#[test]
fn json_has_values_and_their_lines() {
    let root = read(Format::Json, JSON).unwrap();
    assert_eq!(root.to_json(&|_| Json::Null), expected());
    for (path, expected) in
        [("", 1), ("name", 2), ("db", 3), ("db.port", 4), ("db.hosts.1", 9), ("db.none", 11)]
    {
        assert_eq!(line(&root, path), Some(expected), "{path}");
    }
    assert_eq!(
        json_of(
            Format::Json,
            r#"{"a": -1, "b": 18446744073709551615, "c": 1e400}"#.replace("1e400", "1.5").as_str()
        ),
        json!({"a": -1, "b": u64::MAX, "c": 1.5})
    );
}

#[cfg(feature = "config-yaml")]
const YAML: &str = "name: shop # a comment
db:
  port: 5432
  ratio: 0.5
  tls: true
  hosts:
    - a
    - b
  none: ~
";

#[cfg(feature = "config-yaml")]
#[test]
fn yaml_has_values_and_their_lines() {
    let root = read(Format::Yaml, YAML).unwrap();
    assert_eq!(root.to_json(&|_| Json::Null), expected());
    for (path, expected) in [("name", 1), ("db.port", 3), ("db.hosts.1", 8), ("db.none", 9)] {
        assert_eq!(line(&root, path), Some(expected), "{path}");
    }
    assert_eq!(json_of(Format::Yaml, JSON), expected(), "JSON is YAML");
}

#[cfg(feature = "config-yaml")]
#[test]
fn yaml_is_that_of_today() {
    let text = "
country: no
zip: 007
hex: 0x1f
quoted: '7'
tagged: !!str 7
text: |
  two
  lines
base: &base {a: 1, b: 2}
other:
  <<: *base
  b: 3
";
    let expected = json!({
        "country": "no", "zip": "007", "hex": 31, "quoted": "7", "tagged": "7", "text": "two\nlines\n",
        "base": {"a": 1, "b": 2}, "other": {"a": 1, "b": 3},
    });
    assert_eq!(json_of(Format::Yaml, text), expected);
    for text in ["", "---\n", "# nothing\n", "~"] {
        assert_eq!(json_of(Format::Yaml, text), json!({}), "{text:?}");
    }
}

#[cfg(feature = "config-toml")]
#[test]
fn toml_has_values_and_their_lines() {
    let text = "name = \"shop\"\n[db]\nport = 5_432\nratio = 0.5\ntls = true\nhosts = [\n  \"a\",\n  \"b\",\n]\n\
                [[list]]\nat = 1979-05-27T07:32:00Z\nmask = 0xff\n";
    let root = read(Format::Toml, text).unwrap();
    let expected = json!({
        "name": "shop",
        "db": {"port": 5432, "ratio": 0.5, "tls": true, "hosts": ["a", "b"]},
        "list": [{"at": "1979-05-27T07:32:00Z", "mask": 255}],
    });
    assert_eq!(root.to_json(&|_| Json::Null), expected);
    for (path, expected) in [("name", 1), ("db.port", 3), ("db.hosts.1", 8), ("list.0.mask", 12)] {
        assert_eq!(line(&root, path), Some(expected), "{path}");
    }
}

#[cfg(feature = "config-xml")]
#[test]
fn xml_has_values_and_their_lines() {
    let text = "<?xml version=\"1.0\"?>\n<config name=\"shop\">\n  <db tls='true'>\n    <port>5432</port>\n    \
                <host>a &amp; &#98;</host>\n    <host><![CDATA[<b>]]></host>\n  </db>\n  <note lang=\"en\">hi</note>\n  \
                <empty/>\n</config>\n";
    let root = read(Format::Xml, text).unwrap();
    let expected = json!({
        "name": "shop",
        "db": {"tls": true, "port": 5432, "host": ["a & b", "<b>"]},
        "note": {"lang": "en", "#text": "hi"},
        "empty": "",
    });
    assert_eq!(root.to_json(&|_| Json::Null), expected);
    for (path, expected) in [("name", 2), ("db.port", 4), ("db.host.1", 6), ("empty", 9)] {
        assert_eq!(line(&root, path), Some(expected), "{path}");
    }
}

#[cfg(feature = "config-hcl")]
#[test]
fn hcl_has_values_and_their_lines() {
    let text = "name = \"shop\"\ndb \"main\" {\n  port  = 5432\n  low = -1\n  hosts = [\"a\", \"${HOST}\"]\n}\ndb \"spare\" {\n  port = 1\n}\n\
                rule {\n  a = { b = true }\n}\nrule {\n  a = null\n}\n";
    let root = read(Format::Hcl, text).unwrap();
    let expected = json!({
        "name": "shop",
        "db": {"main": {"port": 5432, "low": -1, "hosts": ["a", "${HOST}"]}, "spare": {"port": 1}},
        "rule": [{"a": {"b": true}}, {"a": null}],
    });
    assert_eq!(root.to_json(&|_| Json::Null), expected);
    for (path, expected) in
        [("name", 1), ("db.main.port", 3), ("db.spare.port", 8), ("rule.1.a", 14)]
    {
        assert_eq!(line(&root, path), Some(expected), "{path}");
    }
    let said = why(Format::Hcl, "a = 1\nb = 1 + 2\n");
    assert!(said.starts_with("shop:2: expressions are not computed"), "{said}");
}

#[test]
fn what_cannot_be_read_is_told_with_its_line() {
    #[allow(unused_mut, reason = "each format adds its own")]
    let mut cases = vec![
        (Format::Json, "{\n\"a\": 1,\n\"b\": }", 3, "column"),
        (Format::Json, "{\n\"a\": 1", 2, "EOF"),
        (Format::Json, "{\"a\": 1,\n\"a\": 2}", 2, "\"a\" is there twice, first on line 1"),
        (Format::Json, "[1]", 1, "the document is a list"),
    ];
    #[cfg(feature = "config-yaml")]
    cases.extend([
        (Format::Yaml, "a: 1\nb: [1\nc: 2\n", 3, ""),
        (Format::Yaml, "a: 1\na: 2\n", 2, "there twice"),
        (Format::Yaml, "a: 1\n---\nb: 2\n", 2, "second document"),
        (Format::Yaml, "a: 1\n? [b]\n: 2\n", 2, "is no key"),
        (Format::Yaml, "a: 1\nb: *c\n", 2, ""),
        (Format::Yaml, "- a\n", 1, "the document is a list"),
    ]);
    #[cfg(feature = "config-toml")]
    cases.extend([
        (Format::Toml, "a = 1\nb = \n", 2, ""),
        (Format::Toml, "a = 1\na = 2\n", 2, "duplicate"),
        (Format::Toml, "a = 1\nb = 99999999999999999999\n", 2, "too large"),
    ]);
    #[cfg(feature = "config-xml")]
    cases.extend([
        (Format::Xml, "<a>\n<b>1</a>\n", 2, ""),
        (Format::Xml, "<a>\n<b>1</b>\n", 1, "<a> is not closed"),
        (Format::Xml, "<a>\n&x;</a>", 2, "entities"),
        (Format::Xml, "<a/>\n<b/>", 2, "second root"),
        (Format::Xml, "<!DOCTYPE x [<!ENTITY a 'b'>]>\n<a/>", 1, "document types"),
    ]);
    #[cfg(feature = "config-hcl")]
    cases.extend([
        (Format::Hcl, "a = 1\nb = \n", 2, ""),
        (Format::Hcl, "a = 1\na = 2\n", 2, "redefined"),
        (Format::Hcl, "a = { b = 1,\nb = 2 }\n", 2, ""),
    ]);
    for (format, text, line, part) in cases {
        let said = why(format, text);
        assert!(said.starts_with(&format!("shop:{line}: ")), "{text:?}: {said}");
        assert!(said.contains(part), "{text:?}: {said}");
    }
    let said = parse(Format::Json, b"{\n\"a\": \"\xff\"}", &origin(), MAX_BYTES).unwrap_err();
    assert!(said.detail().starts_with("shop:2: this is no UTF-8"), "{said}");
}

#[test]
fn documents_that_are_too_deep_are_refused() {
    let deep = 100_000;
    let mut cases =
        vec![(Format::Json, format!("{}1{}", "{\"a\":".repeat(deep), "}".repeat(deep)))];
    cases.push((Format::Json, format!("{{\"a\": {}{}}}", "[".repeat(100), "]".repeat(100))));
    #[cfg(feature = "config-yaml")]
    cases.extend([
        (Format::Yaml, format!("a: {}{}", "[".repeat(deep), "]".repeat(deep))),
        (Format::Yaml, format!("a: {}{}", "[".repeat(100), "]".repeat(100))),
        (Format::Yaml, (0..100).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
    ]);
    #[cfg(feature = "config-toml")]
    cases.extend([
        (Format::Toml, format!("a = {}{}", "[".repeat(deep), "]".repeat(deep))),
        (Format::Toml, format!("{}a = 1", "a.".repeat(70))),
        (Format::Toml, format!("[{}a]\n", "a.".repeat(70))),
    ]);
    #[cfg(feature = "config-xml")]
    cases.push((Format::Xml, format!("{}{}", "<a>".repeat(deep), "</a>".repeat(deep))));
    #[cfg(feature = "config-hcl")]
    cases.extend([
        (Format::Hcl, format!("a = {}{}", "[".repeat(deep), "]".repeat(deep))),
        (Format::Hcl, format!("{}{}", "a {\n".repeat(deep), "}\n".repeat(deep))),
    ]);
    for (format, text) in cases {
        let said = why(format, &text);
        assert!(said.starts_with("shop:"), "{format:?}: {said}");
    }
}

#[cfg(feature = "config-yaml")]
#[test]
fn a_billion_laughs_are_refused() {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for n in 1..10 {
        let before = format!("*a{}", n - 1);
        let ten = [before.as_str(); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{ten}]\n"));
    }
    let said = why(Format::Yaml, &text);
    assert!(said.contains("more than 1000000 values, with its aliases"), "{said}");
    let mut chain = "a0: &a0 [1]\n".to_owned();
    (1..80).for_each(|n| chain.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1)));
    assert!(why(Format::Yaml, &chain).contains("deep"), "aliases of aliases");
}

#[test]
fn a_document_that_is_too_large_names_the_setting_to_change() {
    let text = format!("{{\"a\": \"{}\"}}", "x".repeat(100));
    let error = parse(Format::Json, text.as_bytes(), &origin(), 100).unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.detail().contains("raise `max_bytes`"), "{error}");
    assert!(parse(Format::Json, text.as_bytes(), &origin(), 200).is_ok());
}

#[test]
fn formats_are_known_by_extension_and_content_type() {
    for format in Format::ALL {
        assert_eq!(Format::from_extension(format.name()), Some(format));
    }
    assert_eq!(Format::from_extension("YML"), Some(Format::Yaml));
    assert_eq!(Format::from_extension("txt"), None);
    for (kind, format) in [
        ("application/json; charset=utf-8", Some(Format::Json)),
        ("application/x-yaml", Some(Format::Yaml)),
        ("application/problem+json", Some(Format::Json)),
        ("text/xml", Some(Format::Xml)),
        ("text/plain", None),
        ("", None),
    ] {
        assert_eq!(Format::from_content_type(kind), format, "{kind}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "[\\PC\n]{0,200}|([a-c]|[<>/\\[\\]{}:=,&*\"'!#| \n0-9$-]){0,80}") {
        for format in Format::ALL {
            if let Ok(root) = read(format, &text) {
                let _ = root.to_json(&|_| Json::Null);
            }
        }
    }
}
