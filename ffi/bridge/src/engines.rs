//! Brokers and other engines that are crates of their own, known to every binding by their schemes.

/// Makes them known. What the process has provided itself under one of the names stays as it is.
pub(crate) fn provide() {
    if let Err(error) = micro_nats::provide() {
        tracing::debug!(%error, "NATS was provided before");
    }
}
