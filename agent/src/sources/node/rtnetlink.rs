//! Devices, queueing disciplines and neighbours of the agent's network namespace, by rtnetlink (rtnetlink(7)).

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use netcause_core::node::links::{Link, Qdisc};
use netcause_core::node::neighbours::{Neighbour, Table};
use netcause_core::node::{Failure, Found, Reason};
use rustix::io::Errno;

use crate::kernel::netlink::attributes::{Malformed, find, nested};
use crate::kernel::netlink::{
    Messages, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, Socket, errno, request,
};

/// Message types (include/uapi/linux/rtnetlink.h): of what there is, and of the request for it.
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
const NEW_QDISC: u16 = 36;
const GET_QDISC: u16 = 38;
const NEW_NEIGHBOUR_TABLE: u16 = 64;
const GET_NEIGHBOUR_TABLE: u16 = 66;

/// Attributes of links (include/uapi/linux/if_link.h).
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_CARRIER_UP_COUNT: u16 = 47;
const IFLA_CARRIER_DOWN_COUNT: u16 = 48;
const IFLA_INFO_KIND: u16 = 1;
/// Places in `struct rtnl_link_stats64` of the counters before those of the carrier.
const STATS64: [usize; 7] = [0, 1, 4, 5, 6, 7, 15];
/// IFF_UP and IFF_RUNNING.
const FLAGS_UP: u32 = 0x1 | 0x40;

/// Attributes of queueing disciplines.
const TCA_KIND: u16 = 1;
const TCA_STATS2: u16 = 7;
const TCA_STATS_QUEUE: u16 = 3;
/// Parents of what a device has at its root and at its ingress (TC_H_ROOT, TC_H_INGRESS).
const PARENTS: [u32; 2] = [0xffff_ffff, 0xffff_fff1];

/// Attributes of neighbours and their tables.
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDTA_NAME: u16 = 1;
const NDTA_THRESHOLDS: [u16; 3] = [2, 3, 4];
const NDTA_CONFIG: u16 = 5;
const NDTA_STATS: u16 = 7;
/// Places in `struct ndt_stats` of failed resolutions, forced collections and full tables.
const NDT_STATS: [usize; 3] = [3, 9, 10];

/// Lengths of the headers `struct ifinfomsg`, `tcmsg`, `ndmsg` and `ndtmsg`.
const LINK_HEADER: usize = 16;
const QDISC_HEADER: usize = 20;
const NEIGHBOUR_HEADER: usize = 12;
const TABLE_HEADER: usize = 4;

/// Every device.
pub(super) fn links() -> Found<Vec<Link>> {
    dump(GET_LINK, NEW_LINK, &[0; LINK_HEADER], |body| link(body).map(Some))
}

/// The queueing disciplines at the roots and ingresses of devices, but for those that never queue or drop.
pub(super) fn qdiscs() -> Found<Vec<Qdisc>> {
    dump(GET_QDISC, NEW_QDISC, &[0; QDISC_HEADER], qdisc)
}

/// Neighbours with a link address.
pub(super) fn neighbours() -> Found<Vec<Neighbour>> {
    dump(GET_NEIGHBOUR, NEW_NEIGHBOUR, &[0; NEIGHBOUR_HEADER], neighbour)
}

/// The kernel's tables of neighbours.
pub(super) fn tables() -> Found<Vec<Table>> {
    dump(GET_NEIGHBOUR_TABLE, NEW_NEIGHBOUR_TABLE, &[0; TABLE_HEADER], table)
}

/// Requests all objects of a kind and parses each.
fn dump<T>(
    get: u16,
    new: u16,
    header: &[u8],
    parse: impl Fn(&[u8]) -> Result<Option<T>, Malformed>,
) -> Found<Vec<T>> {
    const SEQUENCE: u32 = 1;
    let malformed =
        |_| Failure::new(Reason::Malformed, format!("rtnetlink: cannot parse a message of type {new}"));
    let mut socket = Socket::open(None, 0).map_err(failure)?;
    socket.send(&request(get, NLM_F_DUMP, SEQUENCE, header)).map_err(failure)?;
    let mut found = Vec::new();
    loop {
        for message in Messages(socket.receive().map_err(failure)?) {
            let message = message.map_err(malformed)?;
            let code = match message.kind {
                _ if message.sequence != SEQUENCE => continue,
                kind if kind == new => {
                    found.extend(parse(message.body).map_err(malformed)?);
                    continue;
                }
                NLMSG_ERROR => errno(message.body).map_err(malformed)?,
                NLMSG_DONE => errno(message.body).unwrap_or(0),
                NLMSG_OVERRUN => return Err(malformed(Malformed)),
                _ => continue,
            };
            return if code == 0 { Ok(found) } else { Err(failure(Errno::from_raw_os_error(code))) };
        }
    }
}

