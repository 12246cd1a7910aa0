//! Objects and their past: what etcd is to the real server. One counter numbers every change of every resource
//! (`metadata.resourceVersion`); a list at an older version is what is there now, with what came later undone.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    resources::{RESOURCES, Resource},
    time::{now, rfc3339},
};

/// `(namespace, name)`, in the order of lists.
pub(crate) type Key = (String, String);

/// An object as of one version.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) resource: &'static Resource,
    pub(crate) key: Key,
    pub(crate) uid: String,
    /// Values of the fields that selectors may name.
    pub(crate) fields: BTreeMap<&'static str, String>,
    /// The JSON without `kind` and `apiVersion`, as the items of a list are.
    pub(crate) item: String,
}

impl Object {
    fn new(resource: &'static Resource, mut object: Value, version: u64) -> Result<Self> {
        let fields = object.as_object_mut().context("an object is a JSON object")?;
        fields.remove("kind");
        fields.remove("apiVersion");
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
        let key = (text("/metadata/namespace"), text("/metadata/name"));
        ensure!(!key.1.is_empty(), "an object has a name");
        ensure!(key.0.is_empty() != resource.is_namespaced, "{} {key:?}: wrong namespace", resource.plural);
        let mut values: BTreeMap<&'static str, String> = BTreeMap::new();
        for field in resource.fields {
            let value = match object.pointer(&format!("/{}", field.replace('.', "/"))) {
                Some(Value::String(value)) => value.clone(),
                Some(Value::Bool(value)) => value.to_string(),
                _ if matches!(*field, "spec.hostNetwork" | "spec.unschedulable") => "false".to_owned(),
                _ => String::new(),
            };
            values.insert(field, value);
        }
        values.insert("metadata.name", key.1.clone());
        values.insert("metadata.namespace", key.0.clone());
        let uid = text("/metadata/uid");
        Ok(Self { resource, key, uid, fields: values, item: object.to_string() })
    }

    /// The JSON with `kind` and `apiVersion`, as a single object and the object of an event are.
    pub(crate) fn whole(&self) -> String {
        let (kind, api_version) = (self.resource.kind, self.resource.api_version());
        format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",{}", &self.item[1..])
    }

    /// `PartialObjectMetadata`: what a client gets that asks for the metadata alone.
    pub(crate) fn partial(&self) -> String {
        let object: Value = serde_json::from_str(&self.item).unwrap_or_default();
        json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
        })
        .to_string()
    }

    /// The same with another version: what the event of its end shows.
    fn as_of(&self, version: u64) -> Result<Self> {
        Self::new(self.resource, serde_json::from_str(&self.item)?, version)
    }
}

/// A change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) resource: &'static Resource,
    pub(crate) before: Option<Arc<Object>>,
    pub(crate) after: Option<Arc<Object>>,
    /// What was before, with the version of the change: what is shown of an object that goes.
    pub(crate) last: Option<Arc<Object>>,
}

/// What is done to running watches.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Half of a line, then the end of the connection.
    Cut,
    /// The end of the stream, as after `timeoutSeconds`.
    End,
    /// An `ERROR` event with 410.
    Expire,
    /// An `ERROR` event with 500.
    Fail,
    /// Silence, with the connection open, until the client goes.
    Freeze,
    /// A bookmark now, for those that allow them.
    Bookmark,
}

/// Everything that the server knows, with what has happened since the last compaction.
pub(crate) struct Store {
    objects: BTreeMap<&'static str, BTreeMap<Key, Arc<Object>>>,
    version: u64,
    /// Changes up to this version are forgotten.
    compacted: u64,
    history: Vec<Change>,
    /// In order of their number, which is their place.
    orders: Vec<(Option<&'static str>, Order)>,
}

impl Store {
    /// An empty cluster, whose counter has come some way.
    pub(crate) fn new() -> Self {
        let objects = RESOURCES.iter().map(|resource| (resource.plural, BTreeMap::new())).collect();
        Self { objects, version: 1000, compacted: 0, history: Vec::new(), orders: Vec::new() }
    }

    /// The version of the last change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The oldest version at which a list, and after which a watch, is possible.
    pub(crate) fn oldest(&self) -> u64 {
        self.compacted
    }

    /// Creates or updates an object. One that is there and has another uid is deleted before, as it must be in the API.
    pub(crate) fn put(&mut self, mut object: Value) -> Result<u64> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let resource = Resource::of(&api_version, &kind)
            .with_context(|| format!("no resource for apiVersion {api_version:?} and kind {kind:?}"))?;
        let (key, uid) = ((text("/metadata/namespace"), text("/metadata/name")), text("/metadata/uid"));
        let mut before = self.get(resource, &key);
        if let Some(old) = &before
            && !uid.is_empty()
            && old.uid != uid
        {
            self.delete(resource, &key)?;
            before = None;
        }
        let version = self.version + 1;
        let metadata = object["metadata"].as_object_mut().context("an object has metadata")?;
        if uid.is_empty() {
            let uid = before.as_ref().map_or_else(|| uid_for(version), |old| old.uid.clone());
            metadata.insert("uid".to_owned(), json!(uid));
        }
        metadata.entry("creationTimestamp").or_insert_with(|| json!(rfc3339(now())));
        let after = Arc::new(Object::new(resource, object, version)?);
        let last = match &before {
            Some(old) => Some(Arc::new(old.as_of(version)?)),
            None => None,
        };
        self.version = version;
        self.objects.entry(resource.plural).or_default().insert(key, Arc::clone(&after));
        self.history.push(Change { version, resource, before, after: Some(after), last });
        Ok(version)
    }

