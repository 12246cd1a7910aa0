//! The kubelet's list, pod by pod out of the octets of its answer: the text of one pod is held at a time.

use serde::Deserialize;

use super::Failure;
use crate::sources::kubernetes::items::{Item, Items};
use crate::sources::kubernetes::slim::{Malformed, PodObject};
use netcause_core::enrich::objects::Pod;

/// Octets of an answer. A pod takes some ten thousand, a node has 110 of them, seldom 500.
pub const MAX_BYTES: usize = 64 << 20;
/// Pods of a node.
pub const MAX_PODS: usize = 4096;
/// The reason when some pods of a list cannot be read, and the others are told.
pub const SOME_MALFORMED: &str = "malformed_object";

/// The pods of the node.
#[derive(Debug)]
pub struct List {
    /// Those that can be read.
    pub pods: Vec<Pod>,
    /// What is wrong with the others.
    pub malformed: Option<Failure>,
}

/// What is around the pods.
#[derive(Deserialize)]
struct Around {
    kind: String,
}

/// A list that is being read.
#[derive(Debug, Default)]
pub struct Reader {
    items: Items,
    octets: usize,
    pods: Vec<Pod>,
    malformed: usize,
    first: Option<Malformed>,
}

impl Reader {
    /// Reads on.
    ///
    /// # Errors
    ///
    /// When it is too long or no list.
    pub fn read(&mut self, mut octets: &[u8]) -> Result<(), Failure> {
        self.octets += octets.len();
        if self.octets > MAX_BYTES {
            return Err(Failure::new("too_long", format!("the list is longer than {MAX_BYTES} bytes")));
        }
        loop {
            let pod = match self.items.next(&mut octets) {
                Ok(Some(Item::Text(text))) => serde_json::from_slice::<PodObject>(text)
                    .map_err(Malformed::from)
                    .and_then(PodObject::pod),
                Ok(Some(Item::TooLong)) => Err(Malformed("it is too long".to_owned())),
                Ok(None) => return Ok(()),
                Err(error) => return Err(Failure::new("malformed", error.to_string())),
            };
            match pod {
                Ok(_) if self.pods.len() >= MAX_PODS => {
                    return Err(Failure::new("too_long", format!("the list has more than {MAX_PODS} pods")));
                }
                Ok(pod) => self.pods.push(pod),
                Err(malformed) => {
                    self.malformed += 1;
                    self.first.get_or_insert(malformed);
                }
            }
        }
    }

    /// The whole list.
    ///
    /// # Errors
    ///
    /// When the answer was cut off, is no list of pods, or none of its pods can be read.
    pub fn end(self) -> Result<List, Failure> {
        let around = self.items.around().and_then(|text| serde_json::from_slice::<Around>(text).ok());
        if around.is_none_or(|around| around.kind != "PodList") {
            return Err(Failure::new("malformed", "the answer is no PodList, or is cut off"));
        }
        let malformed = self.first.map(|first| {
            let why = format!("{} pods of the list cannot be read; the first: {first}", self.malformed);
            Failure::new(SOME_MALFORMED, why)
        });
        match malformed {
            Some(failure) if self.pods.is_empty() => Err(Failure { reason: "malformed", ..failure }),
            malformed => Ok(List { pods: self.pods, malformed }),
        }
    }
}
