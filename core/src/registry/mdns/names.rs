//! DNS names of services and nodes, as go-micro forms them: split into labels at every dot.

use crate::error::{Error, Result};

/// Longest label DNS can pack.
const LABEL_LIMIT: usize = 63;
/// Longest name DNS can pack, length bytes and the root included.
const NAME_LIMIT: usize = 255;
/// What the list of services is called, in the place of a service name.
const LIST: &str = "_services";

/// The names of one domain. Every name ends with a dot.
#[derive(Debug)]
pub(super) struct Names {
    /// `.micro.`
    suffix: String,
    /// `_services.micro.`
    pub(super) list: String,
    /// `_services._dns-sd._udp.micro.`
    pub(super) enumeration: String,
}

impl Names {
    pub(super) fn new(domain: &str) -> Result<Self> {
        let domain = domain.trim_matches('.');
        if let Err(reason) = check(&format!("{domain}.")) {
            return Err(Error::invalid_argument(format!("mdns: domain {domain:?} {reason}")));
        }
        Ok(Self {
            suffix: format!(".{domain}."),
            list: format!("{LIST}.{domain}."),
            enumeration: format!("_services._dns-sd._udp.{domain}."),
        })
    }

    /// `greeter.micro.`
    pub(super) fn service(&self, service: &str) -> String {
        format!("{service}{}", self.suffix)
    }

    /// `greeter-1.greeter.micro.`, or why DNS cannot carry it and what to shorten. An id that does not
    /// fit gives a shorter name, always the same one: its beginning and a number made of all of it.
    pub(super) fn instance(&self, service: &str, id: &str) -> Result<String> {
        if service == LIST || service.starts_with("_services.") {
            return Err(Error::invalid_argument(format!(
                "service name {service:?} is reserved for the list of services: choose another"
            )));
        }
        let name = format!("{id}.{service}{}", self.suffix);
        if check(&name).is_ok() {
            return Ok(name);
        }
        let name = format!("{}.{service}{}", short(id), self.suffix);
        match check(&name) {
            Ok(()) if !id.is_empty() => Ok(name),
            Ok(()) => Err(Error::invalid_argument(format!(
                "service {service:?}: a node without an id cannot be announced by mDNS"
            ))),
            Err(reason) => Err(Error::invalid_argument(format!(
                "service {service:?} cannot be announced by mDNS: the name of its node {reason}. \
                 Shorten the service name: each part between dots may have {LABEL_LIMIT} bytes, all \
                 together {}",
                NAME_LIMIT - LABEL_LIMIT - 2 - self.suffix.len()
            ))),
        }
    }

    /// True when `instance` stands for an id that it does not spell out.
    pub(super) fn shortened(&self, instance: &str, service: &str, id: &str) -> bool {
        self.id(instance, service) != Some(id)
    }

    /// The id of the node of `service` that `instance` names: the one that it tells of itself where
    /// the name is a short form of that, else the one in the name.
    pub(super) fn full_id(
        &self,
        instance: &str,
        service: &str,
        told: Option<String>,
    ) -> Option<String> {
        let named = self.id(instance, service)?;
        let told = told.filter(|id| self.instance(service, id).is_ok_and(|name| name == instance));
        Some(told.unwrap_or_else(|| named.to_owned()))
    }

    /// `greeter._services.micro.`
    pub(super) fn listed(&self, service: &str) -> String {
        format!("{service}.{}", self.list)
    }

    /// The service that an entry of the list stands for.
    pub(super) fn service_of_listed<'a>(&self, name: &'a str) -> Option<&'a str> {
        let service = name.strip_suffix(&self.list)?.strip_suffix('.')?;
        (!service.is_empty()).then_some(service)
    }

    /// True for names inside the domain.
    pub(super) fn contains(&self, name: &str) -> bool {
        name.ends_with(&self.suffix)
    }

    /// The id of the node of `service` that `instance` names.
    pub(super) fn id<'a>(&self, instance: &'a str, service: &str) -> Option<&'a str> {
        let inside = instance.strip_suffix(&self.suffix)?;
        let id = inside.strip_suffix(service)?.strip_suffix('.')?;
        (!id.is_empty()).then_some(id)
    }

    /// The services that `instance` may be a node of, longest first: what follows each of its dots.
    pub(super) fn services<'a>(
        &self,
        instance: &'a str,
    ) -> impl Iterator<Item = &'a str> + use<'a> {
        let inside = instance.strip_suffix(&self.suffix).unwrap_or_default();
        inside.match_indices('.').map(|(at, _)| &inside[at + 1..])
    }
}

/// One label for an id: what fits of its last part, and 128 bits of all of it.
fn short(id: &str) -> String {
    // FNV-1a: the same in every process and version, which is all that is asked of it.
    let number = id.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    let number = format!("-{number:032x}");
    let last = id.rsplit('.').next().unwrap_or(id);
    let mut end = last.len().min(LABEL_LIMIT - number.len());
    while !last.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{number}", &last[..end])
}