    /// Takes an object away.
    pub(crate) fn delete(&mut self, resource: &'static Resource, key: &Key) -> Result<u64> {
        let objects = self.objects.entry(resource.plural).or_default();
        let old = objects.remove(key).with_context(|| format!("no {} {key:?}", resource.plural))?;
        self.version += 1;
        let (version, last) = (self.version, Some(Arc::new(old.as_of(self.version)?)));
        self.history.push(Change { version, resource, before: Some(old), after: None, last });
        Ok(version)
    }

    pub(crate) fn get(&self, resource: &Resource, key: &Key) -> Option<Arc<Object>> {
        self.objects.get(resource.plural)?.get(key).cloned()
    }

    /// What was there at a version; `None` if that is forgotten or yet to come.
    pub(crate) fn at(&self, resource: &Resource, version: u64) -> Option<BTreeMap<Key, Arc<Object>>> {
        if version < self.compacted || version > self.version {
            return None;
        }
        let mut objects = self.objects.get(resource.plural).cloned().unwrap_or_default();
        for change in self.since(version).iter().rev().filter(|change| change.resource == resource) {
            match (&change.before, &change.after) {
                (Some(before), _) => drop(objects.insert(before.key.clone(), Arc::clone(before))),
                (None, Some(after)) => drop(objects.remove(&after.key)),
                (None, None) => {}
            }
        }
        Some(objects)
    }

    /// What changed after a version that is not older than [`Self::oldest`].
    pub(crate) fn since(&self, version: u64) -> &[Change] {
        let from = self.history.partition_point(|change| change.version <= version);
        &self.history[from..]
    }

    /// Forgets the past.
    pub(crate) fn compact(&mut self) {
        // As in etcd, where something always goes on: the version that clients have is older than what is kept.
        self.version += 1;
        self.compacted = self.version;
        self.history.clear();
    }

    /// Orders something of the running watches of a resource, or of all.
    pub(crate) fn order(&mut self, resource: Option<&'static str>, order: Order) {
        self.orders.push((resource, order));
    }

    /// How many orders there were.
    pub(crate) fn ordered(&self) -> usize {
        self.orders.len()
    }

    /// The orders to watches of a resource since a number of orders.
    pub(crate) fn orders_since(&self, number: usize, resource: &Resource) -> Vec<Order> {
        let new = self.orders.iter().skip(number);
        new.filter(|(to, _)| to.is_none_or(|to| to == resource.plural)).map(|(_, order)| *order).collect()
    }
}

/// A uid that no other object has.
fn uid_for(version: u64) -> String {
    format!("a5e7c0de-0000-4000-8000-{version:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, zone: &str) -> Value {
        json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "labels": {"zone": zone}}})
    }

    #[test]
    fn the_past_is_what_it_was() {
        let mut store = Store::new();
        let nodes = Resource::named("nodes").unwrap();
        let first = store.put(node("a", "1")).unwrap();
        let second = store.put(node("b", "1")).unwrap();
        let third = store.put(node("a", "2")).unwrap();
        let fourth = store.delete(nodes, &(String::new(), "b".into())).unwrap();
        let at = |version| {
            let objects = store.at(nodes, version).unwrap();
            let zone = |one: &Object| {
                let item: Value = serde_json::from_str(&one.item).unwrap();
                item["metadata"]["labels"]["zone"].as_str().unwrap().to_owned()
            };
            objects.values().map(|one| one.key.1.clone() + &zone(one)).collect::<Vec<_>>()
        };
        assert_eq!(at(first - 1), Vec::<String>::new());
        assert_eq!(at(first), ["a1"]);
        assert_eq!(at(second), ["a1", "b1"]);
        assert_eq!(at(third), ["a2", "b1"]);
        assert_eq!(at(fourth), ["a2"]);
        assert!(store.at(nodes, fourth + 1).is_none());
        store.compact();
        assert!(store.at(nodes, fourth).is_none());
        assert_eq!(store.at(nodes, store.version()).unwrap().len(), 1);
    }

    #[test]
    fn another_uid_is_another_object() {
        let mut store = Store::new();
        let mut one = node("a", "1");
        store.put(one.clone()).unwrap();
        store.put(one.clone()).unwrap();
        one["metadata"]["uid"] = json!("another");
        store.put(one).unwrap();
        let changes: Vec<_> =
            store.since(0).iter().map(|change| (change.before.is_some(), change.after.is_some())).collect();
        assert_eq!(changes, [(false, true), (true, true), (true, false), (false, true)]);
        let last = store.since(0)[2].last.clone().unwrap();
        let item: Value = serde_json::from_str(&last.item).unwrap();
        assert_eq!(item["metadata"]["resourceVersion"], store.since(0)[2].version.to_string());
    }
}
