//! A packet's linear part, which contains all of a small packet: read in place.

use super::Packet;
use crate::verifier::opaque;

/// Below the largest packet offset that the verifier accepts, 65 535 (`MAX_PACKET_OFF`, kernel/bpf/verifier.c).
const MAX_OFFSET: u32 = 0x7fff;

/// The linear part from an offset on, which is compared once for all words.
#[derive(Clone, Copy)]
pub struct Linear {
    start: usize,
    end: usize,
}

impl Packet {
    /// The same as [`Self::load`]; cheaper when the bytes lie in the packet's linear part, as those of small packets do.
    #[inline(always)]
    pub fn read<T: Copy + 'static>(self, offset: u32, to: &mut T) -> bool {
        match self.near::<T>(offset) {
            Some(bytes) => {
                *to = *bytes;
                true
            }
            None => self.load(offset, to),
        }
    }

    /// Reference to a value at an offset of the packet's linear part, which contains all of a small packet.
    #[inline(always)]
    pub fn near<T: 'static>(self, offset: u32) -> Option<&'static T> {
        let near = opaque(offset);
        if near <= MAX_OFFSET { self.at(near as usize) } else { None }
    }

    /// Its linear part from an offset on; `None` where programs cannot reach that.
    #[inline(always)]
    pub fn linear_from(self, offset: u32) -> Option<Linear> {
        let near = opaque(offset);
        // SAFETY: the context is the program's own.
        let (start, end) = unsafe { ((*self.0).data as usize, (*self.0).data_end as usize) };
        (near <= MAX_OFFSET).then_some(Linear { start: start + near as usize, end })
    }
}

impl Linear {
    /// The eight bytes at a constant offset; `None` when the linear part ends before theirs.
    #[inline(always)]
    pub fn word(self, offset: usize) -> Option<u64> {
        let at = self.start + offset;
        if at + size_of::<u64>() > self.end {
            return None;
        }
        // SAFETY: as in `Packet::at`.
        Some(unsafe { *(at as *const u64) })
    }
}
