use super::ran::{Run, Verdict};
use super::table::{Area, Row, Status, Table};
use super::{cited, page};

const SOURCE: &str = "
    mod tests {
        /// Doc.
        #[tokio::test(start_paused = true)]
        async fn a_call_ends() {}
        #[test]
        #[ignore = \"started by another\"]
        fn is_started() {}
        fn helps() {}
    }
    #[test]
    fn stands_alone() {}
    proptest! {
        #[test]
        fn any_number_will_do(n in 0..9) {}
    }
";

fn read(path: &str) -> Option<String> {
    let text = match path {
        "core/src/a/mod.rs" | "core/tests/b.rs" | "core/tests/c/d.rs" | "core/tests/e/mod.rs" => {
            SOURCE
        }
        "core/src/registry/contract/cases.rs" | "core/src/broker/contract/abilities.rs" => "",
        "core/src/broker/contract/mod.rs" => "three_keeps",
        "core/src/registry/contract/mod.rs" => "one_keeps two_keeps",
        "p/test_a.py" => "async def test_it(fleet):",
        "c/a.c" => "TEST(it_ends) {",
        "s/a.toml" => "name = \"it-ends\"\n",
        _ => return None,
    };
    Some(text.to_owned())
}

fn row(id: &str, status: Status, tests: &[&str], note: Option<&str>) -> Row {
    Row {
        id: id.into(),
        title: "does a thing".into(),
        status,
        tests: tests.iter().map(ToString::to_string).collect(),
        note: note.map(str::to_owned),
    }
}

fn area(id: &str, row: Vec<Row>) -> Area {
    Area { id: id.into(), name: format!("Area of {id}"), why: None, row }
}

/// As many rows as there must be, with one test each.
fn full() -> Table {
    let rows = |id: &str, count: usize| {
        let row = |n| row(&format!("{id}-{n:02}"), Status::Yes, &["c/a.c::it_ends"], None);
        area(id, (1..=count).map(row).collect())
    };
    Table { area: vec![rows("SVC", 283), rows("WIRE", 39)] }
}

#[test]
fn a_table_with_every_row_and_its_tests_is_whole() {
    let table = full();
    assert_eq!(table.breaches(), Vec::<String>::new());
    assert_eq!(cited::breaches(&table, read), Vec::<String>::new());
    assert_eq!(page::counts(&table), "322 rows: 322 yes, 0 differ, 0 no");
}

#[test]
fn rows_that_are_missing_or_there_twice_are_refused() {
    let mut table = full();
    table.area[0].row.pop();
    assert_eq!(table.breaches(), ["282 rows of features, where 283 belong"]);
    let mut table = full();
    table.area[1].row.remove(37);
    let found = table.breaches();
    assert_eq!(
        found,
        ["WIRE-39 stands where WIRE-38 belongs", "38 rows of the wire, where 39 belong"]
    );
    let mut table = full();
    table.area[0].row[1].id = "SVC-01".into();
    assert_eq!(table.breaches(), ["SVC-01 stands where SVC-02 belongs"]);
    let mut table = full();
    table.area.push(area("SVC", Vec::new()));
    assert_eq!(table.breaches(), ["area SVC is there twice"]);
}

#[test]
fn a_status_without_what_belongs_to_it_is_refused() {
    let test = "c/a.c::it_ends";
    for (row, why) in [
        (row("SVC-01", Status::Yes, &[], None), "name the tests"),
        (row("SVC-01", Status::Differs, &[test], None), "how and why"),
        (row("SVC-01", Status::Differs, &[], Some("why")), "name the tests"),
        (row("SVC-01", Status::No, &[], None), "says why"),
        (row("SVC-01", Status::No, &[test], Some("why")), "no tests"),
        (row("SVC-01", Status::Yes, &[test, test], None), "twice"),
    ] {
        let mut table = full();
        table.area[0].row[0] = row;
        let found = table.breaches();
        assert!(found.len() == 1 && found[0].contains(why), "{why}: {found:?}");
    }
    let text = "[[area]]\nid = \"A\"\nname = \"a\"\n[[area.row]]\nid = \"A-01\"\ntitle = \"t\"\n";
    let error = Table::read(&format!("{text}status = \"maybe\"\n")).unwrap_err().to_string();
    assert!(error.contains("maybe") && error.contains("differs"), "{error}");
    assert!(Table::read(&format!("{text}status = \"no\"\n")).is_ok());
}

#[test]
fn tests_that_no_file_has_are_refused() {
    for test in [
        "core/src/a/mod.rs::a_call_ends",
        "core/tests/b.rs::stands_alone",
        "core/tests/b.rs::any_number_will_do",
        "core/src/registry/contract/cases.rs::one_keeps",
        "core/src/broker/contract/abilities.rs::three_keeps",
        "p/test_a.py::test_it",
        "c/a.c::it_ends",
        "s/a.toml::it-ends",
    ] {
        let table =
            Table { area: vec![area("SVC", vec![row("SVC-01", Status::Yes, &[test], None)])] };
        assert_eq!(cited::breaches(&table, read), Vec::<String>::new(), "{test}");
    }
    for (test, why) in [
        ("a_call_ends", "path/of/the/file::name"),
        ("core/src/b.rs::a_call_ends", "no file core/src/b.rs"),
        ("core/src/a/mod.rs::helps", "no test helps"),
        ("core/src/a/mod.rs::is_started", "no test is_started"),
        ("core/src/registry/contract/cases.rs::three_keeps", "no test three_keeps"),
        ("core/src/broker/contract/abilities.rs::one_keeps", "no test one_keeps"),
        ("p/test_a.py::it", "no test it"),
        ("c/a.c::it", "no test it"),
        ("s/a.toml::it", "no test it"),
    ] {
        let table =
            Table { area: vec![area("SVC", vec![row("SVC-01", Status::Yes, &[test], None)])] };
        let found = cited::breaches(&table, read);
        assert!(found.len() == 1 && found[0].contains(why), "{test}: {found:?}");
    }
}

