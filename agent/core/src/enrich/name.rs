//! Names of workloads and services: a namespace and a name, interned.

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Separates the namespace from the name. It is less than every byte of either, so that names sort by namespace first.
const SEPARATOR: char = '\0';
/// Unused names are not removed while there are fewer names than this.
const MIN_SWEPT: usize = 1024;

/// A namespace and the name of a workload or service in it. Cloning copies a pointer.
#[derive(Clone, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// A new name that shares its memory with no equal one: see [`Interner::name`].
    #[must_use]
    pub fn new(namespace: &str, workload: &str) -> Self {
        let mut text = String::with_capacity(namespace.len() + 1 + workload.len());
        write(&mut text, namespace, workload);
        Self(text.into())
    }

    /// The namespace; empty if there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    /// The name of the workload or service, without the namespace.
    #[must_use]
    pub fn workload(&self) -> &str {
        self.parts().1
    }

    /// Whether this name has a clone.
    #[must_use]
    pub fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once(SEPARATOR).unwrap_or(("", &self.0))
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// `namespace/workload`
impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, workload) = self.parts();
        write!(formatter, "{namespace}/{workload}")
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// As the pair of both parts.
impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.parts().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (namespace, workload) = <(String, String)>::deserialize(deserializer)?;
        Ok(Self::new(&namespace, &workload))
    }
}

/// Writes both parts and the separator. A separator within a part is removed; Kubernetes allows none there.
fn write(text: &mut String, namespace: &str, workload: &str) {
    text.extend(namespace.chars().filter(|char| *char != SEPARATOR));
    text.push(SEPARATOR);
    text.extend(workload.chars().filter(|char| *char != SEPARATOR));
}

/// Shares the memory of equal names while they are in use.
#[derive(Debug, Default)]
pub struct Interner {
    names: HashSet<Text>,
    /// A buffer for the text of the name that is looked up.
    text: String,
    /// The number of names at which unused ones are removed next.
    forget_at: usize,
}

/// The text of a name, as a key that can be looked up by `str`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Text(Arc<str>);

impl std::borrow::Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Interner {
    /// The shared name with this namespace and workload; adds it if it is new.
    pub fn name(&mut self, namespace: &str, workload: &str) -> Name {
        self.text.clear();
        write(&mut self.text, namespace, workload);
        if let Some(Text(text)) = self.names.get(self.text.as_str()) {
            return Name(Arc::clone(text));
        }
        if self.names.len() >= self.forget_at.max(MIN_SWEPT) {
            self.forget();
        }
        let text: Arc<str> = self.text.as_str().into();
        self.names.insert(Text(Arc::clone(&text)));
        Name(text)
    }

    /// Removes unused names. [`Self::name`] does so too whenever the number of names has doubled.
    pub fn forget(&mut self) {
        self.names.retain(|Text(text)| Arc::strong_count(text) > 1);
        self.forget_at = self.names.len().saturating_mul(2);
        if self.names.capacity() / 4 > self.names.len().max(MIN_SWEPT) {
            self.names.shrink_to(self.names.len() * 2);
        }
    }

    /// The number of names, including unused ones not removed yet.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests;
