//! Events of a watch, and of a streaming list, which is a watch that begins with all objects.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::super::health::{Failure, FailureCode};
use super::super::body::{Line, Lines};
use super::super::server::Status;
use super::super::slim::{Malformed, OnlyMetadata, Watched};
use super::{End, Running};

/// The type of an event, read before its object.
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
                Line::TooLong => self.publisher.malformed("object too long"),
            }
            self.publisher.contact();
        }
        Ok(())
    }

    /// Reads the events of a streaming list until it is complete.
    pub(super) async fn follow_list<K: Watched>(&mut self, lines: &mut Lines) -> Result<(), End> {
        while let Some(line) = lines.next().await? {
            match line {
                Line::Text(text) => {
                    if self.event::<K>(text).await? {
                        return Ok(());
                    }
                }
                Line::TooLong => self.publisher.malformed("object too long"),
            }
        }
        Err(Failure::new(FailureCode::ConnectionLost, "the list ended before it was complete").into())
    }

    /// Handles one event. Returns whether it ends a streaming list.
    async fn event<K: Watched>(&mut self, line: &[u8]) -> Result<bool, End> {
        let head: Head = match serde_json::from_slice(line) {
            Ok(head) => head,
            Err(error) => {
                self.publisher.malformed(&Malformed::from(error).0);
                return Ok(false);
            }
        };
        match head.r#type {
            Type::Added | Type::Modified => match object::<K>(line) {
                Ok(object) => {
                    self.advance(&object.metadata().resource_version);
                    self.apply(object).await?;
                }
                Err(malformed) => {
                    self.publisher.malformed(&malformed.0);
                    self.advance_past(line);
                }
            },
            Type::Deleted => match object::<OnlyMetadata>(line) {
                Ok(OnlyMetadata { metadata }) => {
                    self.advance(&metadata.resource_version);
                    match metadata.key(K::KIND) {
                        Some(key) => self.publisher.delete(key).await?,
                        None => self.publisher.malformed("metadata without a name"),
                    }
                }
                Err(malformed) => {
                    self.publisher.malformed(&malformed.0);
                    self.advance_past(line);
                }
            },
            Type::Bookmark => match object::<OnlyMetadata>(line) {
                Ok(OnlyMetadata { metadata }) if self.position.is_none() => {
                    if !metadata.ends_list() {
                        // A server without streaming lists ignores the parameter: it sends all objects, but no bookmark
                        // that ends the list, only an ordinary one some time later.
                        return Err(End::NoStreaming);
                    }
                    self.position = Some(metadata.resource_version);
                    return Ok(true);
                }
                Ok(OnlyMetadata { metadata }) => self.advance(&metadata.resource_version),
                Err(malformed) => self.publisher.malformed(&malformed.0),
            },
            Type::Error => {
                let status: Status =
                    object(line).map_err(|Malformed(reason)| Failure::new(FailureCode::Malformed, reason))?;
                return Err(status.failure().into());
            }
            Type::Unknown => {}
        }
        Ok(false)
    }

    /// The watch resumes after this version; there is none before a list is complete.
    fn advance(&mut self, version: &str) {
        if let Some(position) =
            self.position.as_mut().filter(|position| !version.is_empty() && ***position != *version)
        {
            *position = version.into();
        }
    }

    /// As [`Self::advance`], after an object of which only the version can be read.
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
