//! The dependency policy of `deny.toml`, checked without a network or another tool.
//!
//! `cargo deny` reads the same file, but takes minutes to build and wants to fetch; a licence, a
//! source or a crate that must not come in is caught here on every run of the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use crate::Outcome;

/// The part of `deny.toml` this task enforces.
#[derive(Deserialize)]
struct Policy {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// More licences for one crate.
#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

/// What `cargo metadata` says of the dependency graph.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// Absent for the members of the workspace.
    source: Option<String>,
}

/// Fails with every violation of `deny.toml`; crates present in several versions are warnings.
pub(crate) fn run(root: &Path) -> Outcome {
    let policy: Policy = toml::from_str(&std::fs::read_to_string(root.join("deny.toml"))?)?;
    let packages = packages(root)?;
    for (name, versions) in duplicates(&packages) {
        println!("warning: {name} comes in {} versions: {}", versions.len(), versions.join(", "));
    }
    let violations = violations(&policy, &packages)?;
    if violations.is_empty() {
        println!("{} packages follow deny.toml", packages.len());
        return Ok(());
    }
    Err(format!(
        "the dependencies break deny.toml:\n  {}\nreplace the dependency, or change deny.toml with a reason",
        violations.join("\n  ")
    )
    .into())
}

fn packages(root: &Path) -> Outcome<Vec<Package>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice::<Metadata>(&output.stdout)?.packages)
}

fn violations(policy: &Policy, packages: &[Package]) -> Outcome<Vec<String>> {
    let allowed = licensees(&policy.licenses.allow)?;
    let mut found = Vec::new();
    for Exception { name, .. } in &policy.licenses.exceptions {
        if !packages.iter().any(|package| package.name == *name) {
            found.push(format!("deny.toml has an exception for {name}, which is no dependency"));
        }
    }
    for package in packages {
        let who = format!("{} {}", package.name, package.version);
        if let Some(ban) = policy.bans.deny.iter().find(|ban| ban.name == package.name) {
            found.push(format!("{who}: banned: {}", ban.reason));
        }
        if let Some(source) = &package.source
            && !is_allowed_registry(source, &policy.sources)
        {
            found.push(format!("{who}: comes from {source}, not from an allowed registry"));
        }
        let mut allowed = allowed.clone();
        let exceptions = policy.licenses.exceptions.iter();
        for exception in exceptions.filter(|exception| exception.name == package.name) {
            allowed.extend(licensees(&exception.allow)?);
        }
        match &package.license {
            Some(license) if is_allowed_license(license, &allowed) => {}
            Some(license) => found.push(format!("{who}: licence {license} is not allowed")),
            None => found.push(format!("{who}: states no licence")),
        }
    }
    Ok(found)
}

fn licensees(names: &[String]) -> Outcome<Vec<Licensee>> {
    let parse = |name: &String| {
        Licensee::parse(name).map_err(|error| format!("deny.toml: {name}: {error}").into())
    };
    names.iter().map(parse).collect()
}

fn is_allowed_registry(source: &str, sources: &Sources) -> bool {
    source
        .strip_prefix("registry+")
        .is_some_and(|url| sources.allow_registry.iter().any(|allowed| allowed == url))
}

/// Whether `expression` leaves a choice that needs allowed licences only.
fn is_allowed_license(expression: &str, allowed: &[Licensee]) -> bool {
    Expression::parse_mode(expression, ParseMode::LAX)
        .is_ok_and(|parsed| parsed.evaluate(|wanted| allowed.iter().any(|a| a.satisfies(wanted))))
}

/// Crates that come in more than one version.
fn duplicates(packages: &[Package]) -> BTreeMap<&str, Vec<&str>> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| (name, versions.into_iter().collect()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn violations_of(package: Package) -> String {
        let file = crate::root().join("deny.toml");
        let policy: Policy = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        // An exception must be of use, so the crates they are for are there.
        let excepted = policy.licenses.exceptions.iter();
        let excepted = excepted
            .map(|one| self::package(&one.name, one.allow.first().map(String::as_str), CRATES_IO));
        let packages: Vec<Package> = std::iter::once(package).chain(excepted).collect();
        violations(&policy, &packages).unwrap().join("\n")
    }

    fn package(name: &str, license: Option<&str>, source: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: Some(source.to_owned()),
        }
    }

    #[test]
    fn the_workspace_follows_its_policy() {
        run(&crate::root()).unwrap();
    }

    #[test]
    fn a_dual_licence_needs_only_one_allowed_half() {
        assert_eq!(violations_of(package("a", Some("GPL-3.0 OR MIT"), CRATES_IO)), "");
        assert_eq!(violations_of(package("a", Some("MIT/Apache-2.0"), CRATES_IO)), "");
    }

    #[test]
    fn a_licence_that_is_not_allowed_is_refused() {
        let found = violations_of(package("a", Some("GPL-3.0-only AND MIT"), CRATES_IO));
        assert!(found.contains("GPL-3.0-only AND MIT is not allowed"), "{found}");
    }

    #[test]
    fn an_exception_is_for_its_crate_and_its_licence_alone() {
        assert_eq!(violations_of(package("cbindgen", Some("MPL-2.0"), CRATES_IO)), "");
        let found = violations_of(package("a", Some("MPL-2.0"), CRATES_IO));
        assert!(found.contains("MPL-2.0 is not allowed"), "{found}");
        let found = violations_of(package("cbindgen", Some("GPL-3.0-only"), CRATES_IO));
        assert!(found.contains("GPL-3.0-only is not allowed"), "{found}");
    }

    #[test]
    fn an_exception_for_what_is_gone_is_refused() {
        let file = crate::root().join("deny.toml");
        let policy = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let found = violations(&policy, &[]).unwrap().join("\n");
        assert!(found.contains("an exception for cbindgen, which is no dependency"), "{found}");
    }

    #[test]
    fn a_crate_without_a_licence_is_refused() {
        let found = violations_of(package("a", None, CRATES_IO));
        assert!(found.contains("states no licence"), "{found}");
    }

    #[test]
    fn a_git_dependency_is_refused() {
        let found = violations_of(package("a", Some("MIT"), "git+https://example.org/a#0123"));
        assert!(found.contains("not from an allowed registry"), "{found}");
    }

    #[test]
    fn a_banned_crate_is_refused_with_the_reason() {
        let found = violations_of(package("openssl-sys", Some("MIT"), CRATES_IO));
        assert!(found.contains("TLS is rustls"), "{found}");
    }

    #[test]
    fn two_versions_of_a_crate_are_seen() {
        let mut newer = package("a", Some("MIT"), CRATES_IO);
        newer.version = "2.0.0".to_owned();
        let packages = [package("a", Some("MIT"), CRATES_IO), newer];
        assert_eq!(duplicates(&packages)["a"], ["1.0.0", "2.0.0"]);
    }
}
