//! Every option of a service and of its client, in one table: its key, flag and variable, go-micro's name, what it can be, its
//! default, and a line of help. Documents, flags, variables, help and the documentation go by it.

mod client;
mod service;
mod setting;

pub(super) use setting::Form;
pub use setting::Setting;

/// Every option of a service and of its client, those of the service first.
///
/// ```
/// let address = micro::settings::all().find(|setting| setting.key() == "address").expect("there is one");
/// assert_eq!(address.flag().as_deref(), Some("--address"));
/// assert_eq!(address.variable().as_deref(), Some("MICRO_SERVER_ADDRESS"));
/// assert_eq!(address.go_micro_flag().as_deref(), Some("--server_address"));
/// ```
pub fn all() -> impl Iterator<Item = &'static Setting> {
    service::SETTINGS.iter().chain(client::SETTINGS)
}
