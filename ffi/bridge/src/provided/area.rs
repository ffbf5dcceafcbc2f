//! Areas of which a host can provide something, as the upper byte of their operations.

/// Registries: `registry.get` and so on.
pub const REGISTRY: u32 = 0x02;
/// Brokers: [`PUBLISH`](super::PUBLISH) and `broker.subscribe`. What one can do is added, see [`abilities`](super::abilities).
pub const BROKER: u32 = 0x04;
