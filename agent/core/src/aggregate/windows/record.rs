//! Counters as a few bytes: most are zero, and those of a few seconds are small.
//!
//! Runs of non-zero words, each with a byte before it: how many words are skipped (high four bits) and how many follow (low
//! four). Words are LEB128, seven bits a byte with the lowest first. Some 40 bytes for the 600 of a TCP edge.

use bytemuck::Pod;

use super::super::totals::{words, words_mut};

/// The most that a byte before a run can skip or announce.
const MOST: u8 = 15;

/// Appends counters.
pub fn write<C: Pod>(to: &mut Vec<u8>, counters: &C) {
    let mut rest = words(counters);
    while let Some(mut skip) = rest.iter().position(|word| *word != 0) {
        rest = &rest[skip..];
        while skip > usize::from(MOST) {
            to.push(MOST << 4);
            skip -= usize::from(MOST);
        }
        let run = rest.iter().take(MOST.into()).take_while(|word| **word != 0).count();
        // Neither is above `MOST`.
        let [skip, length] = [skip, run].map(|number| u8::try_from(number).unwrap_or(MOST));
        to.push(skip << 4 | length);
        let (now, later) = rest.split_at(run);
        now.iter().for_each(|word| write_number(to, *word));
        rest = later;
    }
}

/// Adds counters that were written to others, wrapping.
pub fn add<C: Pod>(bytes: &[u8], to: &mut C) {
    add_words(bytes, words_mut(to));
}

/// The same, of counters that are known as words only.
pub fn add_words(mut bytes: &[u8], to: &mut [u64]) {
    let mut words = to.iter_mut();
    while let Some((byte, rest)) = bytes.split_first() {
        bytes = rest;
        let (skip, run) = (usize::from(byte >> 4), byte & 15);
        if skip > 0 {
            words.nth(skip - 1);
        }
        for _ in 0..run {
            let (Some(word), Some(number)) = (words.next(), read_number(&mut bytes)) else { return };
            *word = word.wrapping_add(number);
        }
    }
}

/// Appends a number.
pub fn write_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    to.push((number & 0x7f) as u8);
}

/// Takes a number off the front; `None` when there is no whole one.
pub fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0_u64, 0_u32);
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(some in prop::collection::vec((0..60_usize, any::<u64>(), 0..64_u32), 0..60)) {
            let mut counters = [0_u64; 60];
            for (index, value, shift) in some {
                counters[index] = value >> shift;
            }
            let mut bytes = Vec::new();
            write(&mut bytes, &counters);
            let mut read = [1_u64; 60];
            add(&bytes, &mut read);
            prop_assert!(read.iter().zip(&counters).all(|(read, written)| *read == written.wrapping_add(1)));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            add(&bytes, &mut [0_u64; 20]);
        }
    }

    #[test]
    fn small_counts_are_small() {
        let mut counters = [0_u64; 120];
        counters[..4].copy_from_slice(&[1, 2, 3, 4]);
        counters[100] = 300;
        let mut bytes = Vec::new();
        write(&mut bytes, &counters);
        assert_eq!(bytes.len(), 1 + 4 + 6 + 1 + 2);
    }
}
