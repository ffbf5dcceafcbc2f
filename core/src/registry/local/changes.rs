//! The events that lead from one state of the folder to the next.

use std::collections::{BTreeMap, HashMap};

use crate::registry::{Action, Change, Node, Service};

/// What changed between two lists of records, one per version: first what is gone, then what is
/// different, then what is new.
pub(super) fn between(before: &[Service], after: &[Service]) -> Vec<Change> {
    let none = Service::default();
    let (old, new) = (by_version(before), by_version(after));
    let mut changes = Vec::new();
    for (version, old) in &old {
        let new = new.get(version).copied().unwrap_or(&none);
        let kept = by_id(new);
        changes.extend(event(Action::Delete, old, |node| !kept.contains_key(node.id.as_str())));
    }
    for (version, new) in &new {
        let old = old.get(version).copied().unwrap_or(&none);
        let replaced = old.metadata != new.metadata || old.endpoints != new.endpoints;
        let known = by_id(old);
        changes.extend(event(Action::Update, new, |node| {
            known.get(node.id.as_str()).is_some_and(|known| replaced || *known != node)
        }));
        changes.extend(event(Action::Create, new, |node| !known.contains_key(node.id.as_str())));
    }
    changes
}

fn by_version(services: &[Service]) -> BTreeMap<(&str, &str), &Service> {
    services.iter().map(|service| ((&*service.name, &*service.version), service)).collect()
}

fn by_id(service: &Service) -> HashMap<&str, &Node> {
    service.nodes.iter().map(|node| (node.id.as_str(), node)).collect()
}

/// The event for the affected nodes of a version, unless there are none.
fn event(action: Action, service: &Service, affected: impl Fn(&Node) -> bool) -> Option<Change> {
    let nodes: Vec<Node> = service.nodes.iter().filter(|node| affected(node)).cloned().collect();
    let with = |nodes| Service {
        name: service.name.clone(),
        version: service.version.clone(),
        metadata: service.metadata.clone(),
        endpoints: service.endpoints.clone(),
        nodes,
    };
    (!nodes.is_empty()).then(|| Change { action, service: with(nodes) })
}
