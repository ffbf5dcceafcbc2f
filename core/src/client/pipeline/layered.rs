//! Attempts with layers around them.
//!
//! Layers outlive calls, so what is in them cannot borrow the call. They ask for the attempt instead, and the call makes it
//! while it waits for them: how attempts are made and told of stays the same, with layers and without.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::attempt::Step;
use super::run::Run;
use crate::client::layers::{Asked, AttemptRequest, AttemptWay, Perform};
use crate::client::pool::Lease;
use crate::error::{Error, Result};
use crate::resilience::Lost;
use crate::selector::{Node, Outcome};

/// An attempt that succeeded, or how far it came.
type Attempted<T> = Result<(T, Option<Lease>), (Error, Lost)>;

impl Run {
    /// Makes an attempt at `node` through its layers. What they have not asked for is not told to the node.
    pub(super) async fn layered<S: Step>(
        &mut self,
        way: AttemptWay,
        step: &S,
        node: &Arc<Node>,
        mut ready: Option<Lease>,
    ) -> Attempted<S::Done> {
        let (performer, mut asked) = mpsc::channel(1);
        let message = step.message(self).map_err(|error| (error, Lost::Unreached))?;
        let request = AttemptRequest {
            metadata: self.terms.metadata.clone(),
            message: message.clone(),
            target: self.target.clone(),
            context: self.context.clone(),
            shape: self.shape,
            codec: self.codec,
            deadline: self.deadline,
            node: node.clone(),
            address: None,
            number: self.attempts.saturating_sub(1),
            route: self.attempt_layers.clone(),
            performer,
        };
        let mut layers = way.run(request);
        let (mut done, mut lost) = (None, None);
        let answered = loop {
            let Perform { asked, mut answer } = tokio::select! {
                biased;
                answered = &mut layers => break answered,
                Some(perform) = asked.recv() => perform,
            };
            let own = (self.terms.metadata.clone(), self.terms.addresses.clone());
            let made = tokio::select! {
                biased;
                // They gave it up.
                answered = &mut layers => Err(Some(answered)),
                () = answer.closed() => Err(None),
                made = self.perform(step, asked, message.as_ref(), node, ready.take()) => Ok(made),
            };
            let mut answered = None;
            match made {
                Err(given_up) => {
                    self.give_up();
                    answered = given_up;
                }
                Ok(Ok((made, lease))) => {
                    let _ = answer.send(Ok(S::show(&made)));
                    (done, lost) = (Some((made, lease)), None);
                }
                Ok(Err((error, how))) => {
                    let error = self.settle(error);
                    self.lost(&error, how);
                    lost = Some(how);
                    let _ = answer.send(Err(error));
                }
            }
            (self.terms.metadata, self.terms.addresses) = own;
            if let Some(answered) = answered {
                break answered;
            }
        };
        let (made, lease) = done.unzip();
        match answered.and_then(|answer| S::take(made, answer)) {
            Ok(done) => Ok((done, lease)),
            Err(error) => {
                if lease.is_some() {
                    // The node did well, whatever its answer was taken for.
                    self.tell(Outcome::Success, None);
                }
                self.give_up();
                Err((error, lost.unwrap_or(Lost::Taken)))
            }
        }
    }

    async fn perform<S: Step>(
        &mut self,
        step: &S,
        asked: Asked,
        message: Option<&Bytes>,
        node: &Arc<Node>,
        ready: Option<Lease>,
    ) -> Result<(S::Done, Lease), (Error, Lost)> {
        self.terms.metadata = asked.metadata;
        let (node, ready) = match asked.address {
            None => (node.clone(), ready),
            Some(address) => {
                let node = self.client.node_at(&address);
                // What goes to nodes of the registry alone does not go there.
                self.terms.addresses = vec![address];
                (node, None)
            }
        };
        if self.attempt.is_none() || !self.node.as_ref().is_some_and(|known| known.is_same(&node)) {
            self.attempt_at(&node);
        }
        let changed =
            asked.message.filter(|asked| !message.is_some_and(|known| is_one(known, asked)));
        let replaced = changed.map(|message| step.replaced(self, &message));
        let replaced = replaced.transpose().map_err(|error| (error, Lost::Unreached))?;
        let lease = self.connected(&node, ready).await.map_err(|error| (error, Lost::Unreached))?;
        match replaced.as_ref().unwrap_or(step).attempt(self, &lease).await {
            Ok(done) => Ok((done, lease)),
            Err(error) if lease.is_open() => Err((error, Lost::Taken)),
            Err(error) => Err((error, Lost::Gone { served: lease.has_served() })),
        }
    }
}

/// True when both are the same bytes in the same place.
fn is_one(one: &Bytes, other: &Bytes) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}
