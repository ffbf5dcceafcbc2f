//! Changes of the keys of a range, as the servers tell them, from any revision that they still know.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use micro::client::Outgoing;
use micro::{Code, Error, Proto, Reason, Result, Streaming};
use tokio::time::{Instant, timeout_at};

use crate::link::{Link, PATIENCE};
use crate::proto::{
    Event, RangeRequest, RangeResponse, WatchCreateRequest, WatchRequest, WatchResponse,
};

const WATCH: &str = "/etcdserverpb.Watch/Watch";
const RANGE: &str = "/etcdserverpb.KV/Range";
const WHAT: &str = "to tell changes";

/// A watch of the servers.
pub(crate) struct Raw {
    link: Arc<Link>,
    answers: Streaming<Proto<WatchResponse>>,
    _requests: Outgoing<Proto<WatchRequest>>,
    ahead: VecDeque<Event>,
}

impl Raw {
    /// Begins with all of the revision `from`, or with the next; once it returns, no later change is missed.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` with the reason `history_gone` where that revision was compacted, or is not there yet.
    pub(crate) async fn begin(
        link: Arc<Link>,
        key: Bytes,
        range_end: Bytes,
        from: Option<i64>,
    ) -> Result<Self> {
        if let Some(revision) = from {
            // A watch is told later of what was compacted.
            let limit = 1;
            let request = RangeRequest {
                key: key.clone(),
                range_end: range_end.clone(),
                limit,
                revision: revision.max(1),
                keys_only: true,
                ..RangeRequest::default()
            };
            link.look::<_, RangeResponse>(WHAT, RANGE, request).await.map_err(|error| {
                let is_gone = ["compacted", "future revision"];
                match is_gone.iter().any(|text| error.detail().contains(text)) {
                    true => gone(error.detail()),
                    false => error,
                }
            })?;
        }
        let start_revision = from.map_or(0, |revision| revision.max(1));
        let create = WatchCreateRequest { key, range_end, start_revision, fragment: true };
        let deadline = Instant::now() + PATIENCE;
        let beginning =
            link.stream::<_, WatchResponse>(WHAT, WATCH, WatchRequest { create: Some(create) });
        let late = |_| link.failed(WHAT, &Error::deadline_exceeded(""));
        let (requests, mut answers) = timeout_at(deadline, beginning).await.map_err(late)??;
        let first = timeout_at(deadline, answers.message()).await.map_err(late)?;
        match first.map_err(|error| link.ended(WHAT, &error))? {
            Some(Proto(first)) if first.created && !first.canceled => {}
            Some(Proto(first)) => return Err(refused(&link, &first)),
            None => return Err(link.failed(WHAT, &Error::unavailable("the watch was ended"))),
        }
        Ok(Self { link, answers, _requests: requests, ahead: VecDeque::new() })
    }

    /// The next change. Nothing is lost by giving up.
    pub(crate) async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.ahead.pop_front() {
                return Ok(event);
            }
            let answer = self.answers.message().await;
            match answer.map_err(|error| self.link.ended(WHAT, &error))? {
                Some(Proto(answer)) if answer.canceled => return Err(refused(&self.link, &answer)),
                Some(Proto(answer)) => self.ahead.extend(answer.events),
                None => {
                    let ended = Error::unavailable("the watch was ended");
                    return Err(self.link.failed(WHAT, &ended));
                }
            }
        }
    }
}

fn refused(link: &Link, answer: &WatchResponse) -> Error {
    if answer.compact_revision > 0 {
        return gone(&format!("revisions up to {} were compacted", answer.compact_revision));
    }
    let why = Error::unavailable(answer.cancel_reason.clone());
    link.ended(WHAT, &why)
}

fn gone(why: &str) -> Error {
    let text = format!("{why}: list again and watch from there");
    Error::new(Code::OutOfRange, text).with_reason(Reason::HistoryGone)
}
