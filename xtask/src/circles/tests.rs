//! Small crates, made up.

use super::*;

/// The circles of a crate with these files, each with its source.
fn found(files: &[(&str, &str)]) -> Vec<Circle> {
    let folder = tempfile::tempdir().unwrap();
    for (name, source) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, source).unwrap();
    }
    let sources = Sources::read(folder.path(), &folder.path().join("lib.rs")).unwrap();
    circles(&sources)
}

/// The files of each circle.
fn names(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    found(files).into_iter().map(|circle| circle.files).collect()
}

const NONE: [Vec<String>; 0] = [];

#[test]
fn files_that_use_each_other_are_a_circle() {
    let files = [
        ("lib.rs", "mod one; mod two; mod three;"),
        ("one.rs", "use crate::two::Two;\npub struct One(Two);"),
        ("two.rs", "use super::{three::Three};\npub struct Two(Three);"),
        ("three.rs", "\n\npub struct Three(Option<Box<crate::one::One>>);"),
    ];
    assert_eq!(
        found(&files).iter().map(Circle::to_string).collect::<Vec<_>>(),
        ["3 files import each other in a circle:
  one.rs:1 has crate::two::Two, of two.rs
  two.rs:1 has super::three::Three, of three.rs
  three.rs:3 has crate::one::One, of one.rs"]
    );
}

#[test]
fn one_way_is_no_circle() {
    let files = [
        ("lib.rs", "mod one; mod two; mod three; use one::One; fn front(_: One) {}"),
        ("one.rs", "use crate::two::Two; use crate::three; pub struct One(Two, three::Three);"),
        ("two.rs", "use crate::three::Three; pub struct Two(Three);"),
        ("three.rs", "use std::fmt; pub struct Three;"),
    ];
    assert_eq!(names(&files), NONE);
}

#[test]
fn circles_apart_are_told_apart() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        ("b.rs", "use crate::a::A; use crate::c::C; pub struct B(A, C);"),
        ("c.rs", "use crate::d::D; pub struct C(D);"),
        ("d.rs", "use crate::c::C; pub struct D(C);"),
    ];
    assert_eq!(names(&files), [["a.rs", "b.rs"], ["c.rs", "d.rs"]]);
}

#[test]
fn a_path_in_a_body_or_a_macro_imports() {
    let one = ("one.rs", "pub fn one() { super::two::two(); }");
    let lib = ("lib.rs", "mod one; mod two;");
    for two in [
        "pub fn two() { crate::one::one(); }",
        "use crate::one; pub fn two() { one::one(); }",
        "pub fn two() { println!(\"{:?}\", crate::one::one()); }",
        "pub fn two() { use crate::one::one as other; other(); }",
        "pub fn two() { (0..crate::one::one()).for_each(drop); }",
        "macro_rules! again { () => { $crate::one::one() } } pub fn two() { again!() }",
    ] {
        assert_eq!(names(&[lib, one, ("two.rs", two)]), [["one.rs", "two.rs"]], "{two}");
    }
}

#[test]
fn what_a_glob_brings_is_followed_to_its_file() {
    let lib = ("lib.rs", "mod room;");
    let room = ("room/mod.rs", "mod one; mod two; pub use one::*; pub use two::Two;");
    let one = ("room/one.rs", "use super::*; pub struct One(Two);");
    let two = "pub struct Two;";
    assert_eq!(names(&[lib, room, one, ("room/two.rs", two)]), NONE);
    let two = "use super::*; pub struct Two(Option<Box<One>>);";
    assert_eq!(names(&[lib, room, one, ("room/two.rs", two)]), [["room/one.rs", "room/two.rs"]]);
}

#[test]
fn a_reexport_leads_to_the_file_that_defines() {
    let lib = ("lib.rs", "mod room; pub use room::{One, Two as Second};");
    let room = ("room/mod.rs", "mod one; mod two; pub use one::One; pub use two::Two;");
    let one = ("room/one.rs", "use super::Two; pub struct One(Two);");
    assert_eq!(names(&[lib, room, one, ("room/two.rs", "pub struct Two;")]), NONE);
    let two = ("room/two.rs", "pub struct Two(Option<Box<super::One>>);");
    assert_eq!(names(&[lib, room, one, two]), [["room/one.rs", "room/two.rs"]]);
    // By the name that the root gives it.
    let one = ("room/one.rs", "pub struct One(crate::Second);");
    assert_eq!(names(&[lib, room, one, two]), [["room/one.rs", "room/two.rs"]]);
}

