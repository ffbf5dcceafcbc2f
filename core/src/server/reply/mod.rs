//! What a server sends after the head of an answer.

mod body;
mod ending;
mod stream;

pub(super) use body::{ReplyBody, Served};
pub(super) use ending::{LastMessage, framed};
pub(super) use stream::StreamBody;
