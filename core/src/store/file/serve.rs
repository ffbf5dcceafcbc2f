//! The owner of a data folder serves its records to the other processes of the machine.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::lazy::Lazy;
use super::wire::{
    APPLY, Applied, Apply, AskNames, Changed, Follow, Found, LIST, List, Listed, NAMES, Names,
    READ, Read, Told, WATCH,
};
use crate::codec::Proto;
use crate::context::Context;
use crate::error::Error;
use crate::server::Endpoint;
use crate::store::watch::Changes as _;

/// What other processes call.
pub(crate) fn endpoints(records: &Arc<Lazy>) -> [Endpoint; 5] {
    let of = records.clone();
    let read = Endpoint::unary(READ, move |_: Context, Proto(read): Proto<Read>| {
        let records = of.clone();
        async move {
            let found = records.get().await?.read(&read.of.place()?, &read.key)?;
            Ok(Proto(Found { record: found.map(Told::new).transpose()? }))
        }
    });
    let of = records.clone();
    let apply = Endpoint::unary(APPLY, move |_: Context, Proto(apply): Proto<Apply>| {
        let records = of.clone();
        async move {
            let applied = records.get().await?.apply(apply.batch()?).await;
            Applied::new(applied).map(Proto)
        }
    });
    let of = records.clone();
    let list = Endpoint::unary(LIST, move |_: Context, Proto(list): Proto<List>| {
        let records = of.clone();
        async move { Listed::new(records.get().await?.list(list.query()?).await?).map(Proto) }
    });
    let of = records.clone();
    let names = Endpoint::unary(NAMES, move |_: Context, Proto(asked): Proto<AskNames>| {
        let records = of.clone();
        async move {
            let names = records.get().await?.names(asked.database).await?;
            Ok(Proto(Names { names }))
        }
    });
    let of = records.clone();
    let watch = Endpoint::server_stream(WATCH, move |_: Context, Proto(follow): Proto<Follow>| {
        let records = of.clone();
        async move {
            let following = records.get().await?.watch(follow.watch()?)?;
            let begun = stream::once(async { Ok(Proto(Changed::default())) });
            let changes = stream::try_unfold(following, |mut following| async move {
                let next = following.next().await?;
                let told = next.map(Changed::new).transpose()?;
                Ok(told.map(|told| (Proto(told), following)))
            });
            Ok::<_, Error>(begun.chain(changes))
        }
    });
    [read, apply, list, names, watch]
}
