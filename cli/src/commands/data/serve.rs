//! `micro data serve`: a process of its own that owns a data folder.

use std::sync::Arc;

use micro::Service;
use micro::broker::Durable;
use tokio::signal::unix::{SignalKind, signal};

use super::folder::FolderOption;
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::output::Output;

#[derive(clap::Args)]
#[command(after_help = "micro data serve /var/lib/shop --name shop-data -- --address=:9000\n\
Then any service of the fleet reaches it with --broker durable://shop-data")]
pub(crate) struct Options {
    #[command(flatten)]
    folder: FolderOption,
    /// Serve it to other machines too, as the service of this name, in the registry of --registry. It has no authentication yet: who can
    /// call it can publish, subscribe and drop.
    #[arg(long)]
    name: Option<String>,
    /// Flags of that service, such as --address and --tls-certificate.
    #[arg(last = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

pub(super) async fn run(
    options: Options,
    broker: &str,
    fleet: &Fleet,
    output: &mut Output,
) -> Result<(), Failure> {
    let path = options.folder.path(broker)?;
    // What --broker says of how it is kept counts, for the folder that it names.
    let folder = match (broker.strip_prefix("durable:///"), options.folder.is_given()) {
        (Some(_), false) => Durable::connect(broker)?,
        _ => Durable::new(&path),
    };
    folder.own().await?;
    let (process, place) = (std::process::id(), path.display());
    match options.name {
        Some(name) => {
            let mut service = Service::builder(&name)
                .registry(fleet.shared())
                .broker(Arc::new(folder.clone()))
                .args(options.flags)?;
            for endpoint in folder.endpoints() {
                service = service.handle(endpoint);
            }
            output.message(&format!(
                "process {process} owns {place} and serves it as durable://{name}; Ctrl-C ends"
            ));
            service.run().await?;
        }
        None if !options.flags.is_empty() => {
            return Err(Failure::usage("flags are for a service: give it a --name"));
        }
        None => {
            let mut terminated = signal(SignalKind::terminate())?;
            output.message(&format!("process {process} owns {place}; Ctrl-C ends"));
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated.recv() => {}
            }
        }
    }
    Ok(folder.close().await?)
}
