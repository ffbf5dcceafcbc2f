//! Whether the header alone compiles, in C and in C++, without a warning.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crate::Outcome;

/// Compilers by language; each that is there must take the header, and one of each language must be there.
const LANGUAGES: [(&str, &str, &[&str]); 2] =
    [("c", "-std=c11", &["gcc", "clang", "cc"]), ("c++", "-std=c++17", &["g++", "clang++", "c++"])];

/// What the compilers say of `header`, a line each.
pub(crate) fn complaints(header: &Path) -> Outcome<Vec<String>> {
    let mut complaints = Vec::new();
    for (language, standard, compilers) in LANGUAGES {
        let present: Vec<&str> = compilers.iter().copied().filter(|name| is_there(name)).collect();
        if present.is_empty() {
            return Err(format!("no compiler of {language}: install one of {compilers:?}").into());
        }
        for compiler in present {
            let output = Command::new(compiler)
                .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"])
                .args(["-x", language])
                .arg(header)
                .output()?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr);
                complaints.push(format!("{compiler} {standard}: {}", why.trim()));
            }
        }
    }
    Ok(complaints)
}

fn is_there(compiler: &str) -> bool {
    let asked = Command::new(compiler)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.as_ref().is_ok_and(ExitStatus::success)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What compilers say of the header with `more` at its end.
    fn with(more: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("micro.h");
        let header = fs::read_to_string(crate::root().join("include/micro.h")).unwrap();
        fs::write(&path, header + more).unwrap();
        complaints(&path).unwrap()
    }

    #[test]
    fn the_header_needs_nothing_before_it() {
        assert_eq!(with(""), Vec::<String>::new());
    }

    #[test]
    fn an_undeclared_type_is_a_complaint_in_both_languages() {
        let complaints = with("ssize_of micro_x(void);\n");
        assert!(complaints.iter().any(|line| line.contains("-std=c11")), "{complaints:?}");
        assert!(complaints.iter().any(|line| line.contains("-std=c++17")), "{complaints:?}");
    }

    #[test]
    fn a_word_of_cpp_and_an_extension_are_complaints() {
        assert!(!with("void micro_x(int class);\n").is_empty());
        assert!(!with("struct micro_x {};\n").is_empty());
    }
}
