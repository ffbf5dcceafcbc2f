//! Brokers, stores and other engines that are crates of their own, known to every binding by their schemes. Each is a feature of
//! this crate, and all are on unless they are turned off.

/// What makes an engine known.
type Provide = fn() -> micro::Result<()>;

const ENGINES: &[Provide] = &[
    #[cfg(feature = "etcd")]
    micro_etcd::provide,
    #[cfg(feature = "nats")]
    micro_nats::provide,
    #[cfg(feature = "postgres")]
    micro_postgres::provide,
    #[cfg(feature = "redis")]
    micro_redis::provide,
    #[cfg(feature = "sqlite")]
    micro_sqlite::provide,
];

/// Makes them known. What the process has provided itself under one of the names stays as it is.
pub(crate) fn provide() {
    for engine in ENGINES {
        if let Err(error) = engine() {
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
        let brokers: &[(&str, bool)] = &[
            ("nats://", cfg!(feature = "nats")),
            ("jetstream://", cfg!(feature = "nats")),
            ("redis://", cfg!(feature = "redis")),
            ("rediss://", cfg!(feature = "redis")),
        ];
        for (url, is_built_in) in brokers {
            match micro::broker::connect(url) {
                Ok(broker) => assert!(*is_built_in && url.starts_with(broker.name()), "{url}"),
                Err(error) => assert!(!is_built_in, "{url}: {error}"),
            }
        }
        let stores: &[(&str, bool)] = &[
            ("postgres://", cfg!(feature = "postgres")),
            ("postgresql://", cfg!(feature = "postgres")),
            ("cockroach://", cfg!(feature = "postgres")),
            ("etcd://", cfg!(feature = "etcd")),
            ("redis://", cfg!(feature = "redis")),
            ("rediss://", cfg!(feature = "redis")),
            ("sqlite:///tmp/x.db", cfg!(feature = "sqlite")),
        ];
        for (url, is_built_in) in stores {
            match micro::store::connect(url) {
                Ok(store) => assert!(*is_built_in && url.starts_with(store.name()), "{url}"),
                Err(error) => assert!(!is_built_in, "{url}: {error}"),
            }
        }
        for runtime in runtimes {
            runtime.free();
        }
    }
}
