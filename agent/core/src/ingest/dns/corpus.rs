//! Parses every message of the fuzzer's corpus again: those it found and those it started from.

use std::fs;
use std::path::Path;

use super::*;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/dns");
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    files.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
}

#[test]
fn the_corpus_is_read() {
    let mut with_addresses = 0;
    for (path, bytes) in corpus() {
        let Ok(message) = message(&bytes) else {
            assert!(question(&bytes).is_err(), "{path}");
            continue;
        };
        with_addresses += usize::from(!message.addresses.is_empty());
        assert_eq!(question(&bytes).ok(), message.question, "{path}");
        if let Some(question) = &message.question {
            assert_eq!(question.name.as_str().parse().as_ref(), Ok(&question.name), "{path}");
        }
    }
    assert!(with_addresses > 0, "real answers are in the corpus");
}
