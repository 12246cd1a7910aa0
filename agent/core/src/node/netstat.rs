//! What the protocols of a network namespace have counted: `/proc/PID/net/netstat`, `snmp` and `snmp6` (net/ipv4/proc.c,
//! net/ipv6/proc.c). Any process in the namespace will do.

use std::collections::HashMap;

use super::text::{Malformed, lines, number, words};

/// Counters that say why packets or connections were lost, refused or late, as `PROTOCOL_NAME`: those of retransmissions,
/// resets and traffic are counted per edge already. A kernel that does not have one counts it as 0.
pub const COUNTERS: [&str; 72] = [
    // Listening sockets.
    "TcpExt_ListenOverflows",
    "TcpExt_ListenDrops",
    "TcpExt_TCPReqQFullDrop",
    "TcpExt_TCPReqQFullDoCookies",
    "TcpExt_SyncookiesSent",
    "TcpExt_SyncookiesRecv",
    "TcpExt_SyncookiesFailed",
    "TcpExt_TCPDeferAcceptDrop",
    "TcpExt_TCPFastOpenListenOverflow",
    "TcpExt_EmbryonicRsts",
    "Tcp_AttemptFails",
    // Retransmission timeouts, and retransmissions that the kernel found needless later (RFC 5682, RFC 4015, RFC 2883).
    "TcpExt_TCPTimeouts",
    "TcpExt_TCPSpuriousRTOs",
    "TcpExt_TCPFullUndo",
    "TcpExt_TCPPartialUndo",
    "TcpExt_TCPDSACKUndo",
    "TcpExt_TCPLossUndo",
    // Memory.
    "TcpExt_PruneCalled",
    "TcpExt_RcvPruned",
    "TcpExt_OfoPruned",
    "TcpExt_TCPRcvCollapsed",
    "TcpExt_TCPRcvQDrop",
    "TcpExt_TCPOFODrop",
    "TcpExt_TCPBacklogDrop",
    "TcpExt_PFMemallocDrop",
    "TcpExt_TCPMemoryPressures",
    "TcpExt_TCPAbortOnMemory",
    "TcpExt_TCPWqueueTooBig",
    "TcpExt_TCPZeroWindowDrop",
    "TcpExt_TCPToZeroWindowAdv",
    // Segments that do not belong to the connection, and old addresses and ports used again.
    "TcpExt_PAWSActive",
    "TcpExt_PAWSEstab",
    "TcpExt_PAWSOldAck",
    "TcpExt_PAWSTimewait",
    "TcpExt_BeyondWindow",
    "TcpExt_TSEcrRejected",
    "TcpExt_TCPMinTTLDrop",
    "TcpExt_TCPChallengeACK",
    "TcpExt_TCPSYNChallenge",
    "TcpExt_TCPACKSkippedSynRecv",
    "TcpExt_TCPACKSkippedTimeWait",
    "TcpExt_TCPTimeWaitOverflow",
    "TcpExt_OutOfWindowIcmps",
    // Checksums and other broken packets.
    "Tcp_InErrs",
    "Tcp_InCsumErrors",
    "Udp_InCsumErrors",
    "Udp6_InCsumErrors",
    "Icmp_InCsumErrors",
    "Icmp6_InCsumErrors",
    "IpExt_InCsumErrors",
    "IpExt_InTruncatedPkts",
    "Ip_InHdrErrors",
    "Ip6_InHdrErrors",
    "Ip_ReasmFails",
    "Ip6_ReasmFails",
    // Routes.
    "TcpExt_IPReversePathFilter",
    "IpExt_InNoRoutes",
    "Ip6_InNoRoutes",
    "Ip_OutNoRoutes",
    "Ip6_OutNoRoutes",
    "Ip_InAddrErrors",
    "Icmp_InDestUnreachs",
    "Icmp6_InDestUnreachs",
    "Ip_FragFails",
    "Ip6_InTooBigErrors",
    // Dropped beside those.
    "Ip_InDiscards",
    "Ip6_InDiscards",
    "Ip_OutDiscards",
    "Ip6_OutDiscards",
    "Udp_NoPorts",
    "Udp_RcvbufErrors",
    "Udp6_RcvbufErrors",
];

/// The counters, by [`COUNTERS`].
pub type Counters = [u64; COUNTERS.len()];

/// Finds counters by their names.
#[derive(Debug)]
pub struct Parser {
    places: HashMap<(&'static [u8], &'static [u8]), usize>,
}

impl Default for Parser {
    fn default() -> Self {
        let place = |(place, name): (usize, &'static str)| {
            let (protocol, counter) = name.split_once('_')?;
            Some(((protocol.as_bytes(), counter.as_bytes()), place))
        };
        Self { places: COUNTERS.into_iter().enumerate().filter_map(place).collect() }
    }
}

impl Parser {
    /// Takes `snmp` or `netstat`: for each protocol a line of names and a line of values, which begin with its name.
    ///
    /// # Errors
    ///
    /// When a line of names is not followed by one of the same protocol with as many values, or there is none.
    pub fn pairs_of_lines(&self, text: &[u8], counters: &mut Counters) -> Result<(), Malformed> {
        let mut lines = lines(text).peekable();
        if lines.peek().is_none() {
            return Err(Malformed("a file of counters is empty"));
        }
        while let Some(names) = lines.next() {
            let (mut names, mut values) = (words(names), words(lines.next().unwrap_or_default()));
            let protocol = names.next().and_then(|protocol| protocol.strip_suffix(b":"));
            let protocol = protocol.ok_or(Malformed("counters without a protocol"))?;
            if values.next().and_then(|protocol| protocol.strip_suffix(b":")) != Some(protocol) {
                return Err(Malformed("names of counters without their values"));
            }
            for name in names {
                let value = values.next().ok_or(Malformed("fewer values than names of counters"))?;
                self.set(protocol, name, value, counters)?;
            }
        }
        Ok(())
    }

