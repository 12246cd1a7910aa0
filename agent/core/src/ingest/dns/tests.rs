//! Hand-written messages: what the parser returns, and what it refuses.

use super::name::NotAName;
use super::*;

/// Flags of a query and of its answer.
const QUERY: u16 = 0x0100;
const ANSWER: u16 = 0x8180;
/// A pointer to the question's name.
const ASKED: &[u8] = &[0xc0, 12];

fn head(flags: u16, questions: u16, answers: u16) -> Vec<u8> {
    [7, flags, questions, answers, 0, 0].map(u16::to_be_bytes).concat()
}

fn wire(labels: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in labels {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// A question of class IN for A.
fn asks(name: &[u8]) -> Vec<u8> {
    [name, &[0, 1, 0, 1]].concat()
}

fn record(owner: &[u8], kind: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let fixed = [&kind.to_be_bytes()[..], &class.to_be_bytes(), &ttl.to_be_bytes(), &length.to_be_bytes()];
    [owner, &fixed.concat(), data].concat()
}

/// The answer to the question for `www.Example.com`.
fn answer(records: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(records.len()).unwrap();
    [head(ANSWER, 1, count), asks(&wire(&["www", "Example", "com"])), records.concat()].concat()
}

fn addresses(bytes: &[u8]) -> (Vec<String>, bool) {
    let message = message(bytes).unwrap();
    let address = |resolved: &Resolved| format!("{} {}", resolved.address, resolved.ttl);
    (message.addresses.iter().map(address).collect(), message.is_cut)
}

/// Parses a query with these bytes behind its header; both parsers of a question must agree.
fn named(bytes: &[u8]) -> Result<String, Malformed> {
    let bytes = [head(QUERY, 1, 0), bytes.to_vec()].concat();
    let whole = message(&bytes).map(|message| message.question);
    let question = question(&bytes);
    assert_eq!(whole, question.clone().map(Some), "both ways to read a question agree");
    question.map(|question| question.name.to_string())
}

#[test]
fn an_answer_is_read() {
    let bytes = answer(&[
        record(ASKED, CNAME, IN, 30, &wire(&["a", "cdn"])),
        record(&wire(&["A", "CDN"]), A, IN, 60, &[192, 0, 2, 1]),
        record(
            &wire(&["a", "cdn"]),
            AAAA,
            IN,
            1 << 31,
            &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        ),
    ]);
    let message = message(&bytes).unwrap();
    let name: Name = "WWW.example.com.".parse().unwrap();
    assert_eq!(message.question, Some(Question { name, kind: A }));
    assert_eq!((message.id, message.opcode, message.rcode), (7, 0, 0));
    assert!(message.is_response && !message.is_truncated && !message.is_cut);
    assert_eq!(addresses(&bytes).0, ["192.0.2.1 60", "2001:db8::1 0"], "a negative time to live is none");
}

#[test]
fn every_flag_is_read() {
    let read = |flags| message(&head(flags, 0, 0)).unwrap();
    assert!(!read(0x7fff).is_response && read(0x8000).is_response);
    assert!(!read(0xfdff).is_truncated && read(0x0200).is_truncated);
    for number in 0..16_u8 {
        assert_eq!(read(u16::from(number)).rcode, u16::from(number));
        assert_eq!(read(u16::from(number) << 11).opcode, number);
    }
}

#[test]
fn records_of_other_names_teach_nothing() {
    let other = wire(&["bank", "example"]);
    let bytes = answer(&[
        record(&other, A, IN, 60, &[192, 0, 2, 1]),
        record(&other, CNAME, IN, 60, ASKED),
        record(&wire(&["late", "example"]), A, IN, 60, &[192, 0, 2, 2]),
        record(ASKED, A, 3, 60, &[192, 0, 2, 3]),
        record(ASKED, 16, IN, 60, b"\x03abc"),
        record(ASKED, CNAME, IN, 60, &wire(&["late", "example"])),
        record(ASKED, A, IN, 60, &[192, 0, 2, 4]),
        record(&wire(&["late", "example"]), A, IN, 60, &[192, 0, 2, 5]),
    ]);
    assert_eq!(addresses(&bytes).0, ["192.0.2.2 60", "192.0.2.5 60"], "in whatever order");
}

#[test]
fn aliases_are_followed_in_any_order_and_in_no_circle() {
    let name = |label| wire(&[label, "cdn"]);
    let records = [
        record(&name("b"), A, IN, 60, &[192, 0, 2, 1]),
        record(&name("a"), CNAME, IN, 30, &name("b")),
        record(ASKED, CNAME, IN, 30, &name("a")),
    ];
    assert_eq!(addresses(&answer(&records)), (vec!["192.0.2.1 60".to_owned()], false));
    let circle = record(&name("b"), CNAME, IN, 30, ASKED);
    assert!(addresses(&answer(&[&records[..], &[circle]].concat())).0.len() <= 1);
}

#[test]
fn the_code_of_edns_is_read_where_nothing_else_is() {
    let opt = |code: u8| [&[0, 0, 41, 4, 208, code, 0, 0, 0, 0, 12][..], &[0; 12]].concat();
    let with = |answers: &[Vec<u8>], authorities: u16, opt: &[u8]| {
        let mut bytes = [answer(answers), opt.to_vec()].concat();
        bytes[8..10].copy_from_slice(&authorities.to_be_bytes());
        bytes[11] = 1;
        message(&bytes).unwrap().rcode
    };
    assert_eq!(with(&[], 0, &opt(1)), 16, "BADVERS");
    assert_eq!(with(&[], 0, &opt(0)), 0);
    assert_eq!(with(&[], 0, &[0, 0, 250, 0, 255, 1]), 0, "a TSIG record");
    assert_eq!(with(&[], 0, &opt(1)[..5]), 0, "cut");
    assert_eq!(with(&[], 1, &opt(1)), 0, "there is an authority before it");
    assert_eq!(with(&[record(ASKED, A, IN, 60, &[192, 0, 2, 1])], 0, &opt(1)), 0, "an answer is no error");
}

#[test]
fn only_the_answer_to_one_ordinary_question_has_addresses() {
    let bytes = answer(&[record(ASKED, A, IN, 60, &[192, 0, 2, 1])]);
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        addresses(&bytes)
    };
    let none = (Vec::new(), false);
    assert_eq!(with(2, 0x81).0.len(), 1);
    assert_eq!(with(2, 0x01), none, "a query");
    assert_eq!(with(2, 0x81 | 5 << 3), none, "an update");
    assert_eq!(with(5, 2), none, "two questions");
}

#[test]
fn an_address_of_the_wrong_length_ends_the_answer() {
    let good = record(ASKED, A, IN, 60, &[192, 0, 2, 1]);
    let long = record(ASKED, A, IN, 60, &[192, 0, 2, 2, 3]);
    let short = record(ASKED, AAAA, IN, 60, &[192, 0, 2, 2]);
    let alias = record(ASKED, CNAME, IN, 60, &[0, 0]);
    for bad in [long, short, alias] {
        let bytes = answer(&[good.clone(), bad, good.clone()]);
        assert_eq!(addresses(&bytes), (vec!["192.0.2.1 60".to_owned()], true));
    }
}

#[test]
fn a_mapped_address_is_the_one_that_flows_have() {
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
    assert_eq!(addresses(&answer(&[record(ASKED, AAAA, IN, 60, &mapped)])).0, ["192.0.2.1 60"]);
}

#[test]
fn records_and_addresses_are_bounded() {
    let address = |last: u8| record(ASKED, A, IN, 60, &[192, 0, 2, last]);
    let many = |count: u16| (0..count).map(|_| address(1)).collect::<Vec<_>>();
    let is_cut = |records: &[Vec<u8>]| {
        let (addresses, is_cut) = addresses(&answer(records));
        (addresses.len(), is_cut)
    };
    let most = usize::from(MAX_RECORDS);
    assert_eq!(is_cut(&many(40)), (40, false));
    assert_eq!(is_cut(&many(MAX_RECORDS)), (most, false));
    assert_eq!(is_cut(&many(MAX_RECORDS + 1)), (most, true));
    let other = record(&wire(&["x"]), A, IN, 60, &[192, 0, 2, 1]);
    let mut records = vec![other; usize::from(MAX_RECORDS) - 1];
    records.push(address(1));
    assert_eq!(is_cut(&records), (1, false));
    records.insert(0, address(2));
    assert_eq!(is_cut(&records), (1, true), "the last one is not parsed");
}

#[test]
fn what_is_cut_yields_what_is_there() {
    let bytes = answer(&[
        record(ASKED, CNAME, IN, 30, &wire(&["a", "cdn"])),
        record(&wire(&["a", "cdn"]), A, IN, 60, &[192, 0, 2, 1]),
    ]);
    let question_ends = 12 + wire(&["www", "example", "com"]).len() + 4;
    for length in 0..question_ends {
        assert_eq!(message(&bytes[..length]), Err(Malformed::Short), "{length}");
        assert_eq!(question(&bytes[..length]), Err(Malformed::Short), "{length}");
    }
    let whole = message(&bytes).unwrap();
    for length in question_ends..bytes.len() {
        let cut = Message { addresses: Vec::new(), is_cut: true, ..whole.clone() };
        assert_eq!(message(&bytes[..length]), Ok(cut), "{length}");
        assert_eq!(question(&bytes[..length]).ok(), whole.question, "{length}");
    }
}

#[test]
fn counts_claim_what_they_like() {
    let none = message(&head(ANSWER, 0, u16::MAX)).unwrap();
    assert_eq!((none.question, none.addresses.len(), none.is_cut), (None, 0, false));
    assert_eq!(question(&head(QUERY, 0, 0)), Err(Malformed::NoQuestion));
    let one = asks(&wire(&["a"]));
    let two = asks(&wire(&["b"]));
    for count in [1, 2, u16::MAX] {
        let bytes = [head(QUERY, count, u16::MAX), one.clone(), two.clone()].concat();
        assert_eq!(question(&bytes).unwrap().name.as_str(), "a", "the first one");
        assert_eq!(message(&bytes).unwrap().question, question(&bytes).ok());
    }
    let mut bytes = answer(&[record(ASKED, A, IN, 60, &[192, 0, 2, 1])]);
    bytes[6..8].fill(0xff);
    assert_eq!(addresses(&bytes), (vec!["192.0.2.1 60".to_owned()], true));
}

#[test]
fn a_class_without_hosts_is_refused() {
    let of = |class: u8| named(&[wire(&["version", "bind"]), vec![0, 16, 0, class]].concat());
    assert_eq!(of(1).as_deref(), Ok("version.bind"));
    assert_eq!(of(255).as_deref(), Ok("version.bind"));
    assert_eq!(of(3), Err(Malformed::Class(3)));
}

#[test]
fn pointers_lead_back() {
    // The name begins at 12.
    let refused = Err(Malformed::Pointer);
    assert_eq!(named(&asks(&[0xc0, 12])), refused, "to itself");
    assert_eq!(named(&asks(&[1, b'a', 0xc0, 12])), refused, "in a circle");
    assert_eq!(named(&asks(&[1, b'a', 0xc0, 14])), refused, "to itself, behind a label");
    assert_eq!(named(&asks(&[0xc0, 20, 0, 0, 0, 0, 0, 0, 1, b'a', 0])), refused, "forward");
    assert_eq!(named(&asks(&[0xff, 0xff])), refused, "out of the message");
    assert_eq!(named(&asks(&[1, b'a', 0xc0, 4])).as_deref(), Ok("a"), "to a zero");
    // Two names that lead to each other, in a record.
    let bytes =
        answer(&[record(&[0xc0, 35], CNAME, IN, 1, &[0xc0, 33]), record(&[0xc0, 33], A, IN, 1, &[0; 4])]);
    assert_eq!(bytes[33..35], [0xc0, 35], "where the first record is");
    assert_eq!(addresses(&bytes), (Vec::new(), true));
}

#[test]
fn each_pointer_leads_further_back() {
    let bytes = answer(&[
        record(&[0], 10, IN, 1, &[0xc0, 46, 1, b'a', 0]),
        record(&[0xc0, 44], A, IN, 1, &[0; 4]),
        record(ASKED, A, IN, 1, &[0; 4]),
    ]);
    assert_eq!(bytes[44..46], [0xc0, 46], "back to where it goes forward again");
    assert_eq!(addresses(&bytes), (Vec::new(), true));
}

#[test]
fn pointers_have_fourteen_bits() {
    let filler = record(&[0], 10, IN, 1, &[0; 0x2000]);
    let mut records = vec![filler, record(ASKED, CNAME, IN, 1, &wire(&["far"]))];
    let target = answer(&records).len() - wire(&["far"]).len();
    let pointer = 0xc000 | u16::try_from(target).unwrap();
    records.push(record(&pointer.to_be_bytes(), A, IN, 60, &[192, 0, 2, 1]));
    assert_eq!(addresses(&answer(&records)), (vec!["192.0.2.1 60".to_owned()], false));
}

#[test]
fn pointers_to_pointers_end() {
    // Each leads to the one before; the first leads to a zero in the head. The data of a record of type NULL.
    let chain = |pointers: usize| {
        let begin = 12 + asks(&wire(&["www", "example", "com"])).len() + 11;
        let target = |index: usize| if index == 0 { 10 } else { begin + 2 * (index - 1) };
        let pointer = |index| (0xc000 | u16::try_from(target(index)).unwrap()).to_be_bytes();
        let data: Vec<u8> = (0..pointers).flat_map(pointer).collect();
        let last = pointer(pointers);
        let bytes = answer(&[record(&[0], 10, IN, 1, &data), record(&last, A, IN, 1, &[192, 0, 2, 1])]);
        message(&bytes).unwrap().is_cut
    };
    assert!(!chain(reader::MAX_POINTERS - 1));
    assert!(chain(reader::MAX_POINTERS));
}

#[test]
fn labels_and_names_have_their_longest() {
    let label = "x".repeat(63);
    let three = [label.as_str(); 3];
    let with = |last: &str| named(&asks(&wire(&[&three[..], &[last]].concat())));
    assert_eq!(with(&"y".repeat(61)).map(|name| name.len()), Ok(253), "255 bytes in the message");
    assert_eq!(with(&"y".repeat(62)), Err(Malformed::NameLength));
    assert_eq!(named(&asks(&wire(&["a"; 127]))).map(|name| name.len()), Ok(253));
    assert_eq!(named(&asks(&wire(&["a"; 128]))), Err(Malformed::NameLength));
    for kind in [64, 0x7f, 0x80, 0xbf] {
        assert_eq!(named(&asks(&[&[kind][..], &[b'a'; 200]].concat())), Err(Malformed::Label(kind)));
    }
}

#[test]
fn names_are_shown_as_zone_files_have_them() {
    assert_eq!(named(&asks(&[0])).as_deref(), Ok("."));
    let odd = b"\x08A.b\\ \0\xff~\x01*\0";
    assert_eq!(named(&asks(odd)).as_deref(), Ok(r"a\.b\\\032\000\255~.*"));
}

#[test]
fn presentation_format_is_checked() {
    let read = |text: &str| text.parse::<Name>().map(|name| name.to_string());
    for (text, name) in [
        (".", "."),
        ("A.b", "a.b"),
        ("a.b.", "a.b"),
        (r"\065\B\.\\\.", r"ab\.\\\."),
        (r"a\032b é", r"a\032b\032\195\169"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(name), "{text}");
        assert_eq!(read(name).as_deref(), Ok(name), "{text}");
    }
    for text in
        ["", "..", ".a", "a..b", "a..", r"a\", r"\25", r"\256", r"\2x5", &"x".repeat(64), &"a.".repeat(128)]
    {
        assert_eq!(read(text), Err(NotAName), "{text}");
    }
}
