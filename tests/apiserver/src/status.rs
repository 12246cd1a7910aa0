//! `Status` objects, worded as the real server words them (`k8s.io/apimachinery/pkg/api/errors/errors.go`).

use serde_json::{Value, json};

use super::resources::Resource;

/// A failure, as it goes to the client: with an HTTP status, or as an `ERROR` event of a watch.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) body: Value,
}

impl Status {
    /// A failure with these words.
    pub(crate) fn failure(code: u16, reason: &str, message: &str) -> Self {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code,
        });
        Self { code, body }
    }

    fn with_details(mut self, details: Value) -> Self {
        self.body["details"] = details;
        self
    }

    /// How long the client is to wait, if it is told to.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        self.body.pointer("/details/retryAfterSeconds")?.as_u64()
    }

    pub(crate) fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn forbidden(
        verb: &str,
        resource: &Resource,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Self {
        let quoted = name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
        let place = match namespace {
            Some(namespace) if resource.is_namespaced => format!("in the namespace \"{namespace}\""),
            _ => "at the cluster scope".to_owned(),
        };
        let message = format!(
            "{}{quoted} is forbidden: User \"system:serviceaccount:netcause:netcause\" cannot {verb} resource \
             \"{}\" in API group \"{}\" {place}",
            resource.full_name(),
            resource.plural,
            resource.group,
        );
        Self::failure(403, "Forbidden", &message).with_details(about(resource, name))
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.full_name());
        Self::failure(404, "NotFound", &message).with_details(about(resource, Some(name)))
    }

    pub(crate) fn no_resource() -> Self {
        Self::failure(404, "NotFound", "the server could not find the requested resource")
            .with_details(json!({}))
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::failure(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(json!({}))
    }

    pub(crate) fn not_acceptable() -> Self {
        Self::failure(406, "NotAcceptable", "only the following media types are accepted: application/json")
    }

    pub(crate) fn bad_request(message: &str) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// What the validation of list options finds: `field` and what is wrong with it.
    pub(crate) fn invalid_options(kind: &str, field: &str, message: &str) -> Self {
        let text = format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {kind}: {message}");
        let reason = if kind == "Forbidden" { "FieldValueForbidden" } else { "FieldValueInvalid" };
        Self::failure(422, "Invalid", &text).with_details(json!({
            "group": "meta.k8s.io", "kind": "ListOptions",
            "causes": [{"reason": reason, "message": format!("{kind}: {message}"), "field": field}],
        }))
    }

    /// A watch from, or a list at, a version that is no longer there.
    pub(crate) fn too_old(asked: u64, oldest: u64) -> Self {
        Self::failure(410, "Expired", &format!("too old resource version: {asked} ({oldest})"))
    }

    /// A watch whose events were compacted away while it ran.
    pub(crate) fn watch_too_old() -> Self {
        Self::failure(410, "Expired", "The resourceVersion for the provided watch is too old.")
    }

    /// A page of a list whose snapshot is no longer there; the client may go on with another token, inconsistently.
    pub(crate) fn continue_expired(token: &str) -> Self {
        let mut status = Self::failure(
            410,
            "Expired",
            "The provided continue parameter is too old to display a consistent list result. You can start a new \
             list without the continue parameter, or use the continue token in this response to retrieve the \
             remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
             that were created, modified, or deleted between the time the first chunk was returned and now may show \
             up in the list.",
        );
        status.body["metadata"] = json!({ "continue": token });
        status
    }

    pub(crate) fn too_large(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        Self::failure(504, "Timeout", &message).with_details(json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        }))
    }

    pub(crate) fn throttled(seconds: u64) -> Self {
        Self::failure(429, "TooManyRequests", "storage is (re)initializing")
            .with_details(json!({ "retryAfterSeconds": seconds }))
    }

    /// Any other failure of the server.
    pub(crate) fn broken(code: u16) -> Self {
        match code {
            500 => Self::failure(500, "InternalError", "Internal error occurred: etcdserver: no leader")
                .with_details(json!({"causes": [{"message": "etcdserver: no leader"}]})),
            503 => Self::failure(
                503,
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => Self::failure(504, "Timeout", "request did not complete within the allotted timeout")
                .with_details(json!({})),
            code => Self::failure(code, "Unknown", "the server said so because a scenario wanted it to"),
        }
    }
}

fn about(resource: &Resource, name: Option<&str>) -> Value {
    let mut details = json!({ "kind": resource.plural });
    if let Some(name) = name {
        details["name"] = json!(name);
    }
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
    }
    details
}
