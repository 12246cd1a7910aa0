//! Netlink attributes (`struct nlattr`, include/uapi/linux/netlink.h): a parser of untrusted bytes, and a writer.

/// The bytes are not a sequence of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Bytes of length and type, in native byte order.
const HEADER: usize = 4;
/// NLA_F_NESTED: the attribute consists of attributes.
const NESTED: u16 = 1 << 15;
/// All but NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const TYPE_MASK: u16 = 0x3fff;

/// The value of the first attribute of a type; `None` when there is none.
///
/// What follows it is not parsed.
pub fn find(bytes: &[u8], wanted: u16) -> Result<Option<&[u8]>, Malformed> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let [l0, l1, t0, t1] = *rest.first_chunk().ok_or(Malformed)?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(HEADER..length).ok_or(Malformed)?;
        if u16::from_ne_bytes([t0, t1]) & TYPE_MASK == wanted {
            return Ok(Some(value));
        }
        // The last one may lack its padding.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(None)
}

/// As [`find`], for a required attribute with a value of exactly this length.
pub fn array<const N: usize>(bytes: &[u8], wanted: u16) -> Result<[u8; N], Malformed> {
    find(bytes, wanted)?.and_then(|value| value.try_into().ok()).ok_or(Malformed)
}

/// As [`find`], for a required attribute that consists of attributes.
pub fn nested(bytes: &[u8], wanted: u16) -> Result<&[u8], Malformed> {
    find(bytes, wanted)?.ok_or(Malformed)
}

/// Writes an attribute, or nothing if the value is too long.
pub fn put(into: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let Ok(length) = u16::try_from(HEADER + value.len()) else { return };
    into.extend(length.to_ne_bytes());
    into.extend(kind.to_ne_bytes());
    into.extend(value);
    into.resize(into.len().next_multiple_of(4), 0);
}

/// Writes an attribute that consists of attributes.
pub fn put_nested(into: &mut Vec<u8>, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let mut value = Vec::new();
    write(&mut value);
    put(into, kind | NESTED, &value);
}
