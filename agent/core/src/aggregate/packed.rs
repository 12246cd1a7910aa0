//! Counters packed: most counters of most flows are zero, and zeros take no room here.

use std::marker::PhantomData;

use bytemuck::Pod;

use super::totals::{words, words_mut};

/// Words of [`Packed::present`]: counters of up to 320 words can be packed.
pub const MASKS: usize = 5;

/// The non-zero 64-bit words of a `T`, 56 bytes and 8 for each of them: a TCP flow takes some 200 bytes instead of 928.
///
/// Arithmetic wraps, as that of [`super::totals`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed<T> {
    /// Which words are not zero, as bits.
    present: [u64; MASKS],
    /// Their values, in order.
    values: Box<[u64]>,
    of: PhantomData<T>,
}

impl<T: Pod> Default for Packed<T> {
    fn default() -> Self {
        const { assert!(size_of::<T>().is_multiple_of(8) && size_of::<T>() <= MASKS * 64 * 8) };
        Self { present: [0; MASKS], values: Box::default(), of: PhantomData }
    }
}

impl<T: Pod> Packed<T> {
    /// Packs.
    #[must_use]
    pub fn new(counters: &T) -> Self {
        let mut packed = Self::default();
        packed.set(counters);
        packed
    }

    /// Replaces the counters; allocates only when other words than before are not zero.
    pub fn set(&mut self, counters: &T) {
        let words = words(counters);
        let present = present(words);
        let non_zero = words.iter().copied().filter(|word| *word != 0);
        if present == self.present {
            self.values.iter_mut().zip(non_zero).for_each(|(value, word)| *value = word);
        } else {
            self.present = present;
            self.values = non_zero.collect();
        }
    }

    /// Which words are not zero, as bits.
    #[must_use]
    pub fn present(&self) -> [u64; MASKS] {
        self.present
    }

    /// True when all counters are zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.values.is_empty()
    }

    /// The counters.
    #[must_use]
    pub fn unpack(&self) -> T {
        let mut counters = T::zeroed();
        self.add_to(&mut counters);
        counters
    }

    /// Adds the counters to others.
    pub fn add_to(&self, to: &mut T) {
        self.each(words_mut(to), |word, value| *word = word.wrapping_add(value));
    }

    /// Subtracts the counters from others.
    pub fn subtract_from(&self, from: &mut T) {
        self.each(words_mut(from), |word, value| *word = word.wrapping_sub(value));
    }

    fn each(&self, words: &mut [u64], act: impl Fn(&mut u64, u64)) {
        let mut values = self.values.iter();
        for (mask, words) in self.present.iter().zip(words.chunks_mut(64)) {
            let mut left = *mask;
            while left != 0
                && let Some(value) = values.next()
            {
                // A bit beyond the counters is never set.
                if let Some(word) = words.get_mut(left.trailing_zeros() as usize) {
                    act(word, *value);
                }
                left &= left - 1;
            }
        }
    }

    /// Adds to each counter.
    pub fn add(&mut self, delta: &T) {
        let words = words(delta);
        let changed = present(words);
        let is_new = self.present.iter().zip(&changed).any(|(present, changed)| changed & !present != 0);
        if is_new || !self.add_in_place(words, &changed) {
            let mut counters = self.unpack();
            super::totals::add(&mut counters, delta);
            self.set(&counters);
        }
    }

    /// Adds where every changed word has a value already. False when one of them would become zero: then nothing has
    /// changed.
    fn add_in_place(&mut self, words: &[u64], changed: &[u64; MASKS]) -> bool {
        let mut before = 0;
        let mut places = [(0_usize, 0_u64); MASKS * 64];
        let mut count = 0;
        for (chunk, (present, changed)) in words.chunks(64).zip(self.present.iter().zip(changed)) {
            let mut left = *changed;
            while left != 0 {
                let bit = left.trailing_zeros();
                let rank = before + (present & ((1 << bit) - 1)).count_ones() as usize;
                let (Some(value), Some(word)) = (self.values.get(rank), chunk.get(bit as usize)) else {
                    return false;
                };
                let sum = value.wrapping_add(*word);
                if sum == 0 {
                    return false;
                }
                places[count] = (rank, sum);
                count += 1;
                left &= left - 1;
            }
            before += present.count_ones() as usize;
        }
        for (rank, sum) in &places[..count] {
            if let Some(value) = self.values.get_mut(*rank) {
                *value = *sum;
            }
        }
        true
    }
}

fn present(words: &[u64]) -> [u64; MASKS] {
    let mut present = [0; MASKS];
    for (mask, words) in present.iter_mut().zip(words.chunks(64)) {
        for (bit, word) in words.iter().enumerate() {
            *mask |= u64::from(*word != 0) << bit;
        }
    }
    present
}

#[cfg(test)]
mod tests {
    use netcause_common::flow::TcpCounters;
    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::totals::Totals;

    fn totals(words: &[(usize, u64)]) -> Totals {
        let mut totals = Totals::ZERO;
        for (index, value) in words {
            let words = words_mut(&mut totals);
            let length = words.len();
            words[index % length] = *value;
        }
        totals
    }

    fn few() -> impl Strategy<Value = Vec<(usize, u64)>> {
        prop::collection::vec((0..1000_usize, any::<u64>()), 0..40)
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(first in few(), second in few()) {
            let (first, second) = (totals(&first), totals(&second));
            let mut packed = Packed::new(&first);
            prop_assert_eq!(packed.unpack(), first);
            packed.add(&second);
            let mut sum = first;
            sum.add(&second);
            prop_assert_eq!(&packed, &Packed::new(&sum));
            packed.add(&sum.negative());
            prop_assert_eq!(packed, Packed::default());
        }
    }

    #[test]
    fn a_quiet_flow_is_small() {
        let counters = TcpCounters { opened: 1, sent_bytes: 7, open: -1, ..TcpCounters::ZERO };
        let packed = Packed::new(&counters);
        assert_eq!((packed.values.len(), packed.unpack()), (3, counters));
        assert_eq!(size_of::<Packed<Totals>>(), 56);
    }
}