const TRANSCRIPT: &str = "
==> tests
     Running unittests src/lib.rs (target/debug/deps/micro-1)
test a::tests::a_call_ends ... ok
test registry::memory::tests::contract_suite::one_keeps ... ok
test registry::mdns::tests::contract_suite::one_keeps ... ok
test registry::mdns::tests::contract_suite::two_keeps ... FAILED
test sync::tests::sync_contract_suite::three_keeps ... ok
     Running tests/b.rs (target/debug/deps/b-1)
test stands_alone ... ok
test e::stands_alone ... ok
     Running tests/main.rs (target/debug/deps/c-1)
     Running tests/c/main.rs (target/debug/deps/c-1)
test d::stands_alone ... FAILED
test d::tests::a_call_ends ... ok
     Running tests/run.rs (target/debug/deps/run-1)
test plain::it_ends ... ok
test address::it_ends ... ok
test plain::reply::it_replies ... ok

==> every client against every server
test rust->rust/a/it-ends ... ok
test rust->c/a/it-ends ... left out, there is none
test rust->rust/a/a-wrong-word-is-refused ... ok
test rust->rust/b/it-begins ... ok

==> tests of Python
PASSED tests/test_a.py::test_it[one]
FAILED tests/test_a.py::test_it[two] - AssertionError
PASSED tests/test_a.py::test_other
SKIPPED [1] tests/test_go.py:12: no go
";

#[test]
fn a_test_that_is_named_must_have_passed_in_the_run() {
    let run = Run::parse(TRANSCRIPT, "", "");
    for (test, verdict) in [
        ("core/src/a/mod.rs::a_call_ends", Verdict::Passed),
        ("core/src/a/mod.rs::stands_alone", Verdict::Absent),
        ("core/tests/b.rs::stands_alone", Verdict::Passed),
        ("core/tests/b.rs::a_call_ends", Verdict::Absent),
        ("core/tests/c/d.rs::stands_alone", Verdict::Failed),
        ("core/tests/c/d.rs::a_call_ends", Verdict::Passed),
        ("core/src/registry/contract/cases.rs::one_keeps", Verdict::Passed),
        ("core/src/registry/contract/cases.rs::two_keeps", Verdict::Failed),
        ("core/src/sync/contract/cases.rs::three_keeps", Verdict::Passed),
        ("c/a.c::it_ends", Verdict::Passed),
        ("c/a.c::it_begins", Verdict::Absent),
        ("c/a.c::it_replies", Verdict::Passed),
        ("core/tests/e/mod.rs::stands_alone", Verdict::Passed),
        ("core/tests/e/mod.rs::a_call_ends", Verdict::Absent),
        ("s/a.toml::it-ends", Verdict::Passed),
        ("s/a.toml::it-begins", Verdict::Absent),
        ("s/a.toml::a-wrong-$case-is-refused", Verdict::Passed),
        ("s/a.toml::a-right-$case-is-refused", Verdict::Absent),
        ("s/a.toml::a-wrong-$case", Verdict::Passed),
        ("s/a.toml::$case-is-taken", Verdict::Absent),
        ("p/test_a.py::test_it", Verdict::Failed),
        ("p/test_a.py::test_other", Verdict::Passed),
        ("p/test_a.py::test_none", Verdict::Absent),
        ("p/test_go.py::test_any", Verdict::Unable),
    ] {
        assert_eq!(run.verdict(test, read), verdict, "{test}");
    }
}

#[test]
fn what_was_skipped_aloud_is_neither_proven_nor_refused() {
    let run =
        Run::parse(TRANSCRIPT, "a::tests::a_call_ends: no go toolchain\n", "Python: no python3\n");
    assert_eq!(run.verdict("core/src/a/mod.rs::a_call_ends", read), Verdict::Unable);
    assert_eq!(run.verdict("core/tests/b.rs::stands_alone", read), Verdict::Passed);
    assert_eq!(run.verdict("p/test_a.py::test_none", read), Verdict::Unable);
}

#[test]
fn only_the_tables_of_the_page_are_written() {
    let mut table = full();
    table.area[0].row[0] = row("SVC-01", Status::No, &[], None);
    table.area[0].why = Some("not a|b yet".into());
    let marks = |name: &str| format!("<!-- begin {name} -->\nold\n<!-- end {name} -->\n");
    let before = format!("# By hand\n\n{}\nmiddle\n\n{}last\n", marks("counts"), marks("rows"));
    let after = page::with_tables(&before, &table).unwrap();
    assert!(after.starts_with("# By hand\n\n<!-- begin counts -->\n| area |"), "{after}");
    assert!(after.contains("| [Area of SVC](#area-of-svc) | 282 | 0 | 1 |\n"), "{after}");
    assert!(after.contains("\nmiddle\n") && after.ends_with("<!-- end rows -->\nlast\n"));
    assert!(after.contains("| SVC-01 | does a thing | no | not a\\|b yet |\n"), "{after}");
    assert!(!after.contains("old"));
    assert_eq!(page::with_tables(&after, &table).unwrap(), after);
    assert!(page::with_tables("# By hand\n", &table).unwrap_err().contains("begin counts"));
}