/// True when `service` fits into a question.
pub(super) fn askable(names: &Names, service: &str) -> bool {
    check(&names.service(service)).is_ok()
}

/// Says why DNS cannot pack a dotted `name` that ends with a dot.
fn check(name: &str) -> std::result::Result<(), String> {
    let Some(labels) = name.strip_suffix('.') else { return Err("must end with a dot".into()) };
    if name.len() + 1 > NAME_LIMIT {
        return Err(format!("has {} bytes, {} too many", name.len(), name.len() + 1 - NAME_LIMIT));
    }
    for label in labels.split('.') {
        if label.is_empty() {
            return Err("has an empty part between dots, or at an end".into());
        }
        if label.len() > LABEL_LIMIT {
            return Err(format!("has a part of {} bytes, over {LABEL_LIMIT}", label.len()));
        }
    }
    Ok(())
}

/// The name of this machine, which owns the address records; any name serves where there is none.
pub(super) fn host() -> String {
    let read = |path| std::fs::read_to_string(path).ok().map(|name| format!("{}.", name.trim()));
    read("/proc/sys/kernel/hostname")
        .or_else(|| read("/etc/hostname"))
        .or_else(|| std::env::var("COMPUTERNAME").ok().map(|name| format!("{name}.")))
        .filter(|name| check(name).is_ok())
        .unwrap_or_else(|| "micro-host.".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    const UUID: &str = "6d9c0ab1-7f0e-4f5b-9d39-0a7e7c1f2b11";

    #[test]
    fn dotted_names_are_found_again_in_an_instance() {
        let names = Names::new("micro").expect("domain");
        let instance = names.instance("go.micro.srv.two", "go.micro.srv.two-abc").expect("fits");
        assert_eq!(instance, "go.micro.srv.two-abc.go.micro.srv.two.micro.");
        assert_eq!(names.id(&instance, "go.micro.srv.two"), Some("go.micro.srv.two-abc"));
        assert_eq!(names.id(&instance, "other"), None);
        assert_eq!(names.id("greeter.micro.", "greeter"), None);
        let of = ["micro.srv.two-abc.go.micro.srv.two", "go.micro.srv.two", "two"];
        assert!(of.iter().all(|service| names.services(&instance).any(|known| known == *service)));
        assert_eq!(names.services("greeter.micro.").count(), 0);
        assert_eq!(names.service_of_listed("a.b._services.micro."), Some("a.b"));
    }

    #[test]
    fn id_that_does_not_fit_gets_a_short_name_of_its_own() {
        let names = Names::new("micro").expect("domain");
        for length in [1, 26, 27, 30, 62, 63] {
            for service in ["a".repeat(length), format!("go.micro.srv.{}", "b".repeat(length))] {
                let id = format!("{service}-{UUID}");
                let instance = names.instance(&service, &id).expect("it fits");
                assert_eq!(names.instance(&service, &id).expect("it fits"), instance, "stable");
                let (other, short) = (format!("{id}x"), length > 26);
                assert_ne!(names.instance(&service, &other).expect("it fits"), instance, "unique");
                assert_eq!(names.shortened(&instance, &service, &id), short, "{instance}");
                let told = short.then(|| id.clone());
                assert_eq!(names.full_id(&instance, &service, told), Some(id), "{instance}");
                let lie = Some("another".to_owned());
                let named = names.id(&instance, &service).map(str::to_owned);
                assert_eq!(names.full_id(&instance, &service, lie), named, "no name of that id");
            }
        }
    }

    #[test]
    fn service_name_that_can_never_fit_is_refused_with_what_would() {
        let names = Names::new("micro").expect("domain");
        for service in ["a".repeat(64), format!("{}.{}", "a".repeat(60), "b.".repeat(64) + "b")] {
            let error =
                names.instance(&service, &format!("{service}-{UUID}")).expect_err("too long");
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(error.detail().contains("Shorten the service name"), "{error}");
        }
        let longest = format!("{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(55));
        assert_eq!(longest.len(), 183);
        let id = format!("{longest}-{UUID}");
        assert!(names.instance(&longest, &id).is_ok());
        let error = names.instance(&format!("{longest}cc"), &id).expect_err("too long");
        assert!(error.detail().contains("all together 183"), "{error}");
    }

    #[test]
    fn names_that_dns_cannot_pack_are_refused() {
        let names = Names::new("micro").expect("domain");
        for (service, id) in [("", "x"), ("a..b", "x"), (".a", "x"), ("a", ""), ("_services", "x")]
        {
            assert!(names.instance(service, id).is_err(), "{service:?} {id:?}");
        }
        assert!(names.instance(&"a.".repeat(120), "x").is_err());
        assert!(Names::new("").is_err());
    }
}
