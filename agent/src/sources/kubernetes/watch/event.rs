//! Events of a watch, and of a streaming list, which is a watch that tells everything first.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::body::{Line, Lines};
use super::super::server::{Failure, Reason, Status};
use super::super::slim::{Malformed, OnlyMetadata, Watched};
use super::{End, Running};

/// What an event says, before its object is read.
#[derive(Deserialize)]
struct Head {
    r#type: Type,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Type {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
    /// Of a later version of the API.
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct Whole<T> {
    object: T,
}

fn object<T: DeserializeOwned>(line: &[u8]) -> Result<T, Malformed> {
    Ok(serde_json::from_slice::<Whole<T>>(line)?.object)
}

impl Running {
    /// Reads events until the watch ends.
    pub(super) async fn follow<K: Watched>(&mut self, lines: &mut Lines) -> Result<(), End> {
        while let Some(line) = lines.next().await? {
            match line {
                Line::Text(text) => {
                    self.event::<K>(text).await?;
                }
                Line::TooLong => self.teller.malformed("an object that is too long"),
            }
            self.teller.contact();
        }
        Ok(())
    }

    /// Reads the events of a streaming list, until it is whole.
    pub(super) async fn follow_list<K: Watched>(&mut self, lines: &mut Lines) -> Result<(), End> {
        while let Some(line) = lines.next().await? {
            match line {
                Line::Text(text) => {
                    if self.event::<K>(text).await? {
                        return Ok(());
                    }
                }
                Line::TooLong => self.teller.malformed("an object that is too long"),
            }
        }
        Err(Failure::new(Reason::Broken, "the list ended before it was whole").into())
    }

    /// One event. Whether it ends a streaming list.
    async fn event<K: Watched>(&mut self, line: &[u8]) -> Result<bool, End> {
        let head: Head = match serde_json::from_slice(line) {
            Ok(head) => head,
            Err(error) => {
                self.teller.malformed(&Malformed::from(error).0);
                return Ok(false);
            }
        };
        match head.r#type {
            Type::Added | Type::Modified => match object::<K>(line) {
                Ok(object) => {
                    self.advance(&object.metadata().resource_version);
                    self.tell(object).await?;
                }
                Err(malformed) => {
                    self.teller.malformed(&malformed.0);
                    self.advance_past(line);
                }
            },
            Type::Deleted => match object::<OnlyMetadata>(line) {
                Ok(OnlyMetadata { metadata }) => {
                    self.advance(&metadata.resource_version);
                    match metadata.key(K::KIND) {
                        Some(key) => self.teller.gone(key).await?,
                        None => self.teller.malformed("no name"),
                    }
                }
                Err(malformed) => {
                    self.teller.malformed(&malformed.0);
                    self.advance_past(line);
                }
            },
            Type::Bookmark => match object::<OnlyMetadata>(line) {
                Ok(OnlyMetadata { metadata }) if self.position.is_none() => {
                    if !metadata.ends_list() {
                        // A server that does not know streaming lists tells what there is, as streaming lists do, but
                        // not that this was all; a bookmark comes some time later.
                        return Err(End::NoStreaming);
                    }
                    self.position = Some(metadata.resource_version);
                    return Ok(true);
                }
                Ok(OnlyMetadata { metadata }) => self.advance(&metadata.resource_version),
                Err(malformed) => self.teller.malformed(&malformed.0),
            },
            Type::Error => {
                let status: Status =
                    object(line).map_err(|Malformed(why)| Failure::new(Reason::Malformed, why))?;
                return Err(status.failure().into());
            }
            Type::Unknown => {}
        }
        Ok(false)
    }

    /// The watch goes on after this version. While a list is not whole there is none.
    fn advance(&mut self, version: &str) {
        if let Some(position) =
            self.position.as_mut().filter(|position| !version.is_empty() && ***position != *version)
        {
            *position = version.into();
        }
    }

    /// Likewise, after an object that cannot be read, if its version can.
    fn advance_past(&mut self, line: &[u8]) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            resource_version: Box<str>,
        }
        #[derive(Deserialize)]
        struct Object {
            metadata: Version,
        }
        if let Ok(Object { metadata }) = object(line) {
            self.advance(&metadata.resource_version);
        }
    }
}
