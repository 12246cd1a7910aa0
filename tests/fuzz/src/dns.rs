//! Fuzzes the DNS parser: it must not panic, and its results must be consistent.
//!
//! `tests/fuzz/corpus/dns` is the seed corpus: queries and answers of real servers and hostile messages written by hand (both
//! under descriptive names), and inputs that the fuzzer found (named by their hash).

#![no_main]

use libfuzzer_sys::fuzz_target;

use netcause_core::ingest::dns::{MAX_RECORDS, Malformed, Message, Name, Question, message, question};

fuzz_target!(|bytes: &[u8]| {
    let read = message(bytes);
    agree_on_the_question(bytes, &read.clone().map(|message| message.question));
    let Ok(message) = read else { return };
    assert!(message.opcode < 16 && message.rcode < 1 << 12);
    assert!(message.addresses.len() <= usize::from(MAX_RECORDS));
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
    a_part_says_no_more(bytes, &message);
});

fn agree_on_the_question(bytes: &[u8], whole: &Result<Option<Question>, Malformed>) {
    match (question(bytes), whole) {
        (Ok(question), Ok(whole)) => assert_eq!(Some(&question), whole.as_ref()),
        (Err(error), Ok(whole)) => assert_eq!((error, whole), (Malformed::NoQuestion, &None)),
        (question, Err(error)) => assert_eq!(question.as_ref(), Err(error)),
    }
}

/// The name's text, encoded again by other code than the parser's, parses to the same question.
fn can_be_asked_again(asked: &Question) {
    let labels = labels(&asked.name);
    let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let head = bytes.len();
    for label in &labels {
        assert!((1..64).contains(&label.len()));
        bytes.extend(u8::try_from(label.len()));
        bytes.extend(label);
    }
    bytes.push(0);
    assert!(bytes.len() - head <= 255, "RFC 1035 §2.3.4");
    bytes.extend(asked.kind.to_be_bytes());
    bytes.extend(1_u16.to_be_bytes());
    assert_eq!(question(&bytes).as_ref(), Ok(asked));
    assert_eq!(asked.name.as_str().parse().as_ref(), Ok(&asked.name));
}

/// Splits a name as the parser writes it, which is stricter than what it accepts.
fn labels(name: &Name) -> Vec<Vec<u8>> {
    let mut labels = vec![Vec::new()];
    let mut text = name.as_str();
    if text == "." {
        return Vec::new();
    }
    while let Some(first) = text.bytes().next() {
        assert!(first.is_ascii_graphic() && !first.is_ascii_uppercase());
        let (byte, length) = match text.as_bytes() {
            [b'.', ..] => {
                labels.push(Vec::new());
                text = &text[1..];
                continue;
            }
            [b'\\', escaped @ (b'.' | b'\\'), ..] => (*escaped, 2),
            [b'\\', ..] => (text[1..4].parse().unwrap_or_default(), 4),
            _ => (first, 1),
        };
        labels.last_mut().into_iter().for_each(|label| label.push(byte));
        text = &text[length..];
    }
    labels
}

/// A capture of the message's beginning yields nothing that the whole message does not.
fn a_part_says_no_more(bytes: &[u8], whole: &Message) {
    // The cut depends on the message, so that the fuzzer can search for a bad one.
    let length = (bytes.len() * usize::from(whole.id)) >> 16;
    let Ok(part) = message(&bytes[..length]) else { return };
    assert_eq!(part.question, whole.question);
    assert!(whole.addresses.starts_with(&part.addresses));
    assert!(part.is_cut || part == *whole, "addresses are missing, and it does not say so");
}
