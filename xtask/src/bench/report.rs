//! The table people read and the file programs read.

use std::fmt::Write;
use std::path::Path;

use super::row::{Bound, Judged, Row};
use crate::Outcome;

const INTRODUCTION: &str = "\
# Benchmarks

Written by `make bench` (`cargo xtask bench`). Every row compares two programs measured by turns in
the same run; the figures are medians, the lowest and highest round in brackets. *Ratio* is the
median of the rounds' own ratios, so a machine that slows down for a while changes both halves of
it. *CPU* is our processor time per request divided by the peer's: below 1 we need less.
The peer is a bare tonic service or client; both sides have the same messages, the same half of the
cores and as many worker threads, and the other half serves the other end of the connection.
`cargo xtask bench --noise` measures the peer against itself and shows what differences mean nothing.
";

/// One line for the terminal while the run goes on.
pub(crate) fn line(row: &Row) -> String {
    let ratio = row.ratio.map(|ratio| format!(", ratio {ratio:.3}")).unwrap_or_default();
    let spread = row.ratio_range.map(|range| format!(" {}", span(range))).unwrap_or_default();
    let cpu = row.cpu_ratio.map(|ratio| format!(", cpu ratio {ratio:.3}")).unwrap_or_default();
    let figure = |side: Option<f64>| side.map_or("-".to_owned(), number);
    let verdict = verdict(row);
    let (ours, peer) = (figure(row.ours), figure(row.peer));
    format!("{}: ours {ours}, peer {peer} {}{ratio}{spread}{cpu} ({verdict})", row.id, row.unit)
}

/// The table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| row | unit | ours | peer | ratio | CPU | target | met |\n|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let cpu = row.cpu_ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
        // Writing to a string does not fail.
        let _ = writeln!(
            table,
            "| {} (`{}`) | {} | {} | {} | {} | {cpu} | {} | {} |",
            row.title,
            row.id,
            row.unit,
            cell(row.ours, row.ours_range),
            cell(row.peer, row.peer_range),
            cell(row.ratio, row.ratio_range),
            target(row),
            verdict(row),
        );
    }
    table
}

/// Writes `benchmarks.md` and `benchmarks.json` to `folder`.
pub(crate) fn write(folder: &Path, rows: &[Row]) -> Outcome {
    std::fs::create_dir_all(folder)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rounds = rows.iter().map(|row| row.rounds).max().unwrap_or_default();
    let text = format!(
        "{INTRODUCTION}\nThis run: {rounds} rounds on {cores} cores of {}.\n\n{}",
        processor(),
        table(rows)
    );
    std::fs::write(folder.join("benchmarks.md"), text)?;
    let json = serde_json::to_string_pretty(rows)?;
    std::fs::write(folder.join("benchmarks.json"), format!("{json}\n"))?;
    println!("wrote {}", folder.join("benchmarks.{md,json}").display());
    Ok(())
}

fn processor() -> String {
    let described = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    described
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn verdict(row: &Row) -> String {
    match (&row.error, row.met) {
        (Some(error), _) => format!("failed: {}", error.lines().next().unwrap_or_default()),
        (None, Some(true)) => "yes".to_owned(),
        (None, Some(false)) => "**no**".to_owned(),
        (None, None) => "not judged".to_owned(),
    }
}

fn target(row: &Row) -> String {
    let sign = match row.bound {
        Bound::Lower => "≥",
        Bound::Upper => "≤",
    };
    match row.judged {
        Judged::Ratio => format!("ratio {sign} {}", row.target),
        Judged::Difference => format!("adds {sign} {} {}", row.target, row.unit),
        Judged::Ours => format!("ours {sign} {} {}", row.target, row.unit),
    }
}

fn cell(median: Option<f64>, range: Option<[f64; 2]>) -> String {
    match (median, range) {
        (Some(median), Some(range)) => format!("{} {}", number(median), span(range)),
        _ => "–".to_owned(),
    }
}

fn span([low, high]: [f64; 2]) -> String {
    format!("[{}–{}]", number(low), number(high))
}

/// As many digits as mean something.
fn number(figure: f64) -> String {
    let digits = match figure.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 3,
    };
    format!("{figure:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::super::row::{Goal, Round, Sample, Spec};
    use super::*;

    const SPEC: Spec =
        Spec { id: "client.latency", title: "Latency", unit: "us", goal: Goal::adds_at_most(10.0) };

    fn measured() -> Row {
        let sample = |value| Sample { value, cpu_us: Some(value / 2.0) };
        Row::measured(&SPEC, &[Round { ours: sample(60.0), peer: Some(sample(48.0)) }], true)
    }

    #[test]
    fn a_missed_target_is_seen_in_the_table() {
        let table = table(&[measured()]);
        assert!(table.contains("| 60.0 [60.0–60.0] | 48.0 [48.0–48.0] |"), "{table}");
        assert!(table.contains("| adds ≤ 10 us | **no** |"), "{table}");
    }

    #[test]
    fn a_failed_row_says_why() {
        let table = table(&[Row::failed(&SPEC, "h2load is missing".to_owned())]);
        assert!(table.contains("failed: h2load is missing"), "{table}");
    }

    #[test]
    fn the_file_for_programs_says_which_way_a_target_counts() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[measured()]).unwrap();
        let text = std::fs::read_to_string(folder.path().join("benchmarks.json")).unwrap();
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(rows[0]["id"], "client.latency");
        assert_eq!(rows[0]["bound"], "upper");
        assert_eq!(rows[0]["judged"], "difference");
        assert_eq!(rows[0]["met"], false);
        assert_eq!(rows[0]["ratio"], 1.25);
    }
}