    /// Takes `snmp6`: on each line the protocol and the name in one word, and a value.
    ///
    /// # Errors
    ///
    /// When a counter has no value.
    pub fn lines_of_one(&self, text: &[u8], counters: &mut Counters) -> Result<(), Malformed> {
        for line in lines(text) {
            let mut words = words(line);
            let (name, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            // `Ip6InNoRoutes`, but no protocol is part of another's name.
            if let Some(end) = name.iter().position(|byte| *byte == b'6')
                && let Some((protocol, name)) = name.split_at_checked(end + 1)
            {
                self.set(protocol, name, value, counters)?;
            }
        }
        Ok(())
    }

    fn set(
        &self,
        protocol: &[u8],
        name: &[u8],
        value: &[u8],
        counters: &mut Counters,
    ) -> Result<(), Malformed> {
        let Some(place) = self.places.get(&(protocol, name)) else { return Ok(()) };
        let value = number(value, 10).ok_or(Malformed("a counter that is no number"))?;
        if let Some(counter) = counters.get_mut(*place) {
            *counter = value;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(name: &str) -> usize {
        COUNTERS.iter().position(|counter| *counter == name).unwrap()
    }

    fn read(text: &str) -> Result<Counters, Malformed> {
        let mut counters = [0; COUNTERS.len()];
        Parser::default().pairs_of_lines(text.as_bytes(), &mut counters)?;
        Ok(counters)
    }

    /// Linux 6.18; MaxConn is no counter and may be negative.
    const SNMP: &str = "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors\nIp: 2 64 3229820 1 0\n\
        Icmp: InMsgs InErrors InCsumErrors InDestUnreachs\nIcmp: 5 0 3 5\nIcmpMsg: InType3\nIcmpMsg: 5\n\
        Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens AttemptFails InErrs OutRsts InCsumErrors\n\
        Tcp: 1 200 120000 -1 88439 838 4 3703 2\nUdp: InDatagrams NoPorts\nUdp: 412 7\n";
    /// Linux 5.10 has fewer than half of the names of Linux 6.18, in another order.
    const NETSTAT: &str = "TcpExt: SyncookiesSent PruneCalled ListenOverflows ListenDrops NewName\nTcpExt: 1 25 8 9 77\n\
        IpExt: InNoRoutes InCsumErrors\nIpExt: 0 6\nMPTcpExt: MPCapableSYNRX\nMPTcpExt: 0\n";

    #[test]
    fn counters_are_found_by_name() {
        let counters = read(SNMP).unwrap();
        for (name, value) in [
            ("Ip_InHdrErrors", 1),
            ("Tcp_AttemptFails", 838),
            ("Tcp_InErrs", 4),
            ("Tcp_InCsumErrors", 2),
            ("Icmp_InCsumErrors", 3),
            ("Udp_NoPorts", 7),
            ("TcpExt_ListenDrops", 0),
        ] {
            assert_eq!(counters[place(name)], value, "{name}");
        }
        let counters = read(NETSTAT).unwrap();
        for (name, value) in [
            ("TcpExt_PruneCalled", 25),
            ("TcpExt_ListenOverflows", 8),
            ("TcpExt_ListenDrops", 9),
            ("IpExt_InCsumErrors", 6),
            ("TcpExt_PAWSOldAck", 0),
        ] {
            assert_eq!(counters[place(name)], value, "{name}");
        }
        let mut counters = [0; COUNTERS.len()];
        let six = b"Ip6InReceives                   \t5\nIp6InNoRoutes                   \t3\nIcmp6InCsumErrors               \t2\nIcmp6InType1 4\nUdp6RcvbufErrors \t9\nUdpLite6InCsumErrors 8\n";
        Parser::default().lines_of_one(six, &mut counters).unwrap();
        for (name, value) in [
            ("Ip6_InNoRoutes", 3),
            ("Icmp6_InCsumErrors", 2),
            ("Udp6_RcvbufErrors", 9),
            ("Udp6_InCsumErrors", 0),
        ] {
            assert_eq!(counters[place(name)], value, "{name}");
        }
    }

    #[test]
    fn every_counter_has_a_protocol_and_is_listed_once() {
        assert_eq!(Parser::default().places.len(), COUNTERS.len());
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "Tcp: InErrs\n",
            "Tcp: InErrs\nUdp: 4\n",
            "Tcp: InErrs\nTcp: x\n",
            "Tcp: InErrs InCsumErrors\nTcp: 4\n",
            "Tcp\nTcp\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..200), at in 0..NETSTAT.len(), byte: u8) {
            let (parser, mut counters) = (Parser::default(), [0; COUNTERS.len()]);
            let mut changed = NETSTAT.as_bytes().to_vec();
            changed[at] = byte;
            for text in [text, changed] {
                let _ = parser.pairs_of_lines(&text, &mut counters);
                let _ = parser.lines_of_one(&text, &mut counters);
                let _ = crate::node::softnet::parse(&text);
                let _ = crate::node::pressure::parse(&text);
            }
        }
    }
}