/// Why rtnetlink does not answer.
pub(super) fn failure(errno: Errno) -> Failure {
    let reason = match errno {
        Errno::PERM | Errno::ACCESS => Reason::NotPermitted,
        Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => Reason::KernelFeatureMissing,
        Errno::MSGSIZE => Reason::Malformed,
        _ => Reason::Other,
    };
    Failure::new(reason, format!("rtnetlink: {errno}"))
}

fn link(body: &[u8]) -> Result<Link, Malformed> {
    let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
    let attributes = body.get(LINK_HEADER..).ok_or(Malformed)?;
    let number = |attribute| find(attributes, attribute)?.map_or(Ok(0), |value| u32_at(value, 0));
    let stats = find(attributes, IFLA_STATS64)?.unwrap_or_default();
    let mut counters = [0; 9];
    for (counter, place) in counters.iter_mut().zip(STATS64) {
        *counter = u64_at(stats, place * 8)?;
    }
    (counters[7], counters[8]) =
        (number(IFLA_CARRIER_UP_COUNT)?.into(), number(IFLA_CARRIER_DOWN_COUNT)?.into());
    let kind = match find(attributes, IFLA_LINKINFO)? {
        Some(info) => find(info, IFLA_INFO_KIND)?,
        None => None,
    };
    Ok(Link {
        index,
        name: text(find(attributes, IFLA_IFNAME)?.ok_or(Malformed)?),
        is_cable: kind.is_some_and(|kind| text(kind) == b"veth")
            && find(attributes, IFLA_LINK_NETNSID)?.is_some(),
        is_up: flags & FLAGS_UP == FLAGS_UP,
        mtu: number(IFLA_MTU)?,
        counters,
    })
}

fn qdisc(body: &[u8]) -> Result<Option<Qdisc>, Malformed> {
    let (index, handle, parent) = (u32_at(body, 4)?, u32_at(body, 8)?, u32_at(body, 12)?);
    let attributes = body.get(QDISC_HEADER..).ok_or(Malformed)?;
    let kind = text(find(attributes, TCA_KIND)?.ok_or(Malformed)?);
    let Some(stats) =
        find(attributes, TCA_STATS2)?.filter(|_| PARENTS.contains(&parent) && kind != b"noqueue")
    else {
        return Ok(None);
    };
    // `struct gnet_stats_queue`: length, backlog, drops, requeues, overlimits.
    let queue = nested(stats, TCA_STATS_QUEUE)?;
    let number = |place: usize| u32_at(queue, place * 4).map(u64::from);
    let (packets, bytes) = (number(0)?, number(1)?);
    let counters = [number(2)?, number(4)?, number(3)?];
    Ok(Some(Qdisc { index, handle, kind, counters, packets, bytes }))
}

fn neighbour(body: &[u8]) -> Result<Option<Neighbour>, Malformed> {
    let index = u32_at(body, 4)?;
    let attributes = body.get(NEIGHBOUR_HEADER..).ok_or(Malformed)?;
    let (Some(address), Some(link_address)) = (find(attributes, NDA_DST)?, find(attributes, NDA_LLADDR)?)
    else {
        return Ok(None);
    };
    let address = match *address {
        [a, b, c, d] => IpAddr::from([a, b, c, d]),
        _ => match <[u8; 16]>::try_from(address) {
            Ok(address) => IpAddr::from(address),
            // A neighbour of another protocol.
            Err(_) => return Ok(None),
        },
    };
    Ok(Some(Neighbour { index, address, link_address: link_address.to_vec() }))
}

/// `None` for the parameters of one device, which come as messages of their own.
fn table(body: &[u8]) -> Result<Option<Table>, Malformed> {
    let attributes = body.get(TABLE_HEADER..).ok_or(Malformed)?;
    let (Some(config), Some(stats)) = (find(attributes, NDTA_CONFIG)?, find(attributes, NDTA_STATS)?) else {
        return Ok(None);
    };
    let name = text(find(attributes, NDTA_NAME)?.ok_or(Malformed)?);
    let (mut thresholds, mut counters) = ([0; 3], [0; 3]);
    for (threshold, attribute) in thresholds.iter_mut().zip(NDTA_THRESHOLDS) {
        *threshold = find(attributes, attribute)?.map_or(Ok(0), |value| u32_at(value, 0))?.into();
    }
    for (counter, place) in counters.iter_mut().zip(NDT_STATS) {
        *counter = u64_at(stats, place * 8)?;
    }
    // `struct ndt_config`: two numbers of 16 bits, then the entries.
    let entries = u32_at(config, 4)?.into();
    Ok(Some(Table { name: String::from_utf8_lossy(&name).into_owned(), entries, thresholds, counters }))
}

/// A string without the zero at its end.
fn text(value: &[u8]) -> Vec<u8> {
    value.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    bytes
        .get(at..)
        .and_then(|bytes| bytes.first_chunk())
        .map(|bytes| u32::from_ne_bytes(*bytes))
        .ok_or(Malformed)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Malformed> {
    bytes
        .get(at..)
        .and_then(|bytes| bytes.first_chunk())
        .map(|bytes| u64::from_ne_bytes(*bytes))
        .ok_or(Malformed)
}
