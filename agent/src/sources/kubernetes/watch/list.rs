//! Lists: streaming where the server has them, else in pages.

use serde::Deserialize;
use tokio::time::Instant;

use super::super::super::health::{Failure, FailureCode};
use super::super::body::{Lines, Pieces};
use super::super::items::{Item, Items};
use super::super::server::encoded;
use super::super::slim::{Malformed, Watched};
use super::{End, JSON, Running};

/// Objects of a page. A server that lists from its cache may ignore it and send all.
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
    /// Lists and then watches, in one request:
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
            Err(failure) if failure.code == FailureCode::BadRequest => return Err(End::NoStreaming),
            Err(failure) => return Err(failure.into()),
        };
        let mut lines = Lines::new(Pieces::new(body, self.server.timing().list_idle_timeout));
        self.publisher.init().await?;
        match self.follow_list::<K>(&mut lines).await {
            // `FailureCode::BadRequest` may come as an event as well.
            Err(End::Failed(failure)) if failure.code == FailureCode::BadRequest => {
                return Err(End::NoStreaming);
            }
            result => result?,
        }
        self.listed().await?;
        lines.set_idle_timeout(self.server.timing().watch_idle_timeout);
        self.follow::<K>(&mut lines).await
    }

    /// Lists in pages.
    pub(super) async fn paged_list<K: Watched>(&mut self) -> Result<(), End> {
        let mut token: Option<Box<str>> = None;
        loop {
            let place = match &token {
                // A continue token implies the version.
                Some(token) => format!("&continue={}", encoded(token)),
                None => format!("&resourceVersion={}", self.list_version()),
            };
            let path = format!("{}?limit={PAGE}{place}{}", K::PATH, self.selector);
            let body = self.server.get(&path, JSON).await?;
            if token.is_none() {
                self.publisher.init().await?;
            }
            let ListMetadata { resource_version, r#continue } =
                self.page::<K>(Pieces::new(body, self.server.timing().list_idle_timeout)).await?;
            token = r#continue.filter(|token| !token.is_empty());
            if token.is_none() {
                if resource_version.is_empty() {
                    return Err(Failure::new(FailureCode::Malformed, "a list without resourceVersion").into());
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
        let none = || Failure::new(FailureCode::Malformed, "the answer is not a list");
        while let Some(piece) = pieces.next().await? {
            let mut bytes = &piece[..];
            loop {
                let object = match items.next(&mut bytes).map_err(|_| none())? {
                    Some(Item::Text(text)) => serde_json::from_slice::<K>(text).map_err(Malformed::from),
                    Some(Item::TooLong) => Err(Malformed("object too long".to_owned())),
                    None => break,
                };
                match object {
                    Ok(object) => self.apply(object).await?,
                    Err(malformed) => self.publisher.malformed(&malformed.0),
                }
            }
        }
        let around = items.around().ok_or_else(|| {
            Failure::new(FailureCode::ConnectionLost, "the list ended before it was complete")
        })?;
        let around: Around = serde_json::from_slice(around).map_err(|_| none())?;
        Ok(around.metadata)
    }

    async fn listed(&mut self) -> Result<(), End> {
        (self.is_expired, self.listed) = (false, Some(Instant::now()));
        self.refusals.reset();
        Ok(self.publisher.init_done().await?)
    }

    /// "0": from the server's cache, which is cheap but may be old; or empty: the newest state, where what was published may
    /// be newer than the cache.
    fn list_version(&self) -> &'static str {
        if self.is_expired { "" } else { "0" }
    }
}
