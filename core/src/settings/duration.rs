//! Durations as people write them.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::spelling::quoted;

/// Longest of them: clocks of some platforms overflow when much more is added.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

const UNITS: [(&str, f64); 4] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Reads `250ms`, `5s`, `1.5s`, `1m` or `2h`; at most 366 days.
///
/// ```
/// # use std::time::Duration;
/// assert_eq!(micro::settings::duration("1.5s")?, Duration::from_millis(1500));
/// # Ok::<(), micro::Error>(())
/// ```
///
/// # Errors
/// `INVALID_ARGUMENT` for anything else, with a right one.
pub fn duration(text: &str) -> Result<Duration> {
    bounded(text)?.ok_or_else(|| wrong(text, "is too long: write at most 366 days, \"8784h\""))
}

/// The same; `None` for what is too long.
pub(super) fn bounded(text: &str) -> Result<Option<Duration>> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number.parse::<f64>().ok();
    let unit = UNITS.iter().find(|(name, _)| *name == unit);
    let (Some(number), Some((_, seconds))) = (number, unit) else {
        let why = "is no duration: write for example \"250ms\", \"1.5s\" or \"1m\"";
        return Err(wrong(text, why));
    };
    let duration = Duration::try_from_secs_f64(number * seconds).ok();
    Ok(duration.filter(|duration| *duration <= LONGEST))
}

/// A duration as a document has it.
pub(crate) fn written(duration: Duration) -> String {
    match (duration, duration.subsec_nanos()) {
        (Duration::MAX, _) => "none".to_owned(),
        (_, 0) => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_secs_f64() * 1000.0),
    }
}

fn wrong(text: &str, why: &str) -> Error {
    Error::invalid_argument(format!("{} {why}", quoted(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn numbers_have_a_unit_and_may_have_a_fraction() {
        for (text, millis) in [
            ("250ms", 250),
            ("5s", 5_000),
            ("1.5s", 1_500),
            ("0.1s", 100),
            ("1m", 60_000),
            ("2h", 7_200_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn anything_else_is_told_a_right_one() {
        let long = "9".repeat(400) + "s";
        for wrong in
            ["", "5", "s", "-1s", "+1s", "1 s", "1d", "1.2.3s", ".s", "1e3s", "NaNs", &long]
        {
            let error = duration(wrong).expect_err(wrong);
            assert_eq!(error.code(), Code::InvalidArgument, "{wrong}");
            assert!(error.detail().contains("write"), "{error}");
            assert!(error.detail().len() < 150, "{error}");
        }
        assert!(duration("8784h").is_ok() && duration("8785h").is_err());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,20}|[0-9.]{0,30}(ms|s|m|h)") {
            let _ = duration(&text);
        }
    }
}
