//! Field selectors: equality. Label selectors are refused: no client of this server uses them.

use super::{status::Status, store::Object};

/// What a list or a watch is narrowed to: fields, and whether each equals the value or must not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<(String, String, bool)>);

impl Selector {
    /// Parses both; `known` are the fields of the resource beside its name and namespace.
    pub(crate) fn of(
        fields: Option<&str>,
        labels: Option<&str>,
        known: &[&'static str],
    ) -> Result<Self, Status> {
        if labels.is_some() {
            return Err(Status::bad_request("the test server has no label selectors"));
        }
        let terms = fields.unwrap_or("").split(',').map(str::trim).filter(|term| !term.is_empty());
        let requirement = |term: &str| {
            let (field, value, is_equal) = if let Some((field, value)) = term.split_once("!=") {
                (field, value, false)
            } else if let Some((field, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
                (field, value, true)
            } else {
                let message = format!("invalid selector: '{term}'; can't understand '{term}'");
                return Err(Status::bad_request(&message));
            };
            if !known.contains(&field) && !matches!(field, "metadata.name" | "metadata.namespace") {
                return Err(Status::bad_request(&format!("field label not supported: {field}")));
            }
            Ok((field.to_owned(), value.to_owned(), is_equal))
        };
        terms.map(requirement).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it selects all.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn selects(&self, object: &Object) -> bool {
        let mut all = self.0.iter();
        all.all(|(field, value, is_equal)| (object.fields.get(field.as_str()) == Some(value)) == *is_equal)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{resources::Resource, store::Store};

    #[test]
    fn pods_are_selected_by_node_and_address() {
        let mut store = Store::new();
        store
            .put(json!({
                "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "x"},
                "spec": {"nodeName": "n1"}, "status": {"podIP": "10.0.0.1"},
            }))
            .unwrap();
        let pods = Resource::named("pods").unwrap();
        let pod = store.get(pods, &("x".into(), "a".into())).unwrap();
        let selects = |fields: &str| {
            Selector::of(Some(fields), None, pods.fields).map(|selector| selector.selects(&pod))
        };
        for (fields, is) in [
            ("", true),
            ("spec.nodeName=n1", true),
            ("spec.nodeName==n1,status.podIP=10.0.0.1", true),
            ("spec.nodeName!=n1", false),
            ("spec.nodeName=", false),
            ("spec.hostNetwork=false", true),
            ("metadata.name=a,metadata.namespace=x", true),
        ] {
            assert_eq!(selects(fields).unwrap(), is, "{fields}");
        }
        assert_eq!(selects("spec.image=x").unwrap_err().code, 400);
        assert_eq!(selects("spec.nodeName").unwrap_err().code, 400);
        assert_eq!(Selector::of(None, Some("app=web"), pods.fields).unwrap_err().code, 400);
    }
}
