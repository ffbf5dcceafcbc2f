//! Load reports of servers as gRPC knows them (ORCA): in a call's trailers, or from a stream of their own.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{Stream, stream};
use micro::{Context, Metadata, Proto, Result};
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::TestOrcaReport;

/// The endpoint that streams reports.
pub const ENDPOINT: &str = "OpenRcaService.StreamCoreMetrics";
/// The trailer with the report of a single call.
const TRAILER: &str = "endpoint-load-metrics-bin";
/// How often a report is due when the client does not say.
const INTERVAL: Duration = Duration::from_secs(30);
/// No client may ask for reports more often.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// `xds.data.orca.v3.OrcaLoadReport`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LoadReport {
    /// Share of the processors in use.
    #[prost(double, tag = "1")]
    pub cpu_utilization: f64,
    /// Share of the memory in use.
    #[prost(double, tag = "2")]
    pub mem_utilization: f64,
    /// What the call cost, by name.
    #[prost(map = "string, double", tag = "4")]
    pub request_cost: HashMap<String, f64>,
    /// Shares of other resources in use, by name.
    #[prost(map = "string, double", tag = "5")]
    pub utilization: HashMap<String, f64>,
}

/// `xds.service.orca.v3.OrcaLoadReportRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LoadReportRequest {
    /// Time between reports.
    #[prost(message, optional, tag = "1")]
    pub report_interval: Option<Interval>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Interval {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The rest in nanoseconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl From<TestOrcaReport> for LoadReport {
    fn from(report: TestOrcaReport) -> Self {
        Self {
            cpu_utilization: report.cpu_utilization,
            mem_utilization: report.memory_utilization,
            request_cost: report.request_cost,
            utilization: report.utilization,
        }
    }
}

/// Puts the report of a single call into its trailers.
///
/// # Errors
/// When it does not fit a trailer.
pub fn report(context: &Context, report: TestOrcaReport) -> Result<()> {
    let mut trailers = Metadata::new();
    trailers.insert_bin(TRAILER, &LoadReport::from(report).encode_to_vec())?;
    context.extend_trailers(trailers)
}

/// Reports the server's load as often as the client asks for.
pub fn reports(
    latest: &watch::Sender<LoadReport>,
    request: &LoadReportRequest,
) -> impl Stream<Item = Result<Proto<LoadReport>>> + use<> {
    let asked = request.report_interval.and_then(|interval| {
        Some(Duration::new(interval.seconds.try_into().ok()?, interval.nanos.try_into().ok()?))
    });
    let mut ticks = interval(asked.unwrap_or(INTERVAL).max(LEAST_INTERVAL));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let latest = latest.subscribe();
    stream::unfold((ticks, latest), async |(mut ticks, latest)| {
        ticks.tick().await;
        let report = latest.borrow().clone();
        Some((Ok(Proto(report)), (ticks, latest)))
    })
}
