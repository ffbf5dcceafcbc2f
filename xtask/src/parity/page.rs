//! The tables of the page. What stands around them is written by hand.

use std::fmt::Write as _;

use super::table::{Area, Row, Status, Table};

/// The page with its tables written anew.
///
/// # Errors
/// Where a pair of marks is missing.
pub(super) fn with_tables(page: &str, table: &Table) -> Result<String, String> {
    let page = between(page, "counts", &summary(table))?;
    between(&page, "rows", &rows(table))
}

/// Replaces what stands between the lines `<!-- begin NAME -->` and `<!-- end NAME -->`.
fn between(page: &str, name: &str, text: &str) -> Result<String, String> {
    let mark = |word: &str| format!("<!-- {word} {name} -->\n");
    let (begin, end) = (mark("begin"), mark("end"));
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) =
        parts.ok_or_else(|| format!("put the tables between {begin} and {end}"))?;
    Ok(format!("{before}{begin}{text}{end}{after}"))
}

/// A line for the terminal.
pub(super) fn counts(table: &Table) -> String {
    let [yes, differs, no] = by_status(table.rows());
    format!("{} rows: {yes} yes, {differs} differ, {no} no", yes + differs + no)
}

fn by_status<'a>(rows: impl Iterator<Item = &'a Row>) -> [usize; 3] {
    rows.fold([0; 3], |mut counts, row| {
        counts[row.status as usize] += 1;
        counts
    })
}

fn summary(table: &Table) -> String {
    let mut text = "| area | yes | differs | no |\n|---|---:|---:|---:|\n".to_owned();
    let mut line = |name: &str, [yes, differs, no]: [usize; 3]| {
        let _ = writeln!(text, "| {name} | {yes} | {differs} | {no} |");
    };
    for area in &table.area {
        line(&format!("[{}](#{})", area.name, anchor(&area.name)), by_status(area.row.iter()));
    }
    line("all", by_status(table.rows()));
    text
}

/// The anchor that a heading has: small letters, with dashes for spaces.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn rows(table: &Table) -> String {
    let mut text = String::new();
    for area in &table.area {
        let _ = write!(
            text,
            "\n### {}\n\n| row | in go-micro | here | |\n|---|---|---|---|\n",
            area.name
        );
        for row in &area.row {
            text.push_str(&line(area, row));
        }
    }
    text
}

fn line(area: &Area, row: &Row) -> String {
    let here = match row.status {
        Status::Yes => "yes",
        Status::Differs => "differs",
        Status::No => "no",
    };
    let cell = |text: &str| text.replace('|', "\\|");
    format!("| {} | {} | {here} | {} |\n", row.id, cell(&row.title), cell(row.remark(area)))
}