#[test]
fn a_parent_that_uses_what_it_reexports_imports_it() {
    let lib = ("lib.rs", "mod room;");
    let child = ("room/child.rs", "use super::Trait; pub struct Child; impl Trait for Child {}");
    let contents = "mod child; pub use self::child::Child; pub trait Trait {}";
    assert_eq!(names(&[lib, ("room/mod.rs", contents), child]), NONE);
    let factory = format!("{contents} pub fn make() -> Child {{ Child }}");
    assert_eq!(names(&[lib, ("room/mod.rs", &factory), child]), [["room/mod.rs", "room/child.rs"]]);
}

#[test]
fn what_is_for_tests_is_left_out() {
    let lib = ("lib.rs", "mod one; mod two;");
    let one = ("one.rs", "use crate::two::Two; pub struct One(Two);");
    for two in [
        "#[cfg(test)] use crate::one::One; pub struct Two;",
        "pub struct Two; #[cfg(test)] mod tests { use crate::one::One; }",
        "pub struct Two; #[cfg(any(test, fuzzing))] fn seen(_: crate::one::One) {}",
        "pub struct Two; impl Two { #[cfg(all(test, unix))] fn seen(_: crate::one::One) {} fn all() {} }",
        "pub struct Two { #[cfg(test)] one: Option<Box<crate::one::One>>, two: u8 }",
        "pub struct Two; #[test] fn holds() { crate::one::One; }",
        "#![cfg(test)] pub struct Two(crate::one::One);",
    ] {
        assert_eq!(names(&[lib, one, ("two.rs", two)]), NONE, "{two}");
    }
    for two in [
        "#[cfg(not(test))] use crate::one::One; pub struct Two;",
        "pub struct Two; impl Two { #[cfg(test)] fn seen() {} fn all(_: crate::one::One) {} }",
        "#[cfg(any(test, unix))] pub struct Two(crate::one::One);",
    ] {
        assert_eq!(names(&[lib, one, ("two.rs", two)]), [["one.rs", "two.rs"]], "{two}");
    }
}

#[test]
fn words_that_name_nothing_import_nothing() {
    let lib = ("lib.rs", "mod room;");
    let room = ("room/mod.rs", "mod one; mod two; pub use one::*; pub use two::*;");
    let one = ("room/one.rs", "use super::*; pub fn one() { two(); }");
    let two =
        "use super::*; pub fn two(it: It) { it.one(); let one = it.one; It::one(); drop(one) }";
    assert_eq!(names(&[lib, room, one, ("room/two.rs", two)]), NONE);
}

#[test]
fn a_variant_may_have_the_name_of_something_else() {
    let lib = ("lib.rs", "mod room;");
    let room = "mod one; pub use one::One;";
    let one = ("room/one.rs", "use super::Kind; pub struct One(Kind);");
    let kind = format!("{room} pub enum Kind {{ One, #[cfg(test)] Two(One), Three(u8) }}");
    assert_eq!(names(&[lib, ("room/mod.rs", &kind), one]), NONE);
    let kind = format!("{room} pub enum Kind {{ Other(Box<One>) }}");
    assert_eq!(names(&[lib, ("room/mod.rs", &kind), one]), [["room/mod.rs", "room/one.rs"]]);
}

#[test]
fn what_a_macro_makes_is_its_file_s() {
    let files = [
        ("lib.rs", "mod one; mod two;"),
        ("one.rs", "use crate::two::Two; make! { One(Two) }"),
        ("two.rs", "pub struct Two(Option<Box<crate::one::One>>);"),
    ];
    assert_eq!(names(&files), [["one.rs", "two.rs"]]);
}

#[test]
fn modules_are_found_where_the_compiler_finds_them() {
    let files = [
        ("lib.rs", "mod one; mod inside { pub(crate) mod two; } #[path = \"third.rs\"] mod three;"),
        ("one.rs", "mod below; pub use self::below::One;"),
        ("one/below.rs", "pub struct One(crate::inside::two::Two);"),
        ("inside/two.rs", "pub struct Two(crate::three::Three);"),
        ("third.rs", "pub struct Three(Option<Box<crate::one::One>>);"),
    ];
    assert_eq!(names(&files), [["one/below.rs", "inside/two.rs", "third.rs"]]);
}
