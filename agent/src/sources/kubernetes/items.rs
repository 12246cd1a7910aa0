//! Splits the JSON of a list into its objects while it arrives: a list of ten thousand is never held in memory, and a
//! malformed object does not affect the others.
//!
//! The text is split by brackets and quotes alone; an object is parsed by its reader.

/// The longest object that is read, in bytes: etcd stores none above 1.5 MiB, and JSON is longer than what it stores.
pub const MAX_OBJECT: usize = 4 << 20;
/// The longest text around the objects (version and continue token), in bytes.
const MAX_AROUND: usize = 64 << 10;

/// The state of the splitter.
#[derive(Debug, Default)]
pub struct Items {
    depth: u32,
    is_in_string: bool,
    is_escaped: bool,
    is_in_items: bool,
    is_too_long: bool,
    /// The list without its objects.
    around: Vec<u8>,
    /// The object that is being read.
    object: Vec<u8>,
}

/// The text around the objects is longer than any server's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list")]
pub struct NoList;

/// An object of the list.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Its text.
    Text(&'a [u8]),
    /// Longer than [`MAX_OBJECT`].
    TooLong,
}

impl Items {
    /// Reads up to the end of the next object, and takes what was read off `bytes`. Use the object before reading more.
    ///
    /// # Errors
    ///
    /// When this is no list.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Item<'_>>, NoList> {
        if self.depth == 2 && self.is_in_items {
            // The last object was used.
            self.is_too_long = false;
            self.object.clear();
            self.object.shrink_to(MAX_AROUND);
        }
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if self.read(*byte)? {
                let item = if self.is_too_long { Item::TooLong } else { Item::Text(&self.object) };
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// The list without its objects, when all was read; `None` while it is not whole.
    #[must_use]
    pub fn around(&self) -> Option<&[u8]> {
        (self.depth == 0 && !self.around.is_empty()).then_some(&self.around)
    }

    /// Whether an object ends here.
    fn read(&mut self, byte: u8) -> Result<bool, NoList> {
        let is_bracket = |bracket| byte == bracket && !self.is_in_string;
        let is_of_object = self.is_in_items && (self.depth > 2 || is_bracket(b'{'));
        if is_of_object {
            if self.object.len() < MAX_OBJECT {
                self.object.push(byte);
            } else {
                self.is_too_long = true;
            }
        } else if !self.is_in_items || is_bracket(b']') {
            if self.around.len() >= MAX_AROUND {
                return Err(NoList);
            }
            self.around.push(byte);
        }
        if self.is_in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_string = false,
                _ => {}
            }
            return Ok(false);
        }
        match byte {
            b'"' => self.is_in_string = true,
            b'[' if self.depth == 1 && !self.is_in_items => {
                self.is_in_items = ends_with_key(&self.around);
                self.depth = 2;
            }
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth = self.depth.checked_sub(1).ok_or(NoList)?;
                self.is_in_items &= self.depth >= 2;
                return Ok(is_of_object && self.depth == 2);
            }
            _ => {}
        }
        Ok(false)
    }
}

/// Whether what was read is `… "items": [`.
fn ends_with_key(around: &[u8]) -> bool {
    const KEY: &[u8] = b"\"items\"";
    let key = around.windows(KEY.len()).rposition(|part| part == KEY);
    key.is_some_and(|at| {
        let mut between = around[at + KEY.len()..].iter();
        between.all(|byte| matches!(byte, b':' | b'[') || byte.is_ascii_whitespace())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The objects, `None` of those that are too long, and what is around them.
    type Split = (Vec<Option<Vec<u8>>>, Option<Vec<u8>>);

    fn split(text: &[u8], piece: usize) -> Result<Split, NoList> {
        let mut items = Items::default();
        let mut found = Vec::new();
        for mut bytes in text.chunks(piece) {
            while let Some(item) = items.next(&mut bytes)? {
                found.push(match item {
                    Item::Text(text) => Some(text.to_vec()),
                    Item::TooLong => None,
                });
            }
        }
        Ok((found, items.around().map(<[u8]>::to_vec)))
    }

    #[test]
    fn a_list_in_any_order_of_its_members() {
        let text = br#" {"items" : [ {"a":"}]\"{"} , null, {"b":[{}]}, 7 ],"kind":"PodList", "metadata":{"items":[1],"continue":"x"}} "#;
        for piece in 1..text.len() {
            let (found, around) = split(text, piece).unwrap();
            let found: Vec<_> =
                found.into_iter().flatten().map(|text| String::from_utf8(text).unwrap()).collect();
            assert_eq!(found, [r#"{"a":"}]\"{"}"#, r#"{"b":[{}]}"#]);
            let around: Value = serde_json::from_slice(&around.unwrap()).unwrap();
            assert_eq!(
                around,
                json!({"items": [], "kind": "PodList", "metadata": {"items": [1], "continue": "x"}})
            );
        }
    }

    #[test]
    fn a_bad_object_spoils_only_itself() {
        let (found, around) = split(br#"{"items":[{"a":1},{bad ,,},{"c":3}],"metadata":{}}"#, 5).unwrap();
        assert_eq!(
            found,
            [Some(br#"{"a":1}"#.to_vec()), Some(b"{bad ,,}".to_vec()), Some(br#"{"c":3}"#.to_vec())]
        );
        assert!(around.is_some());
    }

    #[test]
    fn what_is_cut_off_is_not_whole() {
        let text = br#"{"items":[{"a":1},{"b":2}],"metadata":{}}"#;
        for end in 0..text.len() {
            assert_eq!(split(&text[..end], 64).unwrap().1, None, "{end}");
        }
    }

    #[test]
    fn an_object_that_is_too_long_is_skipped() {
        let long = format!(r#"{{"items":[{{"a":"{}"}},{{"b":2}}]}}"#, "x".repeat(MAX_OBJECT + 10));
        let (found, around) = split(long.as_bytes(), 8192).unwrap();
        assert_eq!(found, [None, Some(br#"{"b":2}"#.to_vec())]);
        assert_eq!(around.unwrap(), br#"{"items":[]}"#);
    }

    #[test]
    fn what_is_no_list_ends() {
        assert_eq!(split(b"]", 1), Err(NoList));
        assert_eq!(split(&vec![b' '; MAX_AROUND + 1], 4096), Err(NoList));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "(items|[\\\\\"\\[\\]{}:, a-cä]{0,8})".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("(items|[\"\\\\a-c{]{0,3})", inner), 0..4)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_object_is_found_and_nothing_else(
            objects in prop::collection::vec(prop::collection::vec(("[a-c\"]{0,2}", any_json()), 0..3), 0..5),
            before in any_json(),
            after in any_json(),
            piece in 1usize..40,
        ) {
            let objects: Vec<Value> =
                objects.into_iter().map(|all| Value::Object(all.into_iter().collect())).collect();
            let text = format!(
                r#"{{"before":{before},"items":{},"metadata":{after}}}"#, Value::from(objects.clone()));
            let (found, around) = split(text.as_bytes(), piece).unwrap();
            let found: Vec<Value> =
                found.into_iter().map(|text| serde_json::from_slice(&text.unwrap()).unwrap()).collect();
            prop_assert_eq!(found, objects);
            let around: Value = serde_json::from_slice(&around.unwrap()).unwrap();
            prop_assert_eq!(around, json!({"before": before, "items": [], "metadata": after}));
        }

        #[test]
        fn nothing_panics(text in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\"\\:,items ".to_vec())], 0..200)) {
            let _ = split(&text, 7);
        }
    }
}
