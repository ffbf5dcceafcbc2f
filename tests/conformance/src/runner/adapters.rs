//! The languages there are: `adapters.toml`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::{Outcome, Scenario};

/// Every adapter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapters {
    /// In the order of the file.
    pub adapter: Vec<Adapter>,
}

/// The adapter of one language.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// Its language, as the matrix shows it.
    pub name: String,
    /// Program and arguments; the role comes after them. `$bin` is the folder of the runner's program,
    /// `$root` that of the workspace.
    pub run: Vec<String>,
    /// Program and arguments that make it, run in the root of the workspace.
    #[serde(default)]
    pub build: Vec<String>,
    /// Programs without which it cannot be built or run.
    #[serde(default)]
    pub needs: Vec<String>,
    /// It provides a registry that is written in its language.
    #[serde(default)]
    pub registry: bool,
    /// Scenarios that it leaves out.
    #[serde(default)]
    pub skip: Vec<Skip>,
}

/// A scenario that an adapter leaves out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// Its name, or that of all its variants.
    pub scenario: String,
    /// `client` or `server`; both without it.
    pub role: Option<String>,
    /// Why it makes no sense in this language.
    pub reason: String,
}

impl Adapters {
    /// Reads the file, and fills in the folders.
    ///
    /// # Errors
    /// When it cannot be read or says something unknown.
    pub fn load(path: &Path, root: &Path, bin: &Path) -> Outcome<Self> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
        let mut adapters: Self = toml::from_str(&text).map_err(|error| told(&error))?;
        for adapter in &mut adapters.adapter {
            for word in adapter.run.iter_mut().chain(&mut adapter.build) {
                *word = word
                    .replace("$bin", &bin.to_string_lossy())
                    .replace("$root", &root.to_string_lossy());
            }
        }
        Ok(adapters)
    }
}

impl Adapter {
    /// A program it needs that is not there.
    pub fn missing(&self) -> Option<&str> {
        self.needs.iter().map(String::as_str).find(|program| find(program).is_none())
    }

    /// Makes it.
    ///
    /// # Errors
    /// When that fails, with what the tools said.
    pub fn prepare(&self, root: &Path) -> Outcome {
        let Some((program, arguments)) = self.build.split_first() else { return Ok(()) };
        let told = |error: String| format!("cannot build the adapter of {}: {error}", self.name);
        let output = Command::new(program)
            .args(arguments)
            .current_dir(root)
            .output()
            .map_err(|error| told(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(told(format!("{}\n{}", output.status, String::from_utf8_lossy(&said))).into())
    }

    /// Why it leaves out a scenario in a role, if it does.
    pub fn skips(&self, scenario: &Scenario, role: &str) -> Option<&str> {
        let skip = self.skip.iter().find(|skip| {
            (skip.scenario == scenario.name || skip.scenario == scenario.family)
                && skip.role.as_deref().is_none_or(|only| only == role)
        });
        skip.map(|skip| skip.reason.as_str())
    }

    /// Complains about names of scenarios that do not exist.
    ///
    /// # Errors
    /// When there is one.
    pub fn check(&self, scenarios: &[Scenario]) -> Outcome {
        for skip in &self.skip {
            let name = &skip.scenario;
            if !scenarios.iter().any(|known| known.name == *name || known.family == *name) {
                return Err(format!("{} skips `{name}`, which is no scenario", self.name).into());
            }
        }
        Ok(())
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
