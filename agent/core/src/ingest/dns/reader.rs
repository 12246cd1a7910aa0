//! Reads a message from front to back, and follows compression pointers back.

use super::Malformed;
use super::name::Labels;

/// Compression pointers that are followed for one name. A name has at most 127 labels; one pointer may lead to each of them
/// and one to the end.
pub(super) const MAX_POINTERS: usize = 128;

/// A position in a message.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    /// The message up to where reading must end; pointers lead back to anywhere in it.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Splits off a reader of the next `length` bytes.
    pub(super) fn part(&mut self, length: u16) -> Result<Self, Malformed> {
        let part = *self;
        self.take(usize::from(length))?;
        let bytes = self.bytes.get(..self.at).ok_or(Malformed::Short)?;
        Ok(Self { bytes, ..part })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let rest = self.bytes.get(self.at..).ok_or(Malformed::Short)?;
        let taken = rest.get(..length).ok_or(Malformed::Short)?;
        self.at += length;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.first_chunk().copied().ok_or(Malformed::Short)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads a name (RFC 1035 §3.1), compressed or not (§4.1.4), and moves behind it.
    ///
    /// A pointer must lead to before the start of the labels that it ends. So each leads further back than the one before,
    /// and there is no loop.
    pub(super) fn name(&mut self) -> Result<Labels, Malformed> {
        let mut labels = Labels::ROOT;
        let mut source = *self;
        let mut began = source.at;
        let mut pointers = 0;
        loop {
            let [first] = source.array()?;
            match first {
                0 => break,
                1..=63 => {
                    let label = source.take(usize::from(first))?;
                    labels.push(label).ok_or(Malformed::NameLength)?;
                }
                64..=191 => return Err(Malformed::Label(first)),
                192..=255 => {
                    let [second] = source.array()?;
                    if pointers == 0 {
                        *self = source;
                    }
                    pointers += 1;
                    if pointers > MAX_POINTERS {
                        return Err(Malformed::Pointers);
                    }
                    let target = usize::from(u16::from_be_bytes([first & 0x3f, second]));
                    if target >= began {
                        return Err(Malformed::Pointer);
                    }
                    began = target;
                    source.at = target;
                }
            }
        }
        if pointers == 0 {
            *self = source;
        }
        Ok(labels)
    }
}
