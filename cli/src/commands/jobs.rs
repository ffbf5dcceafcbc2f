//! `micro jobs`: when the jobs of a service run, and what became of their last runs.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use micro::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::duration;
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::output::{Format, Output, Tone};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Name of the service.
    service: String,
    /// Show the last runs of this job.
    job: Option<String>,
    /// Longest wait for a node.
    #[arg(long, value_parser = duration, default_value = "5s")]
    timeout: Duration,
}

#[derive(Deserialize)]
struct Answer {
    jobs: Vec<Job>,
}

#[derive(Serialize, Deserialize)]
struct Job {
    name: String,
    schedule: String,
    scope: String,
    /// Of those that each node runs by itself.
    #[serde(default)]
    node: Option<String>,
    next_ms: Option<u64>,
    runs: Vec<Run>,
}

#[derive(Serialize, Deserialize)]
struct Run {
    time_ms: u64,
    attempt: u32,
    node: String,
    began_ms: u64,
    took_ms: Option<u64>,
    outcome: String,
    error: Option<String>,
}

pub(crate) async fn run(
    options: &Options,
    fleet: &Fleet,
    output: &mut Output,
) -> Result<(), Failure> {
    let client = fleet.client_builder().timeout(options.timeout).build()?;
    let versions = fleet.get(&options.service).await?;
    let mut jobs: BTreeMap<(String, Option<String>), Job> = BTreeMap::new();
    for node in versions.iter().flat_map(|version| &version.nodes) {
        let asked = client.call(&options.service, "Debug.Jobs", Json(json!({})));
        let asked: Result<Json<Value>, _> = asked.address(&node.address).await;
        let told = match asked {
            Ok(Json(told)) => told,
            // The others know the jobs of the fleet as well.
            Err(error) => {
                output.message(&format!(
                    "{} does not tell of its jobs: {}",
                    node.id,
                    error.detail()
                ));
                continue;
            }
        };
        let Answer { jobs: told } = serde_json::from_value(told)
            .map_err(|error| Failure::refused(format!("{}: {error}", node.id)))?;
        for mut job in told {
            job.node = (job.scope == "node").then(|| node.id.clone());
            let known = jobs.entry((job.name.clone(), job.node.clone()));
            known
                .and_modify(|known| {
                    if known.runs.len() < job.runs.len() {
                        known.runs = std::mem::take(&mut job.runs);
                    }
                })
                .or_insert(job);
        }
    }
    let jobs: Vec<Job> = jobs.into_values().collect();
    let Some(name) = &options.job else { return all(jobs, output) };
    let jobs: Vec<Job> = jobs.into_iter().filter(|job| job.name == *name).collect();
    if jobs.is_empty() {
        let service = &options.service;
        return Err(Failure::refused(format!(
            "{service} has no job {name}: `micro jobs {service}` lists those it has"
        )));
    }
    match output.format() {
        Format::Json => output.json(&jobs)?,
        Format::Table => {
            let runs = jobs.into_iter().flat_map(|job| job.runs).map(|run| {
                [
                    (moment(run.time_ms), Tone::Plain),
                    (run.attempt.to_string(), Tone::Plain),
                    (run.node, Tone::Plain),
                    (run.took_ms.map(took).unwrap_or_default(), Tone::Plain),
                    (run.outcome.clone(), tone(&run.outcome)),
                    (run.error.unwrap_or_default(), Tone::Plain),
                ]
            });
            output.table(["TIME", "ATTEMPT", "NODE", "TOOK", "OUTCOME", "ERROR"], runs)?;
        }
    }
    Ok(())
}

fn all(jobs: Vec<Job>, output: &mut Output) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return Ok(output.json(&jobs)?);
    }
    let rows = jobs.into_iter().map(|job| {
        let last = job.runs.last();
        let outcome = last.map(|run| run.outcome.clone()).unwrap_or_default();
        [
            (job.name, Tone::Plain),
            (job.schedule, Tone::Plain),
            (job.node.unwrap_or(job.scope), Tone::Plain),
            (job.next_ms.map(moment).unwrap_or_default(), Tone::Plain),
            (last.map(|run| moment(run.time_ms)).unwrap_or_default(), Tone::Plain),
            (outcome.clone(), tone(&outcome)),
            (last.and_then(|run| run.took_ms).map(took).unwrap_or_default(), Tone::Plain),
        ]
    });
    Ok(output.table(["JOB", "SCHEDULE", "RUNS ON", "NEXT", "LAST", "OUTCOME", "TOOK"], rows)?)
}

fn tone(outcome: &str) -> Tone {
    match outcome {
        "done" => Tone::Good,
        "failed" | "lost" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// How long ago or ahead it is, which needs no calendar.
pub(crate) fn moment(millis: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    match millis.checked_sub(now) {
        Some(ahead) => format!("in {}", rough(ahead)),
        None => format!("{} ago", rough(now - millis)),
    }
}

fn rough(millis: u64) -> String {
    match millis / 1000 {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn took(millis: u64) -> String {
    format!("{:?}", Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_roughly_as_one_looks_at_them() {
        let told: Vec<_> = [0, 119_000, 120_000, 7_199_000, 7_200_000, 172_800_000]
            .into_iter()
            .map(rough)
            .collect();
        assert_eq!(told, ["0s", "119s", "2m", "119m", "2h", "2d"]);
    }
}
