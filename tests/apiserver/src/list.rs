//! Lists, whole or page by page, and single objects.

use std::{collections::BTreeMap, io, ops::Bound, sync::Arc};

use serde_json::{Value, json};

use super::{
    http::Reply,
    query::{Match, Options},
    resources::Resource,
    state::Shared,
    status::Status,
    store::{Key, Object, Store},
};

/// What a list is of.
pub(crate) struct Wanted<'a> {
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: Option<&'a str>,
    /// As `PartialObjectMetadata`.
    pub(crate) partial: bool,
}

impl Wanted<'_> {
    /// Whether an object is among those asked for.
    pub(crate) fn is(&self, object: &Object, options: &Options) -> bool {
        self.namespace.is_none_or(|namespace| namespace == object.key.0) && options.selector.selects(object)
    }
}

/// A page, and what is said about it.
struct Page {
    objects: Vec<Arc<Object>>,
    version: u64,
    token: Option<String>,
    remaining: Option<usize>,
}

/// Answers with a list.
pub(crate) fn answer(
    shared: &Shared,
    answer: &mut Reply,
    wanted: &Wanted<'_>,
    options: &Options,
) -> io::Result<()> {
    let found = page(&shared.store(), wanted, options);
    let page = match found {
        Ok(page) => page,
        Err(status) => return answer.failure(&status),
    };
    let (kind, api_version) = if wanted.partial {
        ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned())
    } else {
        (wanted.resource.kind, wanted.resource.api_version())
    };
    let mut metadata = json!({ "resourceVersion": page.version.to_string() });
    if let Some(token) = page.token {
        metadata["continue"] = json!(token);
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    let mut body = format!(
        "{{\"kind\":\"{kind}List\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":["
    )
    .into_bytes();
    for (number, object) in page.objects.iter().enumerate() {
        if number > 0 {
            body.push(b',');
        }
        let partial = wanted.partial.then(|| object.partial());
        let text = partial.as_deref().unwrap_or(&object.item);
        match shared.state().faults.of_object("list", object) {
            Some(how) => body.extend(how.spoil(text)),
            None => body.extend_from_slice(text.as_bytes()),
        }
    }
    body.extend_from_slice(b"]}\n");
    answer.json(&body)
}

/// Answers as a kubelet's read-only port does: all pods of its node, of no version.
pub(crate) fn of_kubelet(shared: &Shared, answer: &mut Reply, node: &str) -> io::Result<()> {
    let Some(pods) = Resource::named("pods") else { return Ok(()) };
    let found = {
        let store = shared.store();
        store.at(pods, store.version()).unwrap_or_default()
    };
    let on_node =
        found.values().filter(|pod| pod.fields.get("spec.nodeName").is_some_and(|name| name == node));
    let items: Vec<&str> = on_node.map(|pod| pod.item.as_str()).collect();
    let items = items.join(",");
    answer.json(
        format!("{{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{{}},\"items\":[{items}]}}\n")
            .as_bytes(),
    )
}

fn page(store: &Store, wanted: &Wanted<'_>, options: &Options) -> Result<Page, Status> {
    let current = store.version();
    let (version, start) = match (&options.token, options.version) {
        (Some(token), _) => {
            let Some((version, start)) = read_token(token) else {
                return Err(Status::bad_request("continue key is not valid: it was not made by this server"));
            };
            match version {
                // The token that came with an expired one: from there, whatever is there now.
                None => (current, Some(start)),
                Some(version) if version < store.oldest() => {
                    return Err(Status::continue_expired(&token_of(None, &start)));
                }
                Some(version) => (version, Some(start)),
            }
        }
        (None, Some(version)) if version > current => return Err(Status::too_large(version, current)),
        // "Exact" is also what a limit makes of an unset match.
        (None, Some(version))
            if version > 0
                && (options.version_match == Match::Exact
                    || (options.version_match == Match::Unset && options.limit > 0)) =>
        {
            (version, None)
        }
        (None, _) => (current, None),
    };
    let objects =
        store.at(wanted.resource, version).ok_or_else(|| Status::too_old(version, store.oldest()))?;
    let from = start.map_or(Bound::Unbounded, Bound::Included);
    let found: Vec<&Arc<Object>> =
        range(&objects, from).filter(|object| wanted.is(object, options)).collect();
    // The real one answers version 0 from its cache, and then takes no notice of a limit.
    let limit = if options.limit == 0 || (options.version == Some(0) && options.token.is_none()) {
        usize::MAX
    } else {
        options.limit
    };
    let next = found.get(limit);
    let remaining = found.len().saturating_sub(limit);
    Ok(Page {
        version,
        token: next.map(|next| token_of(Some(version), &next.key)),
        remaining: (remaining > 0 && options.selector.is_empty()).then_some(remaining),
        objects: found.into_iter().take(limit).cloned().collect(),
    })
}

fn range(objects: &BTreeMap<Key, Arc<Object>>, from: Bound<Key>) -> impl Iterator<Item = &Arc<Object>> {
    objects.range((from, Bound::Unbounded)).map(|(_, object)| object)
}

/// Where a list goes on. It is nobody's business what is in it, so it is made unreadable.
fn token_of(version: Option<u64>, (namespace, name): &Key) -> String {
    use std::fmt::Write as _;
    let text = json!({"v": "meta.k8s.io/v1", "rv": version, "ns": namespace, "name": name}).to_string();
    text.bytes().fold(String::new(), |mut token, byte| {
        // Writing to a String does not fail.
        let _ = write!(token, "{byte:02x}");
        token
    })
}

fn read_token(token: &str) -> Option<(Option<u64>, Key)> {
    let digits = token.as_bytes().chunks(2);
    let bytes = digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
    let value: Value = serde_json::from_slice(&bytes.collect::<Option<Vec<u8>>>()?).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    Some((value.get("rv")?.as_u64(), (text("ns")?, text("name")?)))
}

/// Answers with one object.
pub(crate) fn one(
    shared: &Shared,
    answer: &mut Reply,
    resource: &'static Resource,
    key: &Key,
    partial: bool,
) -> io::Result<()> {
    let Some(object) = shared.store().get(resource, key) else {
        return answer.failure(&Status::not_found(resource, &key.1));
    };
    let text = if partial { object.partial() } else { object.whole() };
    let spoilt = shared.state().faults.of_object("get", &object);
    match spoilt {
        Some(how) => answer.json(&how.spoil(&text)),
        None => answer.json(format!("{text}\n").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back() {
        let key = ("shop".to_owned(), "cart-0".to_owned());
        assert_eq!(read_token(&token_of(Some(7), &key)), Some((Some(7), key.clone())));
        assert_eq!(read_token(&token_of(None, &key)), Some((None, key)));
        assert_eq!(read_token("abc"), None);
        assert_eq!(read_token("zz"), None);
    }
}
