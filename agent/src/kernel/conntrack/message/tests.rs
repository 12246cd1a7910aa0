//! Bytes as the kernel wrote them (6.18, x86-64).

use netcause_common::flow::{PROTOCOL_TCP, PROTOCOL_UDP};

use super::*;

/// A valid request: TCP, 10.77.0.3:37074 to 10.96.0.10:80.
const ASK: &str = "\
    48000000010101000700000000000000020000003400018014000180080001000a4d0003080002000a60000a1c000280\
    05000100060000000600020090d200000600030000500000\
";

/// The kernel's answer to it.
const REWRITTEN: &str = "\
    d400000000010200070000005b350000020000003400018014000180080001000a4d0003080002000a60000a1c000280\
    05000100060000000600020090d2000006000300005000003400028014000180080001000a4d0003080002000a4d0003\
    1c0002800500010006000000060002001f9000000600030090d2000008000300000001ae080008000000000008000c00\
    d946037c08000b00000000020800070000069780300004802c0001800500010003000000050002000a00000005000300\
    0a00000006000400230000000600050023000000\
";

/// ENOENT, with the request.
const ABSENT: &str = "\
    5c00000002000000070000005b350000feffffff48000000010101000700000000000000020000003400018014000180\
    080001000a4d0003080002000a60000a1c000280050001000600000006000200000900000600030000500000\
";

/// EPERM, to a request without CAP_NET_ADMIN.
const DENIED: &str = "\
    2800000002000000070000008f350000ffffffff1400000001010103070000000000000000000000\
";

/// UDP, unanswered.
const REWRITTEN_UDP: &str = "\
    a400000000010200070000005b350000020000003400018014000180080001000a4d0003080002000a60000a1c000280\
    050001001100000006000200c3ab000006000300003500003400028014000180080001000a4d0004080002000a4d0003\
    1c00028005000100110000000600020014e9000006000300c3ab000008000300000001a8080008000000000008000c00\
    6078d5e208000b0000000001080007000000001d\
";

/// TCP over IPv6.
const REWRITTEN_V6: &str = "\
    0401000000010200070000005b3500000a0000004c0001802c00018014000300fd770000000000000000000000000003\
    14000400fd9600000000000000000000000000101c000280050001000600000006000200e41600000600030000500000\
    4c0002802c00018014000300fd77000000000000000000000000000314000400fd770000000000000000000000000003\
    1c0002800500010006000000060002001f90000006000300e416000008000300000001ae080008000000000008000c00\
    a0d1e11a08000b0000000001080007000006977f300004802c0001800500010003000000050002000a00000005000300\
    0a00000006000400230000000600050023000000\
";

/// The same without address translation.
const DIRECT_V6: &str = "\
    0401000000010200070000005b3500000a0000004c0001802c00018014000300fd770000000000000000000000000003\
    14000400fd7700000000000000000000000000031c000280050001000600000006000200b3b40000060003001f900000\
    4c0002802c00018014000300fd77000000000000000000000000000314000400fd770000000000000000000000000003\
    1c0002800500010006000000060002001f90000006000300b3b40000080003000000018e080008000000000008000c00\
    ecb50ae608000b0000000001080007000006977f300004802c0001800500010003000000050002000a00000005000300\
    0a00000006000400230000000600050023000000\
";

/// ICMP echo request: a connection without ports.
const ICMP: &str = "\
    b400000000010200070000005b350000020000003c00018014000180080001000a4d0004080002000a4d000424000280\
    05000100010000000600040000000000050005000800000005000600000000003c00028014000180080001000a4d0004\
    080002000a4d000424000280050001000100000006000400000000000500050000000000050006000000000008000300\
    0000018a080008000000000008000c0038af7d0308000b0000000001080007000000001d\
";

/// The end of a dump.
const DONE: &str = "\
    1400000003000200070000005b35000000000000\
";

/// The size of the table: nothing of 262 144.
const SIZE: &str = "240000000501020007000000506e00000000000008000100000000000800020000040000";

