//! What the server says of itself before it is trusted with records.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use micro::{Error, Result};
use redis::aio::MultiplexedConnection;
use redis::cmd;

use super::keys::Keys;
use super::scripts::Scripts;
use crate::link::{Greeting, Link};

/// The first release that has all that is needed.
const OLDEST: u32 = 7;

/// Looks at a server, and begins versions again when it was started again.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) keys: Arc<Keys>,
    pub(super) scripts: Arc<Scripts>,
    pub(super) may_evict: bool,
    pub(super) has_warned: AtomicBool,
}

#[async_trait]
impl Greeting for Look {
    async fn greet(&self, link: &Link, connection: &mut MultiplexedConnection) -> Result<()> {
        let said = cmd("INFO").query_async::<String>(connection).await;
        let said = match said {
            Ok(said) => said,
            Err(error) if error.code() == Some("NOPERM") => {
                self.warn(
                    link,
                    "this user may not run INFO, so what the server does to records is not known",
                );
                String::new()
            }
            Err(error) => return Err(link.failed("to say what it is", &error)),
        };
        let info = Info::read(&said);
        info.check(&link.address.shown(), self.may_evict)?;
        if !said.is_empty() {
            let mut sync = cmd("CONFIG");
            sync.arg("GET").arg("appendfsync");
            // Many may not ask that.
            let sync: Vec<String> = sync.query_async(connection).await.unwrap_or_default();
            if let Some(doubt) = info.doubt(sync.get(1).map_or("", String::as_str)) {
                self.warn(link, doubt);
            }
        }
        // Without a name, this is as if it had been started again, which harms nothing.
        let run = match info.get("run_id") {
            "" => format!("{:032x}", fastrand::u128(..)),
            run => run.to_owned(),
        };
        let mut open = self.keys.call(&self.scripts.open);
        let opened = open.arg(run).invoke_async::<String>(connection).await;
        opened.map(drop).map_err(|error| link.failed("to open its records", &error))
    }
}

impl Look {
    fn warn(&self, link: &Link, doubt: &str) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(server = link.address.shown(), "{doubt}");
        }
    }
}

/// What `INFO` answers, by name.
struct Info<'a>(HashMap<&'a str, &'a str>);

impl<'a> Info<'a> {
    fn read(said: &'a str) -> Self {
        Self(said.lines().filter_map(|line| line.trim_end().split_once(':')).collect())
    }

    fn get(&self, name: &str) -> &'a str {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Refuses a server that cannot keep records.
    fn check(&self, place: &str, may_evict: bool) -> Result<()> {
        let refuse = |why: String| Err(Error::failed_precondition(format!("{place} {why}")));
        if self.get("redis_mode") == "cluster" {
            return refuse("is part of a Redis Cluster, which has no order of all changes: use a server by itself, or a primary with replicas".into());
        }
        if self.get("role") == "slave" {
            let primary = format!("{}:{}", self.get("master_host"), self.get("master_port"));
            return refuse(format!("is a replica: name its primary, {primary}, in the URL"));
        }
        let version = self.get("redis_version");
        let release = version.split('.').next().and_then(|release| release.parse::<u32>().ok());
        if release.is_some_and(|release| release < OLDEST) {
            return refuse(format!("is Redis {version}: a store takes Redis {OLDEST} or later"));
        }
        let policy = self.get("maxmemory_policy");
        let is_bounded = !matches!(self.get("maxmemory"), "" | "0");
        if is_bounded && policy != "noeviction" && !may_evict {
            return refuse(format!(
                "removes records when its memory is full (`maxmemory-policy {policy}`): set it to `noeviction`, or say \
                 `eviction=allowed` in the URL where records may be lost"
            ));
        }
        Ok(())
    }

    /// What is not as safe as it could be.
    fn doubt(&self, sync: &str) -> Option<&'static str> {
        match (self.get("aof_enabled"), sync) {
            ("0", _) => Some(
                "the server keeps records in memory: those since its last snapshot are lost with it, and locks too: set `appendonly yes` and `appendfsync always`",
            ),
            ("1", "everysec" | "no") => Some(
                "the server syncs its disk now and then: it may lose the changes of the last second or more, and locks too: set `appendfsync always`",
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrole:master\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:1\r\n";

    #[test]
    fn a_server_that_cannot_keep_records_is_refused_by_what_to_change() {
        let check = |said: &str, may_evict| Info::read(said).check("redis://h", may_evict);
        check(FINE, false).unwrap();
        check("", false).unwrap();
        let evicting = FINE.replace("maxmemory:0", "maxmemory:1000");
        check(&evicting, true).unwrap();
        check(&evicting.replace("allkeys-lru", "noeviction"), false).unwrap();
        let replica =
            FINE.replace("role:master", "role:slave\r\nmaster_host:h\r\nmaster_port:7000");
        for (said, hint) in [
            (FINE.replace("standalone", "cluster"), "Redis Cluster"),
            (FINE.replace("7.0.15", "6.2.1"), "Redis 7 or later"),
            (replica, "its primary, h:7000"),
            (evicting, "`noeviction`"),
        ] {
            let error = check(&said, false).unwrap_err();
            assert!(error.detail().contains(hint), "{said}: {error}");
        }
    }

    #[test]
    fn a_server_that_may_forget_is_doubted() {
        let doubt = |said: &str, sync| Info::read(said).doubt(sync);
        assert_eq!(doubt(FINE, "always"), None);
        assert!(doubt(FINE, "everysec").unwrap().contains("appendfsync always"));
        assert!(doubt(&FINE.replace("aof_enabled:1", "aof_enabled:0"), "").is_some());
    }
}
