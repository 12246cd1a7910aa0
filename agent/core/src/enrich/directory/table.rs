//! Stores many small objects under 32-bit ids, with a hash index on a key that is part of the object.
//!
//! Objects live in chunks of 256, so that growth copies nothing and wastes at most a chunk. An object costs its size and 5
//! bytes of index for each slot, of which 7/16 to 7/8 are in use.

use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;

/// An id that no object has: the end of a list.
pub const NONE: u32 = u32::MAX;
/// Objects in a chunk.
const CHUNK: usize = 256;
/// An index of fewer objects is not shrunk.
const SMALL: usize = 4 * CHUNK;

/// An object that is found by a key.
pub trait Keyed {
    /// The key's type. Its hash is seeded, because peers choose some of the keys.
    type Key: Eq + Hash;
    /// The key; it must not change while the object is in the table.
    fn key(&self) -> &Self::Key;
}

/// An object whose key others may have too: these are linked in a list.
pub trait Chained: Keyed {
    /// The id of the next object with the same key, or [`NONE`], to be changed.
    fn next(&mut self) -> &mut u32;
    /// The id of the next object with the same key, or [`NONE`].
    fn following(&self) -> u32;
}

/// Objects, found by id and by key.
#[derive(Debug)]
pub struct Table<T> {
    chunks: Vec<Chunk<T>>,
    /// Chunks with free slots; the last one is filled next. May contain chunks that have filled up since.
    open_chunks: Vec<usize>,
    index: HashTable<u32>,
    hasher: RandomState,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    slots: Vec<Slot<T>>,
    /// The first free slot, or [`NONE`].
    free: u32,
    used: usize,
    /// Whether it is among the open chunks.
    is_open: bool,
}

#[derive(Debug)]
enum Slot<T> {
    Used(T),
    /// The next free slot.
    Free(u32),
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            open_chunks: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
            len: 0,
        }
    }
}

impl<T: Keyed> Table<T> {
    /// The number of objects.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The number of different keys.
    pub fn keys(&self) -> usize {
        self.index.len()
    }

    /// The object with this id.
    pub fn get(&self, id: u32) -> Option<&T> {
        get(&self.chunks, id)
    }

    /// The object with this id, to be changed; its key must stay.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        let id = usize::try_from(id).ok()?;
        match self.chunks.get_mut(id / CHUNK)?.slots.get_mut(id % CHUNK)? {
            Slot::Used(object) => Some(object),
            Slot::Free(_) => None,
        }
    }

    /// The id of the object with this key; of several, of the one added last.
    pub fn find(&self, key: &T::Key) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |id| get(&self.chunks, *id).is_some_and(|object| object.key() == key)).copied()
    }

    /// All objects with their ids, in the order of ids.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.chunks.iter().enumerate().flat_map(|(chunk, slots)| {
            slots.slots.iter().enumerate().filter_map(move |(slot, object)| match object {
                Slot::Used(object) => Some((to_id(chunk, slot), object)),
                Slot::Free(_) => None,
            })
        })
    }

    /// All objects, to be changed; their keys must stay.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let slots = self.chunks.iter_mut().flat_map(|chunk| &mut chunk.slots);
        slots.filter_map(|slot| match slot {
            Slot::Used(object) => Some(object),
            Slot::Free(_) => None,
        })
    }

    /// Adds an object whose key no other has, and returns its id.
    pub fn insert(&mut self, object: T) -> u32 {
        let hash = self.hasher.hash_one(object.key());
        let id = self.store(object);
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        self.index.insert_unique(hash, id, |id| hash_of(chunks, hasher, *id));
        id
    }

    /// Removes an object whose key no other has.
    pub fn remove(&mut self, id: u32) -> Option<T> {
        let hash = hash_of(&self.chunks, &self.hasher, id);
        if let Ok(found) = self.index.find_entry(hash, |other| *other == id) {
            found.remove();
        }
        self.shrink();
        self.take(id)
    }

    /// Frees memory of an index that is nearly empty.
    fn shrink(&mut self) {
        if self.index.capacity() / 8 > self.index.len().max(SMALL) {
            let (chunks, hasher) = (&self.chunks, &self.hasher);
            self.index.shrink_to(self.index.len() * 2, |id| hash_of(chunks, hasher, *id));
        }
    }

    fn store(&mut self, object: T) -> u32 {
        self.len += 1;
        let at = self.open_chunk();
        let chunk = &mut self.chunks[at];
        chunk.used += 1;
        let free = usize::try_from(chunk.free).unwrap_or(usize::MAX);
        if let Some(slot) = chunk.slots.get_mut(free) {
            if let Slot::Free(next) = slot {
                chunk.free = *next;
            }
            *slot = Slot::Used(object);
            return to_id(at, free);
        }
        chunk.slots.reserve_exact(CHUNK - chunk.slots.len());
        chunk.slots.push(Slot::Used(object));
        to_id(at, chunk.slots.len() - 1)
    }

    fn open_chunk(&mut self) -> usize {
        while let Some(at) = self.open_chunks.last() {
            let chunk = &mut self.chunks[*at];
            if chunk.used < CHUNK {
                return *at;
            }
            chunk.is_open = false;
            self.open_chunks.pop();
        }
        self.chunks.push(Chunk { slots: Vec::new(), free: NONE, used: 0, is_open: true });
        self.open_chunks.push(self.chunks.len() - 1);
        self.chunks.len() - 1
    }

    fn take(&mut self, id: u32) -> Option<T> {
        let index = usize::try_from(id).ok()?;
        let (at, within) = (index / CHUNK, index % CHUNK);
        let chunk = self.chunks.get_mut(at)?;
        let slot = chunk.slots.get_mut(within)?;
        let Slot::Used(object) = std::mem::replace(slot, Slot::Free(chunk.free)) else {
            return None; // An id that is not in use; the slot would leak, no more.
        };
        chunk.free = to_id(0, within);
        chunk.used -= 1;
        self.len -= 1;
        if chunk.used == 0 {
            chunk.slots = Vec::new();
            chunk.free = NONE;
        }
        if !chunk.is_open {
            chunk.is_open = true;
            self.open_chunks.push(at);
        }
        Some(object)
    }
}

