//! Lists that are read as they are walked.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};

use super::entry::Entry;
use crate::codec::Message;
use crate::error::Result;
use crate::store::Store;
use crate::store::query::{Page, Query};
use crate::store::record::{Place, Record};

/// A list that is being put together. It is walked by [`entries`](Self::entries) or [`keys`](Self::keys).
#[derive(Clone)]
#[must_use = "a list is read when it is walked"]
pub struct Listing {
    store: Arc<dyn Store>,
    query: Query,
    limit: u64,
}

impl Listing {
    pub(super) fn new(store: Arc<dyn Store>, place: Place) -> Self {
        Self { store, query: Query::all(place), limit: u64::MAX }
    }

    /// Only keys that begin so.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.query.prefix = prefix.into();
        self
    }

    /// Only keys that end so.
    pub fn suffix(mut self, suffix: impl Into<String>) -> Self {
        self.query.suffix = suffix.into();
        self
    }

    /// Only keys behind this one, in the order of the list.
    pub fn after(mut self, key: impl Into<String>) -> Self {
        self.query.after = Some(key.into());
        self
    }

    /// Leaves out as many first.
    pub fn offset(mut self, count: u64) -> Self {
        self.query.offset = count;
        self
    }

    /// As many at most.
    pub fn limit(mut self, count: u64) -> Self {
        self.limit = count;
        self
    }

    /// From the last key to the first.
    pub fn descending(mut self) -> Self {
        self.query.descending = true;
        self
    }

    /// The records. They are read in parts of 1000 or about 4 MiB, each when it is walked to: a record that is changed meanwhile is told as
    /// it is then, and none is told twice.
    pub fn entries<T: Message>(self) -> Listed<Entry<T>> {
        let place = self.query.place.clone();
        self.walk(move |record| Entry::new(&place, record))
    }

    /// The keys of the records.
    pub fn keys(mut self) -> Listed<String> {
        self.query.keys_only = true;
        self.walk(|record| Ok(record.key))
    }

    fn walk<I: Send + 'static>(
        self,
        item: impl Fn(Record) -> Result<I> + Send + 'static,
    ) -> Listed<I> {
        let Self { store, query, limit } = self;
        let walk = Walk { store, query, left: limit, page: Vec::new().into_iter(), has_more: true };
        let records = stream::try_unfold(walk, Walk::next);
        Listed(records.map(move |record| item(record?)).boxed())
    }
}

struct Walk {
    store: Arc<dyn Store>,
    query: Query,
    left: u64,
    page: std::vec::IntoIter<Record>,
    has_more: bool,
}

impl Walk {
    async fn next(mut self) -> Result<Option<(Record, Self)>> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            if let Some(record) = self.page.next() {
                self.left -= 1;
                return Ok(Some((record, self)));
            }
            if !self.has_more {
                return Ok(None);
            }
            self.query.limit = usize::try_from(self.left).unwrap_or(usize::MAX).min(Query::MOST);
            let Page { records, has_more } = self.store.list(&self.query).await?;
            self.query.offset = 0;
            if let Some(last) = records.last() {
                self.query.after = Some(last.key.clone());
            }
            self.has_more = has_more && !records.is_empty();
            self.page = records.into_iter();
        }
    }
}

/// What a list has, one after the other: as a [`Stream`], or by [`next`](Self::next). After an error there is no more.
#[must_use = "a list is read when it is walked"]
pub struct Listed<I>(BoxStream<'static, Result<I>>);

impl<I> Listed<I> {
    /// The next one, or none at the end.
    ///
    /// # Errors
    /// Those of [`Store::list`], `DATA_LOSS` for a record that is not of the type that is asked for.
    pub async fn next(&mut self) -> Result<Option<I>> {
        self.0.next().await.transpose()
    }

    /// All that are left.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn all(mut self) -> Result<Vec<I>> {
        let mut all = Vec::new();
        while let Some(one) = self.next().await? {
            all.push(one);
        }
        Ok(all)
    }
}

impl<I> Stream for Listed<I> {
    type Item = Result<I>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<I>>> {
        self.get_mut().0.as_mut().poll_next(cx)
    }
}

impl<I> fmt::Debug for Listed<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listed")
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing")
            .field("query", &self.query)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
