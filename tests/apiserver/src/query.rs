//! The query of a request: options of lists and watches, validated as the real server validates them
//! (`k8s.io/apimachinery/pkg/apis/meta/internalversion/validation/validation.go`).

use std::{collections::BTreeMap, time::Duration};

use super::{selector::Selector, status::Status};

/// The parameters of a query, decoded.
pub type Parameters = BTreeMap<String, String>;

/// Splits a request's target into path and parameters.
pub(crate) fn split(target: &str) -> (String, Parameters) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let parameters = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    });
    (decode(path), parameters.collect())
}

/// Percent-decoding, with `+` for a space (application/x-www-form-urlencoded).
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(&[*high, *low]).is_some() => {
                bytes.extend(hex(&[*high, *low]));
                rest = after;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How a `resourceVersion` is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Unset,
    Exact,
    NotOlderThan,
}

/// The options of a list or a watch.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) watch: bool,
    /// `None`: unset, which is not the same as 0.
    pub(crate) version: Option<u64>,
    pub(crate) version_match: Match,
    /// 0: no limit.
    pub(crate) limit: usize,
    pub(crate) token: Option<String>,
    pub(crate) selector: Selector,
    pub(crate) timeout: Option<Duration>,
    pub(crate) bookmarks: bool,
    /// Unset is not the same as false: a watch from version 0 begins with all objects all the same.
    pub(crate) initial_events: Option<bool>,
}

impl Options {
    /// Reads them; `watch_list` says whether this server knows streaming lists.
    pub(crate) fn of(
        parameters: &Parameters,
        watch_list: bool,
        fields: &[&'static str],
    ) -> Result<Self, Status> {
        let text = |name: &str| parameters.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let flag = |name: &str| text(name).map(|value| !matches!(value, "0" | "false"));
        let number = |name: &str| match text(name).map(str::parse::<u64>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(Status::bad_request(&format!(
                "strconv.ParseInt: parsing \"{}\": invalid syntax",
                text(name).unwrap_or("")
            ))),
        };
        let version = match text("resourceVersion").map(str::parse) {
            None => None,
            Some(Ok(version)) => Some(version),
            Some(Err(_)) => {
                let value = text("resourceVersion").unwrap_or("");
                let message = format!("resourceVersion: Invalid value: \"{value}\": must be a number");
                return Err(Status::bad_request(&message));
            }
        };
        let version_match = match text("resourceVersionMatch") {
            None => Match::Unset,
            Some("Exact") => Match::Exact,
            Some("NotOlderThan") => Match::NotOlderThan,
            Some(_) => {
                let message = "supported values: \"Exact\", \"NotOlderThan\", \"\"";
                return Err(Status::invalid_options("Unsupported value", "resourceVersionMatch", message));
            }
        };
        let selector = Selector::of(text("fieldSelector"), text("labelSelector"), fields)?;
        let options = Self {
            watch: flag("watch").unwrap_or(false),
            version,
            version_match,
            limit: usize::try_from(number("limit")?.unwrap_or(0)).unwrap_or(usize::MAX),
            token: text("continue").map(ToOwned::to_owned),
            selector,
            timeout: number("timeoutSeconds")?.map(Duration::from_secs),
            bookmarks: flag("allowWatchBookmarks").unwrap_or(false),
            initial_events: flag("sendInitialEvents"),
        };
        options.validate(watch_list)?;
        Ok(options)
    }

    fn validate(&self, watch_list: bool) -> Result<(), Status> {
        let forbid = |field, message| Err(Status::invalid_options("Forbidden", field, message));
        if self.watch {
            if self.initial_events.is_some() {
                if !watch_list {
                    let message = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
                    return forbid("sendInitialEvents", message);
                }
                if self.version_match != Match::NotOlderThan {
                    let message = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                    return forbid("resourceVersionMatch", message);
                }
            } else if self.version_match != Match::Unset {
                let message =
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                return forbid("resourceVersionMatch", message);
            }
            return Ok(());
        }
        if self.initial_events.is_some() {
            return forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
        }
        if self.version_match != Match::Unset {
            if self.version.is_none() {
                let message = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                return forbid("resourceVersionMatch", message);
            }
            if self.token.is_some() {
                let message = "resourceVersionMatch is forbidden when continue is provided";
                return forbid("resourceVersionMatch", message);
            }
            if self.version_match == Match::Exact && self.version == Some(0) {
                let message = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                return forbid("resourceVersionMatch", message);
            }
        }
        if self.token.is_some() && self.version.is_some_and(|version| version != 0) {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(query: &str) -> Result<Options, u16> {
        let (_, parameters) = split(&format!("/api/v1/pods?{query}"));
        Options::of(&parameters, true, &["spec.nodeName"]).map_err(|status| status.code)
    }

    #[test]
    fn queries_are_decoded() {
        let (path, parameters) = split("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&continue=&x=a+b%zz");
        assert_eq!(path, "/api/v1/pods");
        assert_eq!(parameters["fieldSelector"], "spec.nodeName=n1");
        assert_eq!(parameters["x"], "a b%zz");
        assert_eq!(parameters["continue"], "");
    }

    #[test]
    fn unset_and_zero_are_told_apart() {
        assert_eq!(options("").unwrap().version, None);
        assert_eq!(options("resourceVersion=0").unwrap().version, Some(0));
        assert_eq!(options("resourceVersion=x").unwrap_err(), 400);
    }

    #[test]
    fn what_the_api_forbids_is_refused() {
        assert!(options("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan").is_ok());
        for query in [
            "watch=true&sendInitialEvents=true",
            "watch=true&resourceVersionMatch=NotOlderThan&resourceVersion=1",
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=1",
            "resourceVersionMatch=Exact",
            "resourceVersionMatch=Exact&resourceVersion=0",
            "resourceVersionMatch=Newest&resourceVersion=1",
            "resourceVersionMatch=Exact&resourceVersion=1&continue=x",
        ] {
            assert_eq!(options(query).unwrap_err(), 422, "{query}");
        }
        assert_eq!(options("continue=x&resourceVersion=1").unwrap_err(), 400);
        assert!(options("continue=x&resourceVersion=0").is_ok());
        let (_, old) = split("/?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
        assert_eq!(Options::of(&old, false, &[]).unwrap_err().code, 422);
    }
}
