//! Where many small objects are kept: in chunks, so that a table that grows copies nothing and leaves half of nothing empty,
//! found by a key that stands in the object itself.
//!
//! Objects are known by 32-bit numbers. An object costs its size, and 5 octets of index at a load of 7/16 to 7/8.

use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;

/// A number that no object has: the end of a chain.
pub const NONE: u32 = u32::MAX;
/// Objects of a chunk.
const CHUNK: usize = 256;
/// A table below this size is not made smaller.
const SMALL: usize = 4 * CHUNK;

/// What can be found by a key.
pub trait Keyed {
    /// The key: with a seeded hash, for peers choose some of them.
    type Key: Eq + Hash;
    /// Never changes while the object is in the table.
    fn key(&self) -> &Self::Key;
}

/// Of what there may be several with one key.
pub trait Chained: Keyed {
    /// The next one with the same key, or [`NONE`].
    fn next(&mut self) -> &mut u32;
    /// Likewise.
    fn following(&self) -> u32;
}

/// Objects by number and by key.
#[derive(Debug)]
pub struct Table<T> {
    chunks: Vec<Chunk<T>>,
    /// Chunks that had room, the next one to fill last.
    roomy: Vec<usize>,
    index: HashTable<u32>,
    hasher: RandomState,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    places: Vec<Place<T>>,
    /// The first free place, or [`NONE`].
    free: u32,
    used: usize,
    is_roomy: bool,
}

#[derive(Debug)]
enum Place<T> {
    Used(T),
    /// The next free place.
    Free(u32),
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            roomy: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
            len: 0,
        }
    }
}

impl<T: Keyed> Table<T> {
    /// Objects in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Different keys in the table.
    pub fn keys(&self) -> usize {
        self.index.len()
    }

    /// The object of this number.
    pub fn get(&self, id: u32) -> Option<&T> {
        get(&self.chunks, id)
    }

    /// Likewise.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        let id = usize::try_from(id).ok()?;
        match self.chunks.get_mut(id / CHUNK)?.places.get_mut(id % CHUNK)? {
            Place::Used(object) => Some(object),
            Place::Free(_) => None,
        }
    }

    /// The number of the object with this key; where they are chained, of the one put in last.
    pub fn find(&self, key: &T::Key) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |id| get(&self.chunks, *id).is_some_and(|object| object.key() == key)).copied()
    }

    /// All, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.chunks.iter().enumerate().flat_map(|(chunk, places)| {
            places.places.iter().enumerate().filter_map(move |(place, object)| match object {
                Place::Used(object) => Some((number(chunk, place), object)),
                Place::Free(_) => None,
            })
        })
    }

    /// All, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let places = self.chunks.iter_mut().flat_map(|chunk| &mut chunk.places);
        places.filter_map(|place| match place {
            Place::Used(object) => Some(object),
            Place::Free(_) => None,
        })
    }

    /// Puts in an object whose key no other has, and returns its number.
    pub fn insert(&mut self, object: T) -> u32 {
        let hash = self.hasher.hash_one(object.key());
        let id = self.place(object);
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        self.index.insert_unique(hash, id, |id| hash_of(chunks, hasher, *id));
        id
    }

    /// Takes out an object that is not chained.
    pub fn remove(&mut self, id: u32) -> Option<T> {
        let hash = hash_of(&self.chunks, &self.hasher, id);
        if let Ok(found) = self.index.find_entry(hash, |other| *other == id) {
            found.remove();
        }
        self.shrink();
        self.take(id)
    }

    /// Gives back memory of an index that is nearly empty.
    fn shrink(&mut self) {
        if self.index.capacity() / 8 > self.index.len().max(SMALL) {
            let (chunks, hasher) = (&self.chunks, &self.hasher);
            self.index.shrink_to(self.index.len() * 2, |id| hash_of(chunks, hasher, *id));
        }
    }

    fn place(&mut self, object: T) -> u32 {
        self.len += 1;
        let at = self.roomy_chunk();
        let chunk = &mut self.chunks[at];
        chunk.used += 1;
        let free = usize::try_from(chunk.free).unwrap_or(usize::MAX);
        if let Some(place) = chunk.places.get_mut(free) {
            if let Place::Free(next) = place {
                chunk.free = *next;
            }
            *place = Place::Used(object);
            return number(at, free);
        }
        chunk.places.reserve_exact(CHUNK - chunk.places.len());
        chunk.places.push(Place::Used(object));
        number(at, chunk.places.len() - 1)
    }

    fn roomy_chunk(&mut self) -> usize {
        while let Some(at) = self.roomy.last() {
            let chunk = &mut self.chunks[*at];
            if chunk.used < CHUNK {
                return *at;
            }
            chunk.is_roomy = false;
            self.roomy.pop();
        }
        self.chunks.push(Chunk { places: Vec::new(), free: NONE, used: 0, is_roomy: true });
        self.roomy.push(self.chunks.len() - 1);
        self.chunks.len() - 1
    }

    fn take(&mut self, id: u32) -> Option<T> {
        let index = usize::try_from(id).ok()?;
        let (at, within) = (index / CHUNK, index % CHUNK);
        let chunk = self.chunks.get_mut(at)?;
        let place = chunk.places.get_mut(within)?;
        let Place::Used(object) = std::mem::replace(place, Place::Free(chunk.free)) else {
            return None; // never: nobody asks twice, and if one did, the place would only be lost
        };
        chunk.free = number(0, within);
        chunk.used -= 1;
        self.len -= 1;
        if chunk.used == 0 {
            chunk.places = Vec::new();
            chunk.free = NONE;
        }
        if !chunk.is_roomy {
            chunk.is_roomy = true;
            self.roomy.push(at);
        }
        Some(object)
    }
}

impl<T: Chained> Table<T> {
    /// All objects with this key, the last one put in first.
    pub fn chain(&self, key: &T::Key) -> impl Iterator<Item = (u32, &T)> {
        let mut id = self.find(key).unwrap_or(NONE);
        std::iter::from_fn(move || {
            let object = self.get(id)?;
            let found = (id, object);
            id = object.following();
            Some(found)
        })
    }

    /// Puts in an object whose key others may have.
    pub fn push(&mut self, mut object: T) -> u32 {
        let hash = self.hasher.hash_one(object.key());
        let Some(first) = self.find(object.key()) else {
            *object.next() = NONE;
            return self.insert(object);
        };
        *object.next() = first;
        let id = self.place(object);
        self.replace(hash, first, id);
        id
    }

    /// Takes out an object, and out of its chain.
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
    match chunks.get(id / CHUNK)?.places.get(id % CHUNK)? {
        Place::Used(object) => Some(object),
        Place::Free(_) => None,
    }
}

fn hash_of<T: Keyed>(chunks: &[Chunk<T>], hasher: &RandomState, id: u32) -> u64 {
    get(chunks, id).map_or(0, |object| hasher.hash_one(object.key()))
}

/// Tables are bounded far below 2^32 objects.
fn number(chunk: usize, place: usize) -> u32 {
    u32::try_from(chunk * CHUNK + place).unwrap_or(NONE)
}

#[cfg(test)]
mod tests;
