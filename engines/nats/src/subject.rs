//! Topics as subjects.
//!
//! A plain topic is its own subject. What a subject cannot hold is percent-encoded: white space, empty tokens, `$` in front, which
//! the server keeps for itself, tokens that would be wildcards, and `%` where it could be read as such.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

/// The subject to which messages of `topic` are published.
pub(crate) fn published(topic: &str) -> String {
    encode(topic, false)
}

/// The subject of a subscription to `topic`, in which the tokens `*` and a last `>` are wildcards.
pub(crate) fn subscribed(topic: &str) -> String {
    encode(topic, true)
}

/// Whether a subscription to `topic` is one to more than that topic.
pub(crate) fn is_pattern(topic: &str) -> bool {
    wildcards(&tokens(topic)).any(|is_one| is_one)
}

/// Whether messages of `topic` go to a subscription to `pattern`.
pub(crate) fn matches(pattern: &str, topic: &str) -> bool {
    let (pattern, topic) = (subscribed(pattern), published(topic));
    let mut tokens = topic.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// The topic of a subject; `None` for what is no text.
pub(crate) fn topic(subject: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(subject).decode_utf8().ok()
}

/// The tokens of a topic. A dot that would leave an empty one belongs to the token beside it.
fn tokens(topic: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut begin = 0;
    for (at, _) in topic.match_indices('.') {
        if at > begin && at + 1 < topic.len() {
            tokens.push(&topic[begin..at]);
            begin = at + 1;
        }
    }
    tokens.push(&topic[begin..]);
    tokens
}

/// For each token, whether it is a wildcard.
fn wildcards<'a>(tokens: &'a [&'a str]) -> impl Iterator<Item = bool> + 'a {
    let last = tokens.len() - 1;
    tokens.iter().enumerate().map(move |(at, token)| *token == "*" || (*token == ">" && at == last))
}

fn encode(topic: &str, has_wildcards: bool) -> String {
    let mut subject = String::with_capacity(topic.len());
    let tokens = tokens(topic);
    for ((at, token), is_wildcard) in tokens.iter().enumerate().zip(wildcards(&tokens)) {
        if at > 0 {
            subject.push('.');
        }
        if is_wildcard && has_wildcards {
            subject.push_str(token);
            continue;
        }
        let is_special = matches!(*token, "*" | ">");
        for (place, letter) in token.char_indices() {
            let is_encoded = is_special
                || letter == '.'
                || letter.is_whitespace()
                || (letter == '$' && at == 0 && place == 0)
                || (letter == '%' && is_escape(&token[place..]));
            if is_encoded {
                let mut bytes = [0; 4];
                for byte in letter.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(subject, "%{byte:02X}");
                }
            } else {
                subject.push(letter);
            }
        }
    }
    subject
}

/// Whether `text` begins with what is read as an encoded byte.
fn is_escape(text: &str) -> bool {
    let mut bytes = text.bytes().skip(1);
    matches!((bytes.next(), bytes.next()), (Some(a), Some(b)) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_topic_is_its_own_subject_and_any_other_comes_back_as_it_was() {
        for plain in
            ["orders", "orders.paid.eu", "go.micro.topic-x_y", "a%b", "100%", "ü/日本", "a*", ">>"]
        {
            assert_eq!(published(plain), plain);
        }
        for (odd, subject) in [
            ("a b", "a%20b"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            (".a", "%2Ea"),
            ("a.", "a%2E"),
            ("a..b", "a.%2Eb"),
            ("a...", "a.%2E%2E"),
            ("a.*.b", "a.%2A.b"),
            ("*", "%2A"),
            ("a.>", "a.%3E"),
            ("a%2Eb", "a%252Eb"),
            ("$JS.API.STREAM.DELETE.x", "%24JS.API.STREAM.DELETE.x"),
            ("a.$b", "a.$b"),
            ("a\u{a0}b", "a%C2%A0b"),
        ] {
            assert_eq!(published(odd), subject, "{odd}");
        }
        for odd in
            ["%", "%%2", "%2", "%%20", "% 1", "....", "a..*..b", ".>", "*.", "%2%41", "$", "%25"]
        {
            let subject = published(odd);
            assert_eq!(topic(&subject).as_deref(), Some(odd), "{subject}");
            let is_one = subject.split('.').all(|token| !matches!(token, "" | "*" | ">"));
            assert!(is_one, "{odd}: {subject}");
        }
    }

    #[test]
    fn wildcards_are_those_of_subscriptions() {
        for (pattern, subject) in [
            ("*", "*"),
            ("a.*.b", "a.*.b"),
            ("a.>", "a.>"),
            (">", ">"),
            ("a.>.b", "a.%3E.b"),
            ("*.", "*%2E"),
        ] {
            assert_eq!(subscribed(pattern), subject);
            assert_eq!(is_pattern(pattern), !subject.contains('%'), "{pattern}");
        }
        for (pattern, topic, does) in [
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.*.dead", "a.b.dead", true),
            ("a", "a.dead", false),
            (">", "x", true),
        ] {
            assert_eq!(matches(pattern, topic), does, "{pattern} {topic}");
        }
    }
}
