//! Field and label selectors: equality, and for labels also presence. What else the API has is refused, aloud.

use super::{status::Status, store::Object};

#[derive(Debug, PartialEq, Eq)]
enum Is {
    Equal(String),
    NotEqual(String),
    There,
    NotThere,
}

/// What a list or a watch is narrowed to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    fields: Vec<(String, Is)>,
    labels: Vec<(String, Is)>,
}

impl Selector {
    /// Reads both; `known` are the fields of the resource beside its name and namespace.
    pub(crate) fn of(
        fields: Option<&str>,
        labels: Option<&str>,
        known: &[&'static str],
    ) -> Result<Self, Status> {
        let parse = |text: Option<&str>| -> Result<Vec<(String, Is)>, Status> {
            let terms = text.unwrap_or("").split(',').map(str::trim).filter(|term| !term.is_empty());
            terms.map(requirement).collect()
        };
        let selector = Self { fields: parse(fields)?, labels: parse(labels)? };
        for (field, is) in &selector.fields {
            if !known.contains(&field.as_str()) && !matches!(&**field, "metadata.name" | "metadata.namespace")
            {
                return Err(Status::bad_request(&format!("field label not supported: {field}")));
            }
            if matches!(is, Is::There | Is::NotThere) {
                return Err(Status::bad_request(&format!(
                    "invalid selector: '{field}'; can't understand '{field}'"
                )));
            }
        }
        Ok(selector)
    }

    /// Whether it selects all.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.labels.is_empty()
    }

    pub(crate) fn selects(&self, object: &Object) -> bool {
        let holds = |value: Option<&String>, is: &Is| match is {
            Is::Equal(wanted) => value == Some(wanted),
            Is::NotEqual(unwanted) => value != Some(unwanted),
            Is::There => value.is_some(),
            Is::NotThere => value.is_none(),
        };
        self.fields.iter().all(|(field, is)| holds(object.fields.get(field.as_str()), is))
            && self.labels.iter().all(|(label, is)| holds(object.labels.get(label), is))
    }
}

fn requirement(term: &str) -> Result<(String, Is), Status> {
    if term.contains(['(', ')', ' ']) {
        return Err(Status::bad_request(&format!("the test server has no set-based selectors: {term}")));
    }
    let (name, is) = if let Some((name, value)) = term.split_once("!=") {
        (name, Is::NotEqual(value.to_owned()))
    } else if let Some((name, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (name, Is::Equal(value.to_owned()))
    } else if let Some(name) = term.strip_prefix('!') {
        (name, Is::NotThere)
    } else {
        (term, Is::There)
    };
    Ok((name.to_owned(), is))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::{resources::Resource, store::Store};

    #[test]
    fn pods_are_selected_by_node_address_and_label() {
        let mut store = Store::new();
        store
            .put(json!({
                "kind": "Pod", "apiVersion": "v1",
                "metadata": {"name": "a", "namespace": "x", "labels": {"app": "web"}},
                "spec": {"nodeName": "n1"}, "status": {"podIP": "10.0.0.1"},
            }))
            .unwrap();
        let pods = Resource::named("pods").unwrap();
        let pod = store.get(pods, &("x".into(), "a".into())).unwrap();
        let selects = |fields: &str, labels: &str| {
            Selector::of(Some(fields), Some(labels), pods.fields).map(|selector| selector.selects(&pod))
        };
        for (fields, labels, is) in [
            ("", "", true),
            ("spec.nodeName=n1", "", true),
            ("spec.nodeName==n1,status.podIP=10.0.0.1", "app", true),
            ("spec.nodeName!=n1", "", false),
            ("spec.nodeName=", "", false),
            ("spec.hostNetwork=false", "", true),
            ("metadata.name=a,metadata.namespace=x", "app=web", true),
            ("", "app!=web", false),
            ("", "!app", false),
            ("", "!tier,tier!=front", true),
        ] {
            assert_eq!(selects(fields, labels).unwrap(), is, "{fields} {labels}");
        }
        assert_eq!(selects("spec.image=x", "").unwrap_err().code, 400);
        assert_eq!(selects("spec.nodeName", "").unwrap_err().code, 400);
        assert_eq!(selects("", "app in (a)").unwrap_err().code, 400);
    }
}
