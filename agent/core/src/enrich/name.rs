//! What a workload or a service is called: a namespace and a name, kept once for all that bear it.

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Between the namespace and the name: smaller than every octet of either, so that text is in the order of its parts.
const SEPARATOR: char = '\0';
/// Names are not looked through for those that nobody holds before there are so many.
const FEW: usize = 1024;

/// A namespace and the name of a workload or service in it. To clone it allocates nothing.
#[derive(Clone, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// One that is not kept for others: see [`Interner::name`].
    #[must_use]
    pub fn new(namespace: &str, workload: &str) -> Self {
        let mut text = String::with_capacity(namespace.len() + 1 + workload.len());
        write(&mut text, namespace, workload);
        Self(text.into())
    }

    /// Where it is; empty for what is in no namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    /// The workload; of a service, the service.
    #[must_use]
    pub fn workload(&self) -> &str {
        self.parts().1
    }

    /// Whether anybody beside the asker holds it.
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

/// Neither part may hold the separator; none of Kubernetes does, and in others it is left out.
fn write(text: &mut String, namespace: &str, workload: &str) {
    text.extend(namespace.chars().filter(|char| *char != SEPARATOR));
    text.push(SEPARATOR);
    text.extend(workload.chars().filter(|char| *char != SEPARATOR));
}

/// Keeps every name once, for as long as somebody holds it.
#[derive(Debug, Default)]
pub struct Interner {
    names: HashSet<Text>,
    /// Where the text of a name that is asked for is put together.
    text: String,
    /// At so many names, those that nobody holds are looked for.
    forget_at: usize,
}

/// A name, found by its text.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Text(Arc<str>);

impl std::borrow::Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Interner {
    /// The one name that is called so.
    pub fn name(&mut self, namespace: &str, workload: &str) -> Name {
        self.text.clear();
        write(&mut self.text, namespace, workload);
        if let Some(Text(text)) = self.names.get(self.text.as_str()) {
            return Name(Arc::clone(text));
        }
        if self.names.len() >= self.forget_at.max(FEW) {
            self.forget();
        }
        let text: Arc<str> = self.text.as_str().into();
        self.names.insert(Text(Arc::clone(&text)));
        Name(text)
    }

    /// Forgets the names that nobody holds. Done by itself whenever names have doubled.
    pub fn forget(&mut self) {
        self.names.retain(|Text(text)| Arc::strong_count(text) > 1);
        self.forget_at = self.names.len().saturating_mul(2);
        if self.names.capacity() / 4 > self.names.len().max(FEW) {
            self.names.shrink_to(self.names.len() * 2);
        }
    }

    /// How many names are kept, those included that nobody holds any more and that were not forgotten yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests;