/// Counters of CPU 1, invented but for their form.
const CPU: &str = "\
    640000000401020007000000506e00000000000108000200000000000800040000000003080008000000000008000900\
    0000000408000a000000000508000b000000000608000c000000000708000d000000000008000e000000000008000f00\
    00000000\
";

const SEQUENCE: u32 = 7;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn read(hex: &str) -> Vec<Result<Message, Malformed>> {
    Messages::new(&bytes(hex), SEQUENCE).collect()
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn tracked(protocol: u8, client: &str, destination: &str, answers_from: &str) -> Tracked {
    let (client, destination, answers_from) = (at(client), at(destination), at(answers_from));
    Tracked { protocol, client, destination, answers_from }
}

#[test]
fn a_question_is_written_as_the_kernel_wants_it() {
    let asked = ask_for_one(SEQUENCE, PROTOCOL_TCP, at("10.77.0.3:37074"), at("10.96.0.10:80"));
    assert_eq!(asked, bytes(ASK));
    assert_eq!(ask_for_all(SEQUENCE), bytes("1400000001010103070000000000000000000000"));
}

#[test]
fn connections_are_read() {
    let all = [
        (REWRITTEN, tracked(PROTOCOL_TCP, "10.77.0.3:37074", "10.96.0.10:80", "10.77.0.3:8080")),
        (REWRITTEN_UDP, tracked(PROTOCOL_UDP, "10.77.0.3:50091", "10.96.0.10:53", "10.77.0.4:5353")),
        (REWRITTEN_V6, tracked(PROTOCOL_TCP, "[fd77::3]:58390", "[fd96::10]:80", "[fd77::3]:8080")),
    ];
    for (hex, tracked) in all {
        assert_eq!(read(hex), [Ok(Message::Connection(Some(tracked)))]);
        assert_eq!(tracked.backend(), Some(tracked.answers_from));
    }
    let direct = tracked(PROTOCOL_TCP, "[fd77::3]:46004", "[fd77::3]:8080", "[fd77::3]:8080");
    assert_eq!(read(DIRECT_V6), [Ok(Message::Connection(Some(direct)))]);
    assert_eq!(direct.backend(), None);
    assert_eq!(read(ICMP), [Ok(Message::Connection(None))]);
}

#[test]
fn statistics_are_read() {
    let table = Table { entries: 0, limit: Some(262_144), ..Table::default() };
    assert_eq!(read(SIZE), [Ok(Message::Table(table))]);
    assert_eq!(read(CPU), [Ok(Message::Cpu([3, 4, 5, 6, 7]))]);
    assert!(read(&CPU.replace("08000900", "08001f00"))[0].is_err());
    assert_eq!(ask_for_size(SEQUENCE), bytes("1400000005010100070000000000000000000000"));
    assert_eq!(ask_for_counters(SEQUENCE), bytes("1400000004010103070000000000000000000000"));
}

#[test]
fn several_messages_come_at_once() {
    let read = read(&[ICMP, REWRITTEN, DONE].concat());
    assert_eq!(read.len(), 3);
    assert!(matches!(read[1], Ok(Message::Connection(Some(_)))));
    assert_eq!(read[2], Ok(Message::End(0)));
}

#[test]
fn errors_are_read() {
    assert_eq!(read(ABSENT), [Ok(Message::End(2))]);
    assert_eq!(read(DENIED), [Ok(Message::End(1))]);
}

#[test]
fn the_answer_to_another_question_is_none_of_ours() {
    let other = bytes(REWRITTEN);
    assert_eq!(Messages::new(&other, SEQUENCE + 1).collect::<Vec<_>>(), [Ok(Message::Other)]);
}

#[test]
fn a_connection_without_an_answers_direction_is_malformed() {
    let mut bytes = bytes(REWRITTEN);
    // The type of the second tuple.
    bytes[74] = 99;
    assert_eq!(Messages::new(&bytes, SEQUENCE).collect::<Vec<_>>(), [Ok(Message::Malformed)]);
}
