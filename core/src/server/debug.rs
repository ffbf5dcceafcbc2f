//! go-micro's `Debug` endpoints (wire reference 11): callable on every service, never advertised.

use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use super::admission::Pressure;
use super::endpoint::Endpoint;
use super::health::Health;
use crate::proto::debug::{
    EndpointLoad, HealthRequest, HealthResponse, LoadRequest, LoadResponse, StatsRequest,
    StatsResponse,
};
use crate::telemetry::Metrics;

static STARTED: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// Makes what this file shares in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    LazyLock::force(&STARTED);
}

pub(super) fn endpoints(
    metrics: Arc<Metrics>,
    health: Health,
    pressure: Pressure,
) -> [Endpoint; 3] {
    warm_up();
    [
        Endpoint::unary("Debug.Health", move |_, _: HealthRequest| {
            // go-micro knows only `ok`; a service that drains says so.
            let status = if health.is_serving("") == Some(false) { "stopping" } else { "ok" };
            async move { Ok(HealthResponse { status: status.to_owned() }) }
        })
        .internal(),
        Endpoint::unary("Debug.Stats", move |_, _: StatsRequest| {
            let stats = stats(&metrics);
            async move { Ok(stats) }
        })
        .internal(),
        Endpoint::unary("Debug.Load", move |_, _: LoadRequest| {
            let load = load(&pressure);
            async move { Ok(load) }
        })
        .internal(),
    ]
}

fn stats(metrics: &Metrics) -> StatsResponse {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = SystemTime::now();
    let (requests, errors) = metrics.totals();
    let (memory, threads) = usage();
    StatsResponse {
        timestamp: seconds(now),
        started: seconds(*STARTED),
        uptime: now.duration_since(*STARTED).unwrap_or_default().as_secs(),
        memory,
        threads,
        gc: 0,
        requests,
        errors,
    }
}

fn load(pressure: &Pressure) -> LoadResponse {
    let endpoints = pressure.gates.loads().into_iter().map(|load| EndpointLoad {
        endpoint: load.endpoint.into(),
        in_flight: load.in_flight,
        limit: load.limit.unwrap_or_default(),
        shed: load.shed,
    });
    LoadResponse {
        in_flight: pressure.admission.in_flight.count() as u64,
        shed: pressure.shed(),
        endpoints: endpoints.collect(),
    }
}

/// Resident bytes and threads of this process; zero where the system does not say.
fn usage() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or_default()
    };
    (field("VmRSS:") * 1024, field("Threads:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_count_calls_and_name_real_resources() {
        let metrics = Metrics::default();
        let edge = metrics.edge("", "greeter", "Greeter.Hello");
        crate::telemetry::Measured::begin(edge).finish(None);
        let stats = stats(&metrics);
        assert_eq!((stats.requests, stats.errors), (1, 0));
        assert!(stats.timestamp >= stats.started && stats.started > 1_600_000_000);
        if cfg!(target_os = "linux") {
            assert!(stats.memory > 0 && stats.threads > 0);
        }
    }
}
