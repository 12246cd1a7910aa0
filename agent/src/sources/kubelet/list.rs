//! Reads the kubelet's list while it arrives: the text of one pod is held in memory at a time.

use serde::Deserialize;

use super::super::health::{Failure, FailureCode};
use crate::sources::kubernetes::items::{Item, Items};
use crate::sources::kubernetes::slim::{Malformed, PodObject};
use netcause_core::enrich::objects::Pod;

/// Bytes of an answer. A pod takes about ten thousand; a node has 110 pods, seldom 500.
pub const MAX_BYTES: usize = 64 << 20;
/// Pods of a node.
pub const MAX_PODS: usize = 4096;

/// The pods of the node.
#[derive(Debug)]
pub struct List {
    /// Those that can be read.
    pub pods: Vec<Pod>,
    /// What is wrong with the others, if there are any.
    pub malformed: Option<Failure>,
}

/// The list without its pods.
#[derive(Deserialize)]
struct Around {
    kind: String,
}

/// A list that is being read.
#[derive(Debug, Default)]
pub struct Reader {
    items: Items,
    bytes: usize,
    pods: Vec<Pod>,
    malformed: usize,
    first: Option<Malformed>,
}

impl Reader {
    /// Reads the next bytes.
    ///
    /// # Errors
    ///
    /// When it is too long or not a list.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        self.bytes += bytes.len();
        if self.bytes > MAX_BYTES {
            return Err(Failure::new(
                FailureCode::TooLong,
                format!("the list is longer than {MAX_BYTES} bytes"),
            ));
        }
        loop {
            let pod = match self.items.next(&mut bytes) {
                Ok(Some(Item::Text(text))) => serde_json::from_slice::<PodObject>(text)
                    .map_err(Malformed::from)
                    .and_then(PodObject::pod),
                Ok(Some(Item::TooLong)) => Err(Malformed("object too long".to_owned())),
                Ok(None) => return Ok(()),
                Err(error) => return Err(Failure::new(FailureCode::Malformed, error.to_string())),
            };
            match pod {
                Ok(_) if self.pods.len() >= MAX_PODS => {
                    return Err(Failure::new(
                        FailureCode::TooLong,
                        format!("the list has more than {MAX_PODS} pods"),
                    ));
                }
                Ok(pod) => self.pods.push(pod),
                Err(malformed) => {
                    self.malformed += 1;
                    self.first.get_or_insert(malformed);
                }
            }
        }
    }

    /// The complete list.
    ///
    /// # Errors
    ///
    /// When the answer is incomplete, is not a list of pods, or none of its pods can be read.
    pub fn end(self) -> Result<List, Failure> {
        let around = self.items.around().and_then(|text| serde_json::from_slice::<Around>(text).ok());
        if around.is_none_or(|around| around.kind != "PodList") {
            return Err(Failure::new(
                FailureCode::Malformed,
                "the answer is not a PodList, or is incomplete",
            ));
        }
        let malformed = self.first.map(|first| {
            let reason = format!("{} pods of the list cannot be read; the first: {first}", self.malformed);
            Failure::new(FailureCode::MalformedObject, reason)
        });
        match malformed {
            Some(failure) if self.pods.is_empty() => Err(Failure { code: FailureCode::Malformed, ..failure }),
            malformed => Ok(List { pods: self.pods, malformed }),
        }
    }
}
