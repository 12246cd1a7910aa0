//! Lists: streaming where the server has them, else page by page.

use serde::Deserialize;

use super::super::body::{Lines, Pieces};
use super::super::items::{Item, Items};
use super::super::server::{Failure, Reason, encoded};
use super::super::slim::{Malformed, Watched};
use super::{End, JSON, Running};

/// Objects of a page. A server may send more: all, where it lists from its cache.
const PAGE: u32 = 500;

/// A list without its objects.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Around {
    metadata: ListMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMetadata {
    resource_version: Box<str>,
    r#continue: Option<Box<str>>,
}

impl Running {
    /// Lists and goes on to watch, in one request:
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>
    pub(super) async fn streaming_list<K: Watched>(&mut self) -> Result<(), End> {
        let path = format!(
            "{}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true\
             &resourceVersion={}&timeoutSeconds={}{}",
            K::PATH,
            self.list_version(),
            self.watch_seconds(),
            self.selector,
        );
        let body = match self.server.get(&path, JSON).await {
            Ok(body) => body,
            Err(failure) if failure.reason == Reason::Unknown => return Err(End::NoStreaming),
            Err(failure) => return Err(failure.into()),
        };
        let mut lines = Lines::new(Pieces::new(body, self.server.timing().list_silence));
        self.teller.begin().await?;
        match self.follow_list::<K>(&mut lines).await {
            // Likewise: see `event`.
            Err(End::Failed(failure)) if failure.reason == Reason::Unknown => return Err(End::NoStreaming),
            result => result?,
        }
        self.listed().await?;
        lines.may_be_silent(self.server.timing().watch_silence);
        self.follow::<K>(&mut lines).await
    }

    /// Lists page by page.
    pub(super) async fn paged_list<K: Watched>(&mut self) -> Result<(), End> {
        let mut token: Option<Box<str>> = None;
        loop {
            let place = match &token {
                // A continue token has its version in it.
                Some(token) => format!("&continue={}", encoded(token)),
                None => format!("&resourceVersion={}", self.list_version()),
            };
            let path = format!("{}?limit={PAGE}{place}{}", K::PATH, self.selector);
            let body = self.server.get(&path, JSON).await?;
            if token.is_none() {
                self.teller.begin().await?;
            }
            let ListMetadata { resource_version, r#continue } =
                self.page::<K>(Pieces::new(body, self.server.timing().list_silence)).await?;
            token = r#continue.filter(|token| !token.is_empty());
            if token.is_none() {
                if resource_version.is_empty() {
                    return Err(Failure::new(Reason::Malformed, "a list without version").into());
                }
                self.position = Some(resource_version);
                self.listed().await?;
                self.is_streaming_next = true;
                return Ok(());
            }
        }
    }

    async fn page<K: Watched>(&mut self, mut pieces: Pieces) -> Result<ListMetadata, End> {
        let mut items = Items::default();
        let none = || Failure::new(Reason::Malformed, "what came is no list");
        while let Some(piece) = pieces.next().await? {
            let mut octets = &piece[..];
            loop {
                let object = match items.next(&mut octets).map_err(|_| none())? {
                    Some(Item::Text(text)) => serde_json::from_slice::<K>(text).map_err(Malformed::from),
                    Some(Item::TooLong) => Err(Malformed("an object that is too long".to_owned())),
                    None => break,
                };
                match object {
                    Ok(object) => self.tell(object).await?,
                    Err(malformed) => self.teller.malformed(&malformed.0),
                }
            }
        }
        let around = items
            .around()
            .ok_or_else(|| Failure::new(Reason::Broken, "the list ended before it was whole"))?;
        let around: Around = serde_json::from_slice(around).map_err(|_| none())?;
        Ok(around.metadata)
    }

    async fn listed(&mut self) -> Result<(), End> {
        self.is_expired = false;
        Ok(self.teller.end().await?)
    }

    /// From the server's cache, which may be behind; or, where what was told is newer than that may be, the newest.
    fn list_version(&self) -> &'static str {
        if self.is_expired { "" } else { "0" }
    }
}
