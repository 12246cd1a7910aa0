//! A writer of protobuf messages, field by field.

/// A message that is being written: fields in the encoding of <https://protobuf.dev/programming-guides/encoding/>.
#[derive(Debug, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    const VARINT: u32 = 0;
    const FIXED_64: u32 = 1;
    const LENGTH: u32 = 2;

    /// A number without a field: a length.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    fn key(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    /// An integer, or an enum's value.
    pub fn number(&mut self, field: u32, value: u64) {
        self.key(field, Self::VARINT);
        self.varint(value);
    }

    /// A `sint32` or `sint64`.
    pub fn signed(&mut self, field: u32, value: i64) {
        self.number(field, (value << 1 ^ value >> 63).cast_unsigned());
    }

    /// A `double`.
    pub fn double(&mut self, field: u32, value: f64) {
        self.fixed(field, value.to_bits());
    }

    /// A `fixed64`, or the bits of another type of that size.
    pub fn fixed(&mut self, field: u32, bits: u64) {
        self.key(field, Self::FIXED_64);
        self.0.extend_from_slice(&bits.to_le_bytes());
    }

    /// A packed list of what [`Self::fixed`] writes.
    pub fn packed(&mut self, field: u32, all: impl ExactSizeIterator<Item = u64>) {
        self.key(field, Self::LENGTH);
        self.varint(8 * all.len() as u64);
        all.for_each(|bits| self.0.extend_from_slice(&bits.to_le_bytes()));
    }

    /// A message within this one that has been written already.
    pub fn whole(&mut self, field: u32, message: &[u8]) {
        self.key(field, Self::LENGTH);
        self.varint(message.len() as u64);
        self.0.extend_from_slice(message);
    }

    /// A string, in parts.
    pub fn parts(&mut self, field: u32, parts: &[&str]) {
        self.key(field, Self::LENGTH);
        self.varint(parts.iter().map(|part| part.len() as u64).sum());
        parts.iter().for_each(|part| self.0.extend_from_slice(part.as_bytes()));
    }

    /// A message within this one. Most are shorter than 128 bytes, and their length is one byte.
    pub fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.key(field, Self::LENGTH);
        let begin = self.0.len();
        self.0.push(0);
        write(self);
        let length = self.0.len() - begin - 1;
        match self.0.get_mut(begin) {
            Some(short) if length < 0x80 => *short = length.to_le_bytes()[0],
            _ => {
                let mut long = Self::default();
                long.varint(length as u64);
                self.0.splice(begin..=begin, long.0);
            }
        }
    }
}
