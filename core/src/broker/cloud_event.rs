//! CloudEvents 1.0 in binary mode: what an event says of itself is in headers, and the message is its data.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::Message;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::spelling::quoted;

/// How the names of its headers begin.
const PREFIX: &str = "ce-";
/// What is written as `%xx` in a header, beside all that is no ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
/// Attributes that have a place of their own.
const OWN: [&str; 8] =
    ["id", "source", "type", "specversion", "subject", "time", "datacontenttype", "data"];

/// What a message says of itself as an event of [CloudEvents 1.0](https://github.com/cloudevents/spec): headers such as `ce-id` and
/// `ce-type`, with the content type of the message as that of its data.
///
/// ```
/// # async fn example(client: micro::Client) -> micro::Result<()> {
/// use micro::Json;
/// use micro::broker::CloudEvent;
///
/// let event = CloudEvent::new("/shop", "com.example.order.placed").subject("7");
/// client.publish("orders", Json(7_u64)).cloud_event(event).await
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CloudEvent {
    /// Tells it from the others of its source. Unset, it is the id of the message, and a random one where that has none.
    pub id: Option<String>,
    /// Where it happened, as a reference to it, such as `/shop` or `https://example.com/shop`.
    pub source: String,
    /// What happened, such as `com.example.order.placed`: the attribute `type`.
    pub kind: String,
    /// What it happened to, within its source.
    pub subject: Option<String>,
    /// When it happened.
    pub time: Option<SystemTime>,
    /// All other attributes, such as `dataschema`, by their names of 1 to 20 lower-case letters and digits.
    pub attributes: BTreeMap<String, String>,
}

impl CloudEvent {
    /// An event that happens now.
    pub fn new(source: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            id: None,
            source: source.into(),
            kind: kind.into(),
            subject: None,
            time: Some(SystemTime::now()),
            attributes: BTreeMap::new(),
        }
    }

    /// Tells it from the others of its source.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// What it happened to, within its source.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// When it happened.
    #[must_use]
    pub fn time(mut self, time: SystemTime) -> Self {
        self.time = Some(time);
        self
    }

    /// Another attribute, such as `dataschema` or one of an extension.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// What a message says of itself.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a message that is no CloudEvent of version 1, which names what is missing or wrong. It forbids a
    /// retry: the message will not be one later.
    pub fn of(message: &Message) -> Result<Self> {
        read(&message.headers).map_err(|why| {
            let topic = quoted(&message.topic);
            Error::invalid_argument(format!("a message of {topic} is no CloudEvent: {why}"))
                .without_retry()
        })
    }

    /// As headers; `id` is for one that has none.
    pub(crate) fn write(&self, id: &str) -> Result<Metadata> {
        let mut headers = Metadata::new();
        let time = self.time.map(written).transpose()?;
        let own = [
            ("specversion", Some("1.0")),
            ("id", Some(self.id.as_deref().unwrap_or(id))),
            ("source", Some(&self.source)),
            ("type", Some(&self.kind)),
            ("subject", self.subject.as_deref()),
            ("time", time.as_deref()),
        ];
        for name in self.attributes.keys() {
            let is_name = (1..=20).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            if !is_name || OWN.contains(&name.as_str()) {
                return Err(Error::invalid_argument(format!(
                    "{} is no attribute of a CloudEvent: it has 1 to 20 lower-case letters and digits, and is none of {}",
                    quoted(name),
                    OWN.join(", ")
                )));
            }
        }
        let more =
            self.attributes.iter().map(|(name, value)| (name.as_str(), Some(value.as_str())));
        for (name, value) in own.into_iter().chain(more) {
            let Some(value) = value else { continue };
            if value.is_empty() {
                return Err(Error::invalid_argument(format!(
                    "`{name}` of a CloudEvent is empty: give it a text, or leave it out if it may be missing"
                )));
            }
            let value = utf8_percent_encode(value, ENCODED).to_string();
            headers.insert(&format!("{PREFIX}{name}"), &value)?;
        }
        Ok(headers)
    }
}

