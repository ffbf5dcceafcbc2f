//! Which nodes callers have been told of, so that a move can tell them what is there no more.

use std::collections::BTreeMap;

use crate::registry::{Action, Change, Service};

/// Most nodes remembered; further ones are not missed when they do not move along.
const LIMIT: usize = 16_384;

/// Name of the service, version and id of the node.
pub(super) type Key = (String, String, String);

#[derive(Debug, Default)]
pub(super) struct Told {
    /// Each with its one node, and without endpoints.
    nodes: BTreeMap<Key, Service>,
}

impl Told {
    /// Remembers what a lookup found.
    pub(super) fn note(&mut self, found: &[Service]) {
        for (key, record) in found.iter().flat_map(split) {
            self.insert(key, record);
        }
    }

    /// Remembers a change. What it really is: `None` for nodes that are known just so.
    pub(super) fn take(&mut self, change: &Change) -> Option<Action> {
        let mut news = None;
        for (key, record) in split(&change.service) {
            if change.action == Action::Delete {
                self.nodes.remove(&key);
                news = Some(Action::Delete);
                continue;
            }
            match self.nodes.get(&key) {
                Some(known) if *known == record => {}
                Some(_) => news = Some(Action::Update),
                None => news = Some(news.unwrap_or(Action::Create)),
            }
            self.insert(key, record);
        }
        news
    }

    /// Names of the services of all nodes.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.nodes.keys().map(|(name, ..)| name.clone()).collect();
        names.dedup();
        names
    }

    /// Makes what is known of the service `name` what was found; tells the difference.
    pub(super) fn replace(&mut self, name: &str, found: &[Service]) -> Vec<Change> {
        let mut changes = Vec::new();
        let alive: BTreeMap<Key, (Service, &Service)> = found
            .iter()
            .flat_map(|service| split(service).map(move |(key, record)| (key, (record, service))))
            .collect();
        let gone: Vec<Key> = (self.nodes.keys())
            .filter(|key| key.0 == name && !alive.contains_key(*key))
            .cloned()
            .collect();
        for service in gone.iter().filter_map(|key| self.nodes.remove(key)) {
            changes.push(Change { action: Action::Delete, service });
        }
        for (key, (record, service)) in alive {
            let action = match self.nodes.get(&key) {
                Some(known) if *known == record => continue,
                Some(_) => Action::Update,
                None => Action::Create,
            };
            let service = Service { nodes: record.nodes.clone(), ..service.clone() };
            changes.push(Change { action, service });
            self.insert(key, record);
        }
        changes
    }

    fn insert(&mut self, key: Key, record: Service) {
        if self.nodes.len() < LIMIT || self.nodes.contains_key(&key) {
            self.nodes.insert(key, record);
        }
    }
}

fn split(service: &Service) -> impl Iterator<Item = (Key, Service)> {
    service.nodes.iter().map(|node| {
        let key = (service.name.clone(), service.version.clone(), node.id.clone());
        let nodes = vec![node.clone()];
        let (name, version) = (service.name.clone(), service.version.clone());
        (key, Service { name, version, nodes, ..Service::default() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Node;

    fn greeter(nodes: &[(&str, &str)]) -> Service {
        let node = |(id, address): &(&str, &str)| Node {
            id: (*id).into(),
            address: (*address).into(),
            ..Node::default()
        };
        Service { nodes: nodes.iter().map(node).collect(), ..Service::new("greeter", "1") }
    }

    fn change(action: Action, nodes: &[(&str, &str)]) -> Change {
        Change { action, service: greeter(nodes) }
    }

    #[test]
    fn move_tells_what_is_gone_changed_and_new_and_nothing_else() {
        let mut told = Told::default();
        told.note(&[greeter(&[("stays", "a:1"), ("moves", "b:1"), ("goes", "c:1")])]);
        assert_eq!(told.take(&change(Action::Create, &[("stays", "a:1")])), None);
        assert_eq!(told.take(&change(Action::Create, &[("late", "d:1")])), Some(Action::Create));
        assert_eq!(told.take(&change(Action::Delete, &[("late", "d:1")])), Some(Action::Delete));
        assert_eq!(told.names(), ["greeter"]);
        let found = greeter(&[("stays", "a:1"), ("moves", "b:2"), ("comes", "e:1")]);
        let mut changes = told.replace("greeter", &[found]);
        changes.sort_by_key(|change| change.service.nodes[0].id.clone());
        assert_eq!(
            changes,
            [
                change(Action::Create, &[("comes", "e:1")]),
                change(Action::Delete, &[("goes", "c:1")]),
                change(Action::Update, &[("moves", "b:2")]),
            ]
        );
        assert!(told.replace("other", &[]).is_empty());
    }
}
