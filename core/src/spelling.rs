//! The name that was meant by one that does not exist.

/// Letters of a word that are looked at: a longer one is no typing error.
const LONGEST: usize = 40;

/// The one of `known` that is at most two slips away from `written`. Case, `_` and `-` do not count.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = plain(written);
    let slips = |known: &'a str| (distance(&written, &plain(known)), known);
    let (slips, known) = known.into_iter().map(slips).min()?;
    // Two slips in a word of two letters are another word.
    (slips <= 2 && slips < known.len()).then_some(known)
}

/// What `written` is called in a message: its beginning, quoted.
pub(crate) fn quoted(written: &str) -> String {
    format!("{:?}", written.chars().take(LONGEST).collect::<String>())
}

fn plain(word: &str) -> Vec<char> {
    let letters = word.chars().filter(|letter| !matches!(letter, '_' | '-'));
    letters.take(LONGEST).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Letters to insert, remove or replace on the way from one word to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 0..to.len() {
            let replaced = diagonal + usize::from(to[column] != *letter);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(written: &str) -> Option<&'static str> {
        nearest(written, ["address", "max_connections", "grace"])
    }

    #[test]
    fn slips_and_the_spelling_of_other_languages_are_forgiven() {
        assert_eq!(meant("adress"), Some("address"));
        assert_eq!(meant("maxConnections"), Some("max_connections"));
        assert_eq!(meant("max-conections"), Some("max_connections"));
    }

    #[test]
    fn other_words_are_not_guessed_at() {
        assert_eq!(meant("timeout"), None);
        assert_eq!(meant(""), None);
        assert_eq!(meant(&"a".repeat(100_000)), None);
    }
}
