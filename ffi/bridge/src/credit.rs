//! How many messages of a stream a host is ready for.

use tokio::sync::Semaphore;

/// Messages a host may be ready for at once; what it grants beyond is not counted.
const MOST: usize = 1 << 20;

/// Messages granted and not yet delivered.
#[derive(Debug)]
pub(crate) struct Credit(Semaphore);

impl Default for Credit {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Credit {
    /// The host is ready for `messages` more.
    pub(crate) fn grant(&self, messages: u32) {
        let room = MOST.saturating_sub(self.0.available_permits());
        self.0.add_permits(room.min(messages as usize));
    }

    /// Waits until one may be delivered, and counts it as delivered.
    pub(crate) async fn spend(&self) {
        // Never closed.
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}