impl Context {
    /// What the message that is being handled says of itself as a CloudEvent.
    ///
    /// # Errors
    /// As [`CloudEvent::of`], and `FAILED_PRECONDITION` where this is a call.
    pub fn cloud_event(&self) -> Result<CloudEvent> {
        match self.delivered() {
            Some(delivered) => CloudEvent::of(&delivered.message),
            None => Err(Error::failed_precondition("a call is no CloudEvent: messages may be")),
        }
    }
}

fn read(headers: &Metadata) -> std::result::Result<CloudEvent, String> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers.iter() {
        let Some(name) = name.strip_prefix(PREFIX) else { continue };
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| format!("its header {PREFIX}{name} is no UTF-8"))?;
        attributes.insert(name.to_owned(), value.into_owned());
    }
    let mut take = |name: &str| attributes.remove(name);
    let missing = |name: &str| format!("it has no header {PREFIX}{name}");
    match take("specversion") {
        Some(version) if version.starts_with("1.") => {}
        Some(version) => return Err(format!("it is of version {version}, and not of 1.0")),
        None => return Err(missing("specversion")),
    }
    let id = Some(take("id").ok_or_else(|| missing("id"))?);
    let source = take("source").ok_or_else(|| missing("source"))?;
    let kind = take("type").ok_or_else(|| missing("type"))?;
    let (subject, time) = (take("subject"), take("time"));
    let time = time.map(|text| moment(&text).ok_or(format!("its time {text} is none of RFC 3339")));
    Ok(CloudEvent { id, source, kind, subject, time: time.transpose()?, attributes })
}

const DAY: u64 = 24 * 60 * 60;
/// Days from the first of March of the year 0 to 1970.
const TO_1970: i64 = 719_468;

