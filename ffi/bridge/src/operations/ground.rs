//! What every operation has to do with: where it is asked, its arguments, its answer.

use std::sync::Arc;

use bytes::Bytes;
use micro::Error;
use micro::broker::Delivery;
use micro::settings::Fields;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::flags;

/// Where a question is asked: on which client.
pub(crate) struct At {
    pub(crate) client: micro::Client,
    /// The service that the client belongs to.
    pub(crate) service: Option<Arc<micro::Service>>,
    /// The host wants no more of what it follows.
    pub(crate) closing: CancellationToken,
}

/// The arguments of an operation.
pub(crate) trait Args: Sized {
    /// # Errors
    /// `INVALID_ARGUMENT` for what is missing or not what it should be.
    fn read(fields: &mut Fields) -> micro::Result<Self>;
}

/// What an operation answers.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) payload: Bytes,
    pub(crate) flags: u16,
    /// What is known beside it.
    pub(crate) meta: Bytes,
}

impl Answer {
    /// An answer as JSON.
    ///
    /// # Errors
    /// `INTERNAL` for what cannot be written.
    pub(crate) fn json(value: &impl Serialize) -> micro::Result<Self> {
        let payload = serde_json::to_vec(value)
            .map_err(|error| Error::internal(format!("cannot write JSON: {error}")))?;
        Ok(Self { payload: payload.into(), flags: flags::JSON, ..Self::default() })
    }
}

/// What is told of something that is followed.
pub(crate) enum Item {
    Change(Answer),
    /// A message, which the host settles.
    Delivery(Box<Delivery>),
}

/// No arguments.
pub(crate) struct Nothing {}

impl Args for Nothing {
    fn read(_: &mut Fields) -> micro::Result<Self> {
        Ok(Self {})
    }
}
