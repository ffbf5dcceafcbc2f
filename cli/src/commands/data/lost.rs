//! What is lost, in words.

use micro::data::Damage;

/// What is lost, in words.
pub(super) fn lost(damage: &Damage) -> String {
    let Damage { from, to, topics, .. } = damage;
    let numbers = match to - from {
        0 => return "no record".to_owned(),
        1 => format!("record {from}"),
        _ => format!("records {from} to {}", to - 1),
    };
    let topics: Vec<_> =
        topics.iter().map(|(topic, count)| format!("{count} of {topic}")).collect();
    match topics.is_empty() {
        true => numbers,
        false => format!("{numbers}: {}", topics.join(", ")),
    }
}
