use proptest::prelude::*;

use super::*;

const UID: &str = "0f9d13e4-7a3c-4b52-9c1d-5e6f708192a3";

fn parse(text: &str) -> Option<PodUid> {
    text.parse().ok()
}

#[test]
fn both_forms_are_read_and_written() {
    for text in [UID, "0f9d13e47a3c4b529c1d5e6f708192a3"] {
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
    assert_eq!(PodUid::from_slice_name(&UID.replace('-', "_")).ok(), parse(UID));
    assert_eq!(parse(&UID.to_uppercase()), parse(UID));
    assert_ne!(parse(UID), parse(&UID.replace('-', "")), "a hash is no UUID");
    assert!(parse(&UID.replace('-', "")).unwrap().is_hash);
    assert!(!parse(UID).unwrap().is_hash);
}

#[test]
fn what_is_nearly_a_uid_is_none() {
    for text in [
        "",
        "0f9d13e4",
        "0f9d13e4_7a3c_4b52_9c1d_5e6f708192a3",
        "0f9d13e4-7a3c-4b52-9c1d-5e6f708192a",
        "0f9d13e4-7a3c-4b52-9c1d-5e6f708192a3b",
        "0f9d13e47a3c4-b52-9c1d-5e6f-708192a3",
        "0f9d13e4-7a3c-4b52-9c1d-5e6f708192ag",
        "0f9d13e4-7a3c-4b52-9c1d--e6f708192a3",
        "0f9d13e4-7a3c-4b52-9c1d-5e6f708192é",
        "0f9d13e47a3c4b529c1d5e6f708192a",
        "0f9d13e47a3c4b529c1d5e6f708192a33",
        "0f9d13e47a3c4b529c1d5e6f708192_3",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
    assert!(PodUid::from_slice_name(UID).is_err(), "a dash is no part of a slice's last name");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn every_uid_is_read_as_it_is_written(bytes: [u8; 16], is_hash: bool) {
        let uid = PodUid { bytes, is_hash };
        let text = uid.to_string();
        prop_assert_eq!(parse(&text), Some(uid));
        prop_assert_eq!(PodUid::from_slice_name(&text.replace('-', "_")).ok(), Some(uid));
        prop_assert_eq!(text.len(), if is_hash { DIGITS } else { UUID });
    }

    #[test]
    fn whatever_is_read_is_written_alike(text in "[0-9a-fA-F_-]{30,38}|\\PC{0,40}") {
        if let Some(uid) = parse(&text) {
            prop_assert_eq!(uid.to_string(), text.to_lowercase());
        }
    }
}
