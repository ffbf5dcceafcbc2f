//! Brokers, stores and other engines that are crates of their own, known to every binding by their schemes.

/// Makes them known. What the process has provided itself under one of the names stays as it is.
pub(crate) fn provide() {
    for provided in [
        micro_nats::provide(),
        micro_postgres::provide(),
        micro_redis::provide(),
        micro_sqlite::provide(),
    ] {
        if let Err(error) = provided {
            tracing::debug!(%error, "an engine was provided before");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::Runtime;

    #[test]
    fn whoever_has_a_runtime_knows_the_engines_by_their_urls() {
        let runtimes = [Runtime::new("").unwrap(), Runtime::new("").unwrap()];
        for url in ["nats://", "jetstream://", "redis://", "rediss://"] {
            let broker = micro::broker::connect(url).unwrap();
            assert!(url.starts_with(broker.name()), "{url}: {broker:?}");
        }
        for url in ["postgres://", "postgresql://", "cockroach://", "sqlite:///tmp/x.db"] {
            let store = micro::store::connect(url).unwrap();
            assert!(url.starts_with(store.name()), "{url}: {store:?}");
        }
        for runtime in runtimes {
            runtime.free();
        }
    }
}