impl<T: Chained> Table<T> {
    /// All objects with this key, the one added last first.
    pub fn chain(&self, key: &T::Key) -> impl Iterator<Item = (u32, &T)> {
        let mut id = self.find(key).unwrap_or(NONE);
        std::iter::from_fn(move || {
            let object = self.get(id)?;
            let found = (id, object);
            id = object.following();
            Some(found)
        })
    }

    /// Adds an object whose key others may have.
    pub fn push(&mut self, mut object: T) -> u32 {
        let hash = self.hasher.hash_one(object.key());
        let Some(first) = self.find(object.key()) else {
            *object.next() = NONE;
            return self.insert(object);
        };
        *object.next() = first;
        let id = self.store(object);
        self.replace(hash, first, id);
        id
    }

    /// Removes an object whose key others may have.
    pub fn unlink(&mut self, id: u32) -> Option<T> {
        let object = self.get(id)?;
        let (hash, next) = (self.hasher.hash_one(object.key()), object.following());
        let mut before = self.find(object.key())?;
        if before == id {
            if next == NONE {
                return self.remove(id);
            }
            self.replace(hash, id, next);
            return self.take(id);
        }
        while let Some(other) = self.get_mut(before) {
            if other.following() == id {
                *other.next() = next;
                break;
            }
            before = other.following();
        }
        self.take(id)
    }

    fn replace(&mut self, hash: u64, old: u32, new: u32) {
        if let Some(first) = self.index.find_mut(hash, |id| *id == old) {
            *first = new;
        }
    }
}

fn get<T>(chunks: &[Chunk<T>], id: u32) -> Option<&T> {
    let id = usize::try_from(id).ok()?;
    match chunks.get(id / CHUNK)?.slots.get(id % CHUNK)? {
        Slot::Used(object) => Some(object),
        Slot::Free(_) => None,
    }
}

fn hash_of<T: Keyed>(chunks: &[Chunk<T>], hasher: &RandomState, id: u32) -> u64 {
    get(chunks, id).map_or(0, |object| hasher.hash_one(object.key()))
}

/// Tables are bounded far below 2^32 objects.
fn to_id(chunk: usize, slot: usize) -> u32 {
    u32::try_from(chunk * CHUNK + slot).unwrap_or(NONE)
}

#[cfg(test)]
mod tests;
