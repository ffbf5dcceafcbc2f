//! Scenarios as they are written down.

use std::path::Path;

use serde::Deserialize;
use toml::Value;

use super::Outcome;
use super::step::Step;
use super::variables::{Variables, fill, fill_text};

/// Something a client and a server do together, step by step.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Topic and name, such as `unary/bytes-come-back`.
    pub name: String,
    /// The name before variants were told apart, such as `errors/$name-arrives`.
    pub family: String,
    /// Nothing else may run meanwhile.
    pub alone: bool,
    /// Steps with what stands for `$…` still in them, but for that of the variant.
    pub(super) steps: Vec<Value>,
    /// It starts servers of its own.
    pub(super) own_servers: bool,
    /// It starts a client of its own.
    pub(super) own_client: bool,
}

/// A file of scenarios.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Template>,
}

/// A scenario, or one for each of several variants.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    name: String,
    #[serde(default)]
    alone: bool,
    /// Variables of each variant.
    #[serde(default)]
    each: Vec<Variables>,
    steps: Vec<Value>,
}

/// Every scenario of a folder, by topic.
///
/// # Errors
/// When a file cannot be read, a step is not one, or two scenarios have one name.
pub fn load(folder: &Path) -> Outcome<Vec<Scenario>> {
    let mut paths = std::fs::read_dir(folder)
        .map_err(|error| format!("cannot read {}: {error}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    let mut scenarios: Vec<Scenario> = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|ext| ext == "toml")) {
        let topic = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let told = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|error| told(error.to_string()))?;
        for template in file.scenario {
            for scenario in template.variants(&topic).map_err(told)? {
                if scenarios.iter().any(|known| known.name == scenario.name) {
                    return Err(told(format!("two scenarios are called {}", scenario.name)).into());
                }
                scenarios.push(scenario);
            }
        }
    }
    Ok(scenarios)
}

impl Template {
    fn variants(self, topic: &str) -> Result<Vec<Scenario>, String> {
        let family = format!("{topic}/{}", self.name);
        let plain = [Variables::new()];
        let each = if self.each.is_empty() { &plain[..] } else { &self.each };
        let variant = |variables| {
            let name = fill_text(&family, variables);
            if name.contains([' ', '$']) {
                return Err(format!("the name `{name}` has a space or an unknown variable"));
            }
            let steps: Vec<Value> = self.steps.iter().map(|step| fill(step, variables)).collect();
            let (mut own_servers, mut own_client) = (false, false);
            for step in &steps {
                match Step::read(step).map_err(|error| format!("{name}: {error}"))? {
                    Step::Start(_) => own_servers = true,
                    Step::Client(_) => own_client = true,
                    _ => {}
                }
            }
            Ok(Scenario {
                name,
                family: family.clone(),
                alone: self.alone,
                steps,
                own_servers,
                own_client,
            })
        };
        each.iter().map(variant).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: &str) -> Outcome<Vec<Scenario>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("topic.toml"), text).unwrap();
        load(folder.path())
    }

    #[test]
    fn each_variant_is_a_scenario() {
        let scenarios = write(
            "[[scenario]]\nname = 'a-$n'\neach = [{ n = '1' }, { n = '2' }]\n\
             steps = [{ close = { id = '$n' } }]",
        )
        .unwrap();
        let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
        assert_eq!(names, ["topic/a-1", "topic/a-2"]);
        assert_eq!(scenarios[1].steps[0]["close"]["id"].as_str(), Some("2"));
    }

    #[test]
    fn mistakes_are_told_with_the_file_and_the_scenario() {
        let error = write("[[scenario]]\nname = 'a'\nsteps = [{ close = { idd = '1' } }]");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("topic.toml") && error.contains("idd"), "{error}");
        let twice = "[[scenario]]\nname = 'a'\nsteps = []\n".repeat(2);
        assert!(write(&twice).unwrap_err().to_string().contains("two scenarios"));
    }

    #[test]
    fn the_scenarios_of_this_suite_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let scenarios = load(&folder).unwrap();
        assert!(scenarios.len() >= 60, "only {}", scenarios.len());
    }
}
