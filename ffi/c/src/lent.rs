//! Functions of the caller.

use std::ffi::c_void;

/// A function of the caller, and what it is called with.
pub type micro_fn = Option<unsafe extern "C" fn(ctx: *mut c_void)>;

/// A context of the caller; dropped, it is given back, once.
pub(crate) struct Lent {
    pub(crate) ctx: *mut c_void,
    pub(crate) drop: micro_fn,
}

// SAFETY: the header asks of callers that functions given together with a context may be called on any thread, and of
// `on_event` that it may be called on several at once where the caller asked for several.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl Lent {
    /// For a call of a function that came with it. A closure that asks here holds on to the whole.
    pub(crate) fn get(&self) -> *mut c_void {
        self.ctx
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: the caller gave both for this one call, the last with this context.
            unsafe { drop(self.ctx) };
        }
    }
}
