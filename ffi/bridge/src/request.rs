//! What a host wants called, and on which terms.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use micro::client::CallOptions;
use micro::settings::CallSettings;
use micro::{Codec, Context, Metadata, Shape, deadline_after};

use crate::desk::Wait;
use crate::event::NO_TIMEOUT;
use crate::failure::{Failure, Result};
use crate::flags;
use crate::id::Id;

/// Bits of [`Request::flags`]; the lowest four are a codec of [`flags`].
pub mod request_flags {
    /// Waits for a place where [`Status::FULL`](crate::Status::FULL) would be returned.
    pub const WAIT: u32 = 0x100;
    /// Repeating the call is harmless, whatever the endpoint says.
    pub const IDEMPOTENT: u32 = 0x200;
    /// Repeating the call is not harmless, whatever the endpoint says.
    pub const NOT_IDEMPOTENT: u32 = 0x400;
    /// Every bit there is.
    pub const ALL: u32 = 0xf | WAIT | IDEMPOTENT | NOT_IDEMPOTENT;
}

/// The shape that hosts give as a number: 0 for [`Shape::Unary`], 1 for [`Shape::ClientStream`], 2 for
/// [`Shape::ServerStream`], 3 for [`Shape::BidiStream`].
///
/// # Errors
/// [`Status::ARG`](crate::Status::ARG) for another number.
pub fn shape(number: u32) -> Result<Shape> {
    const SHAPES: [Shape; 4] =
        [Shape::Unary, Shape::ClientStream, Shape::ServerStream, Shape::BidiStream];
    let shape = usize::try_from(number).ok().and_then(|number| SHAPES.get(number));
    shape.copied().ok_or_else(|| {
        Failure::argument(format!("{number} is no shape: give 0 for unary, 1 to 3 for streams"))
    })
}

/// A call to be made.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// Name of the service; may be empty when `options` name an address.
    pub service: &'a str,
    /// `Type.Method`, or a path that begins with `/`.
    pub endpoint: &'a str,
    /// The message; of a stream, the one request of a [`Shape::ServerStream`].
    pub payload: Bytes,
    /// Headers to send: a block of [`crate::pack`], or nothing.
    pub meta: &'a [u8],
    /// Nanoseconds for the whole call; 0 for the client's own, [`NO_TIMEOUT`] for none.
    pub timeout_ns: u64,
    /// The call that came in which this one is part of: deadline, trace and metadata go on, and it ends when that one ends.
    pub parent: Id,
    /// Everything else: a JSON document of [`micro::settings::CallSettings`], or nothing.
    pub options: &'a str,
    /// [`request_flags`] and a codec.
    pub flags: u32,
}

/// The terms of a request, read.
pub(crate) struct Terms {
    pub(crate) settings: Option<Arc<CallSettings>>,
    pub(crate) metadata: Metadata,
    pub(crate) timeout: Timeout,
    pub(crate) codec: Codec,
    pub(crate) idempotent: Option<bool>,
    pub(crate) parent: Option<Context>,
    waits: bool,
}

pub(crate) enum Timeout {
    Default,
    After(Duration),
    Never,
}

impl Terms {
    /// # Errors
    /// `ARG` and `INVALID_ARGUMENT` for what cannot be read.
    pub(crate) fn read(
        request: &Request<'_>,
        parent: Option<Context>,
        documents: &Documents,
    ) -> Result<Self> {
        let settings = match request.options {
            "" => None,
            options => Some(documents.read(options)?),
        };
        flags::check(request.flags, request_flags::ALL, "request")?;
        let codec = u16::try_from(request.flags & 0xf).ok().and_then(flags::codec);
        let idempotent = match (
            request.flags & request_flags::IDEMPOTENT != 0,
            request.flags & request_flags::NOT_IDEMPOTENT != 0,
        ) {
            (true, true) => return Err(Failure::argument("idempotent and not idempotent at once")),
            (true, false) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        };
        Ok(Self {
            settings,
            metadata: crate::unpack(request.meta)?,
            timeout: match request.timeout_ns {
                0 => Timeout::Default,
                NO_TIMEOUT => Timeout::Never,
                nanos => Timeout::After(Duration::from_nanos(nanos)),
            },
            codec: codec
                .ok_or_else(|| Failure::argument("the codec of the request is not known"))?,
            idempotent,
            parent,
            waits: request.flags & request_flags::WAIT != 0,
        })
    }

    /// The options of the call, in one piece.
    pub(crate) fn options(self) -> CallOptions {
        let mut options = CallOptions::new();
        if let Some(settings) = &self.settings {
            options = options.settings(settings);
        }
        if self.codec != Codec::Proto {
            options = options.content_type(self.codec.grpc_content_type());
        }
        if !self.metadata.is_empty() {
            options = options.metadata_all(self.metadata);
        }
        options = match self.timeout {
            Timeout::Default => options,
            Timeout::After(time) => options.timeout(time),
            Timeout::Never => options.no_timeout(),
        };
        if let Some(idempotent) = self.idempotent {
            options = options.idempotent(idempotent);
        }
        match &self.parent {
            Some(context) => options.context(context),
            None => options,
        }
    }

    /// How it gets its place.
    pub(crate) fn wait(&self) -> Wait {
        let own = match self.timeout {
            Timeout::After(time) => Some(deadline_after(time)),
            Timeout::Default | Timeout::Never => None,
        };
        let inherited = self.parent.as_ref().and_then(Context::deadline);
        let until = own.into_iter().chain(inherited).min();
        Wait { waits: self.waits, until, parent: self.parent.clone() }
    }
}

/// Documents a client has read. Calls with equal documents share what they say, so that a strategy which goes round goes
/// round among all of them; and reading happens once.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<HashMap<String, Arc<CallSettings>>>);

/// Documents that are kept; a program that makes more than that makes each of them once.
const DOCUMENTS: usize = 64;

impl Documents {
    fn read(&self, text: &str) -> Result<Arc<CallSettings>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(settings) = known.get(text) {
            return Ok(settings.clone());
        }
        let settings = Arc::new(CallSettings::from_json(text)?);
        if known.len() >= DOCUMENTS {
            known.clear();
        }
        known.insert(text.to_owned(), settings.clone());
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_documents_are_read_once_and_not_kept_for_ever() {
        let documents = Documents::default();
        let one = documents.read(r#"{"strategy": "round_robin"}"#).expect("a document");
        let same = documents.read(r#"{"strategy": "round_robin"}"#).expect("a document");
        assert!(Arc::ptr_eq(&one, &same));
        for length in 0..DOCUMENTS * 2 {
            documents.read(&format!(r#"{{"timeout": {length}}}"#)).expect("a document");
        }
        assert!(documents.0.lock().expect("unlocked").len() <= DOCUMENTS);
        documents.read("{").expect_err("no document");
    }
}
