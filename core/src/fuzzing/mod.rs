//! What the fuzzers of `fuzz/` feed: everything that reads bytes of a stranger.
//!
//! A target takes any bytes and panics when a promise is broken, not only when code does: what was
//! written must be read back, limits must hold, and how the bytes were cut must not matter. With
//! `cargo fuzz` the bytes are found by coverage; a unit test feeds every target the inputs of
//! `fuzz/corpus` and `fuzz/regressions`.

#![allow(clippy::panic, clippy::expect_used, reason = "a panic is how a target reports a finding")]

mod input;
mod text;

pub(crate) use input::Input;

/// A target: takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its folder of inputs.
pub const TARGETS: &[(&str, Target)] = &[
    ("content_type", text::content_type),
    ("dns", crate::registry::fuzzing::dns),
    ("error", text::error),
    ("framing", crate::transport::fuzzing::framing),
    ("headers", text::headers),
    ("hpack", crate::transport::fuzzing::hpack),
    ("http2", crate::transport::fuzzing::http2),
    ("record", crate::registry::fuzzing::record),
    ("registry_url", text::registry_url),
    ("route", crate::server::fuzzing::route),
    ("status", crate::transport::fuzzing::status),
    ("transcoding", text::transcoding),
    ("txt", crate::registry::fuzzing::txt),
];

/// Feeds `data` to the target called `name`.
///
/// # Panics
/// When there is no such target, and when the target found something.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a known target");
    target(data);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn folder() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"))
    }

    /// Names in a folder of `fuzz/`; none when the folder is not there.
    fn names(of: &str) -> BTreeSet<String> {
        let Ok(entries) = fs::read_dir(folder().join(of)) else { return BTreeSet::new() };
        let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("a plain name");
        entries.map(|entry| name(entry.expect("an entry"))).collect()
    }

    #[test]
    fn every_target_survives_its_inputs() {
        for (target, run) in TARGETS {
            let mut inputs = 0;
            for kind in ["corpus", "regressions"] {
                let of = format!("{kind}/{target}");
                for name in names(&of) {
                    println!("{of}/{name}");
                    run(&fs::read(folder().join(&of).join(name)).expect("an input"));
                    inputs += 1;
                }
            }
            assert!(inputs > 0, "no input in fuzz/corpus/{target}");
        }
    }

    #[test]
    fn every_input_and_every_program_belongs_to_a_target() {
        let known: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names("corpus"), known);
        assert!(names("regressions").is_subset(&known));
        let programs = known.iter().map(|name| format!("{name}.rs")).collect();
        assert_eq!(names("targets"), programs);
    }
}
