//! Attributes of netlink (`struct nlattr`, include/uapi/linux/netlink.h): read from octets that may be anything, and
//! written.

/// The octets are no sequence of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Length and type, in the machine's own order.
const HEADER: usize = 4;
/// NLA_F_NESTED: the attribute consists of attributes.
const NESTED: u16 = 1 << 15;
/// All but NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const TYPE_MASK: u16 = 0x3fff;

/// The value of the first attribute of a type; `None` when there is none.
///
/// What comes behind it is not looked at: the kernel's later attributes are none of our business.
pub(super) fn find(octets: &[u8], wanted: u16) -> Result<Option<&[u8]>, Malformed> {
    let mut rest = octets;
    while !rest.is_empty() {
        let [l0, l1, t0, t1] = *rest.first_chunk().ok_or(Malformed)?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(HEADER..length).ok_or(Malformed)?;
        if u16::from_ne_bytes([t0, t1]) & TYPE_MASK == wanted {
            return Ok(Some(value));
        }
        // The last one may be without its padding.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(None)
}

/// As [`find`], of an attribute that must be there, with a value of just this length.
pub(super) fn array<const N: usize>(octets: &[u8], wanted: u16) -> Result<[u8; N], Malformed> {
    find(octets, wanted)?.and_then(|value| value.try_into().ok()).ok_or(Malformed)
}

/// As [`find`], of attributes within one that must be there.
pub(super) fn nested(octets: &[u8], wanted: u16) -> Result<&[u8], Malformed> {
    find(octets, wanted)?.ok_or(Malformed)
}

/// Writes an attribute; of a value that is too long, nothing.
pub(super) fn put(into: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let Ok(length) = u16::try_from(HEADER + value.len()) else { return };
    into.extend(length.to_ne_bytes());
    into.extend(kind.to_ne_bytes());
    into.extend(value);
    into.resize(into.len().next_multiple_of(4), 0);
}

/// Writes an attribute that consists of attributes.
pub(super) fn put_nested(into: &mut Vec<u8>, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let mut value = Vec::new();
    write(&mut value);
    put(into, kind | NESTED, &value);
}
