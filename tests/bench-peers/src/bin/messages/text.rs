//! Errors, which the harness only prints.

/// An error as text, which the harness prints.
pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