/// A time of the years 1970 to 9999 as RFC 3339 has it, in UTC.
fn written(time: SystemTime) -> Result<String> {
    let since =
        time.duration_since(UNIX_EPOCH).ok().filter(|since| since.as_secs() < 253_402_300_800);
    let since = since.ok_or_else(|| {
        Error::invalid_argument("the time of a CloudEvent is one of the years 1970 to 9999")
    })?;
    let (days, second) = (since.as_secs() / DAY, since.as_secs() % DAY);
    // Years begin in March, so that the day that not every year has is the last.
    let days = days as i64 + TO_1970;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + next;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let millis = since.subsec_millis();
    Ok(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"))
}

/// The time that a text of RFC 3339 says.
fn moment(text: &str) -> Option<SystemTime> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let bytes = text.as_bytes();
    let is_apart = |at: usize, among: &[u8]| bytes.get(at).is_some_and(|byte| among.contains(byte));
    if !(is_apart(4, b"-")
        && is_apart(7, b"-")
        && is_apart(10, b"Tt ")
        && is_apart(13, b":")
        && is_apart(16, b":"))
    {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month)
        || !(1..=last).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let rest = text.get(19..)?;
    let end = rest.find(|letter: char| letter != '.' && !letter.is_ascii_digit())?;
    let (fraction, zone) = rest.split_at(end);
    let nanos = match fraction.strip_prefix('.') {
        None if fraction.is_empty() => 0,
        Some(digits) if (1..=9).contains(&digits.len()) => format!("{digits:0<9}").parse().ok()?,
        _ => return None,
    };
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let at = 19 + end;
            let sign = match bytes.get(at)? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            if !is_apart(at + 3, b":") || text.len() != at + 6 || hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 3600 + minutes * 60) as i64
        }
    };
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days as i64 - TO_1970;
    let seconds = days * DAY as i64 + (hour * 3600 + minute * 60 + second) as i64 - offset;
    match u64::try_from(seconds) {
        Ok(seconds) => UNIX_EPOCH.checked_add(Duration::new(seconds, nanos)),
        Err(_) => UNIX_EPOCH
            .checked_sub(Duration::from_secs(seconds.unsigned_abs()))?
            .checked_add(Duration::new(0, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn at(seconds: u64, millis: u32) -> SystemTime {
        UNIX_EPOCH + Duration::new(seconds, millis * 1_000_000)
    }

    #[test]
    fn an_event_reads_as_it_was_written() {
        let event = CloudEvent::new("/shop/Köln", "order \"placed\"")
            .id("7%")
            .subject("a b")
            .time(at(1_709_210_096, 7))
            .attribute("dataschema", "https://example.com/order");
        let mut message = Message::new("orders", "7");
        message.headers = event.write("unused").unwrap();
        let header = |name| message.headers.get(name);
        assert_eq!(header("ce-specversion"), Some("1.0"));
        assert_eq!(header("ce-source"), Some("/shop/K%C3%B6ln"));
        assert_eq!(header("ce-type"), Some("order%20%22placed%22"));
        assert_eq!((header("ce-id"), header("ce-subject")), (Some("7%25"), Some("a%20b")));
        assert_eq!(header("ce-time"), Some("2024-02-29T12:34:56.007Z"));
        assert_eq!(CloudEvent::of(&message), Ok(event));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_868_799, "2000-02-29T23:59:59.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(written(at(seconds, 0)).unwrap(), text);
            assert_eq!(moment(text), Some(at(seconds, 0)), "{text}");
        }
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let time = at(random.u64(..253_402_300_800), random.u32(..1000));
            assert_eq!(moment(&written(time).unwrap()), Some(time));
        }
        assert!(written(at(253_402_300_800, 0)).is_err());
        assert!(written(UNIX_EPOCH - Duration::from_secs(1)).is_err());
        for (text, same) in [
            ("2024-02-29T12:34:56Z", "2024-02-29t12:34:56.000z"),
            ("2024-02-29T12:34:56+02:30", "2024-02-29T10:04:56Z"),
            ("2024-03-01T00:30:00-01:00", "2024-03-01T01:30:00.0Z"),
        ] {
            assert!(moment(text).is_some() && moment(text) == moment(same), "{text}");
        }
        assert_eq!(moment("1969-12-31T23:59:59.5Z"), Some(UNIX_EPOCH - Duration::from_millis(500)));
        for text in [
            "",
            "2024",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+0100",
            "2024-01-01T00:00:00Zx",
            "2024-01-01T00:00:00+01:0ü",
            "+024-01-01T00:00:00Z",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_event_is_told_by_what_it_lacks() {
        let good = CloudEvent::new("/shop", "placed").write("1").unwrap();
        for (name, value, hint) in [
            ("ce-specversion", "", "no header ce-specversion"),
            ("ce-specversion", "0.3", "of version 0.3"),
            ("ce-id", "", "no header ce-id"),
            ("ce-source", "", "no header ce-source"),
            ("ce-type", "", "no header ce-type"),
            ("ce-time", "yesterday", "yesterday is none of RFC 3339"),
            ("ce-subject", "%ff", "no UTF-8"),
        ] {
            let mut message = Message::new("orders", "");
            message.headers = good.clone();
            message.headers.remove(name);
            if !value.is_empty() {
                message.headers.insert(name, value).unwrap();
            }
            let error = CloudEvent::of(&message).unwrap_err();
            assert!(error.detail().contains(hint), "{error}");
            assert!(error.code() == Code::InvalidArgument && error.forbids_retry());
        }
        for event in [
            CloudEvent::new("", "placed"),
            CloudEvent::new("/shop", ""),
            CloudEvent::new("/shop", "placed").id(""),
            CloudEvent::new("/shop", "placed").attribute("time", "now"),
            CloudEvent::new("/shop", "placed").attribute("a-b", "c"),
        ] {
            assert_eq!(event.write("1").unwrap_err().code(), Code::InvalidArgument, "{event:?}");
        }
    }
}
