//! What is said about a message that is given up.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Message;

/// Headers of dead letters.
pub(super) const TOPIC: &str = "micro-dead-topic";
pub(super) const QUEUE: &str = "micro-dead-queue";
pub(super) const ATTEMPTS: &str = "micro-dead-attempts";
pub(super) const REASON: &str = "micro-dead-reason";
/// Letters of a reason.
const LETTERS: usize = 500;

impl Message {
    /// The dead letter of this message, for the topic `to`. Its headers say why it is one (`micro-dead-reason`, at most 500
    /// letters), from where (`micro-dead-topic`, and `micro-dead-queue` if there was one) and after how many attempts
    /// (`micro-dead-attempts`); what no header can hold is percent-encoded. It has no terms any more but its key.
    #[must_use]
    pub fn into_dead_letter(
        self,
        to: &str,
        queue: Option<&str>,
        attempts: u32,
        reason: &str,
    ) -> Self {
        let from = self.topic;
        let mut dead = Self { topic: to.to_owned(), due: None, expires: None, ..self };
        let attempts = attempts.to_string();
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(LETTERS).collect();
        for (name, value) in [
            (TOPIC, from.as_str()),
            (QUEUE, queue.unwrap_or_default()),
            (ATTEMPTS, attempts.as_str()),
            (REASON, reason.as_str()),
        ] {
            put(&mut dead, name, value);
        }
        dead
    }
}

/// A header, in a form that a header can have. Of a message with more names than fit, it is not said.
pub(super) fn put(message: &mut Message, name: &str, value: &str) {
    message.headers.remove(name);
    let is_plain = value.chars().all(|c| c.is_ascii() && !c.is_ascii_control() && c != '%');
    let value = if is_plain { value.to_owned() } else { encoded(value) };
    if !value.is_empty() {
        let _ = message.headers.insert(name, &value);
    }
}

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_says_what_became_of_its_message() {
        let mut message = Message::new("orders: ü", "7");
        message.headers.insert("tenant", "blue").unwrap();
        message.key = Some("7".into());
        let long = format!("no\r\n{}", "x".repeat(600));
        let dead = message.delay(std::time::Duration::ZERO).into_dead_letter("d", None, 3, &long);
        assert_eq!((dead.topic.as_str(), &dead.body[..], dead.due), ("d", &b"7"[..], None));
        assert_eq!(dead.key.as_deref(), Some("7"));
        let header = |name| dead.headers.get(name);
        assert_eq!(header("micro-dead-topic"), Some("orders%3A%20%C3%BC"));
        assert_eq!(header("micro-dead-queue"), None);
        assert_eq!(header("micro-dead-attempts"), Some("3"));
        assert_eq!(header("micro-dead-reason"), Some(&*format!("no{}", "x".repeat(498))));
        assert_eq!(header("tenant"), Some("blue"));
    }
}
