//! Fuzzes the parser of DNS messages: it must not panic, and what it says must hold together.
//!
//! `tests/fuzz/corpus/dns` has the messages that it begins with: queries and answers of real servers, hostile ones written by hand
//! (both with names that say what they are), and what the fuzzer found since (named by their hash).

#![no_main]

use libfuzzer_sys::fuzz_target;

use netcause_core::ingest::dns::{MAX_ADDRESSES, Malformed, Message, Name, Question, message, question};

fuzz_target!(|octets: &[u8]| {
    let read = message(octets);
    agree_on_the_question(octets, &read.clone().map(|message| message.question));
    let Ok(message) = read else { return };
    assert!(message.opcode < 16 && message.rcode < 16);
    assert!(message.addresses.len() <= MAX_ADDRESSES);
    if !(message.is_response && message.opcode == 0 && message.question.is_some()) {
        assert!(message.addresses.is_empty() && !message.is_cut);
    }
    for resolved in &message.addresses {
        assert!(i32::try_from(resolved.ttl).is_ok());
        assert_eq!(resolved.address, resolved.address.to_canonical());
    }
    if let Some(question) = &message.question {
        can_be_asked_again(question);
    }
    a_part_says_no_more(octets, &message);
});

fn agree_on_the_question(octets: &[u8], whole: &Result<Option<Question>, Malformed>) {
    match (question(octets), whole) {
        (Ok(question), Ok(whole)) => assert_eq!(Some(&question), whole.as_ref()),
        (Err(error), Ok(whole)) => assert_eq!((error, whole), (Malformed::NoQuestion, &None)),
        (question, Err(error)) => assert_eq!(question.as_ref(), Err(error)),
    }
}

/// The name's text, written as a query by other code than the parser's, is read as the same question.
fn can_be_asked_again(asked: &Question) {
    let labels = labels(&asked.name);
    let mut octets = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let head = octets.len();
    for label in &labels {
        assert!((1..64).contains(&label.len()));
        octets.extend(u8::try_from(label.len()));
        octets.extend(label);
    }
    octets.push(0);
    assert!(octets.len() - head <= 255, "RFC 1035 §2.3.4");
    octets.extend(asked.kind.to_be_bytes());
    octets.extend(1_u16.to_be_bytes());
    assert_eq!(question(&octets).as_ref(), Ok(asked));
    assert_eq!(asked.name.as_str().parse().as_ref(), Ok(&asked.name));
}

/// The labels of a name in the form that the parser writes, which is narrower than what it reads.
fn labels(name: &Name) -> Vec<Vec<u8>> {
    let mut labels = vec![Vec::new()];
    let mut text = name.as_str();
    if text == "." {
        return Vec::new();
    }
    while let Some(first) = text.bytes().next() {
        assert!(first.is_ascii_graphic() && !first.is_ascii_uppercase());
        let (octet, length) = match text.as_bytes() {
            [b'.', ..] => {
                labels.push(Vec::new());
                text = &text[1..];
                continue;
            }
            [b'\\', escaped @ (b'.' | b'\\'), ..] => (*escaped, 2),
            [b'\\', ..] => (text[1..4].parse().unwrap_or_default(), 4),
            _ => (first, 1),
        };
        labels.last_mut().into_iter().for_each(|label| label.push(octet));
        text = &text[length..];
    }
    labels
}

/// A capture of the message's beginning teaches nothing that the whole does not.
fn a_part_says_no_more(octets: &[u8], whole: &Message) {
    // Where it is cut follows from the message, so that the fuzzer can look for a bad place.
    let length = (octets.len() * usize::from(whole.id)) >> 16;
    let Ok(part) = message(&octets[..length]) else { return };
    assert_eq!(part.question, whole.question);
    assert!(whole.addresses.starts_with(&part.addresses));
    assert!(part.is_cut || part == *whole, "addresses are missing, and it does not say so");
}
