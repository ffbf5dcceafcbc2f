//! How an error is shown: a sentence for people, its fields for programmers.

use std::fmt;

use super::Error;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.detail)?;
        if !self.0.id.is_empty() {
            write!(f, " [{}]", self.0.id)?;
        }
        if let Some(origin) = &self.0.origin {
            write!(f, " (calling {} {}", origin.service, origin.endpoint)?;
            if !origin.node.is_empty() {
                write!(f, " on {}", origin.node)?;
            }
            if origin.attempts != 1 {
                write!(f, ", {} attempts", origin.attempts)?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// The sentence, since that is what a `main` that returns an error prints; `{:#?}` shows the fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return fmt::Display::fmt(self, f);
        }
        let mut out = f.debug_struct("Error");
        out.field("code", &self.0.code).field("id", &self.0.id).field("http", &self.0.http);
        out.field("detail", &self.0.detail).field("reach", &self.0.reach);
        if let Some(reason) = &self.0.reason {
            out.field("reason", reason);
        }
        if let Some(origin) = &self.0.origin {
            out.field("origin", origin);
        }
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_main_that_returns_an_error_prints_a_sentence() {
        let error = Error::unavailable("cannot listen on 8080: write :8080").with_id("greeter");
        assert_eq!(
            format!("{error:?}"),
            "UNAVAILABLE: cannot listen on 8080: write :8080 [greeter]"
        );
        let fields = format!("{error:#?}");
        assert!(fields.starts_with("Error {") && fields.contains("reach:"), "{fields}");
    }
}
