//! Values with a number each, and numbers that are used again.

/// See above. Each value is boxed: what is removed gives its memory back, and growing copies pointers only.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Option<Box<T>>>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    /// Without values.
    pub const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Keeps the value; returns its number.
    pub fn insert(&mut self, value: T) -> usize {
        let value = Some(Box::new(value));
        if let Some(free) = self.free.pop() {
            self.slots[free] = value;
            return free;
        }
        self.slots.push(value);
        self.slots.len() - 1
    }

    /// The value with this number.
    pub fn get(&self, number: usize) -> Option<&T> {
        self.slots.get(number)?.as_deref()
    }

    /// The value with this number, to change it.
    pub fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.slots.get_mut(number)?.as_deref_mut()
    }

    /// Gives the value back; its number may be used again.
    pub fn remove(&mut self, number: usize) -> Option<Box<T>> {
        let value = self.slots.get_mut(number)?.take()?;
        self.free.push(number);
        Some(value)
    }

    /// All values with their numbers.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(number, slot)| Some((number, slot.as_deref_mut()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_eq!((slab.get(a), slab.get(b), slab.get(2)), (Some(&"a"), Some(&"b"), None));
        assert_eq!(slab.remove(a).as_deref(), Some(&"a"));
        assert_eq!((slab.remove(a), slab.get_mut(a)), (None, None));
        assert_eq!(slab.insert("c"), a);
        let all: Vec<_> = slab.iter_mut().map(|(number, value)| (number, *value)).collect();
        assert_eq!(all, [(a, "c"), (b, "b")]);
    }
}
