//! The resources that the server has, and what the path of a request means.

/// A resource of the API.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Empty: the core group.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) is_namespaced: bool,
    /// What the agent's ClusterRole grants.
    pub(crate) granted: &'static [&'static str],
    /// Fields that a `fieldSelector` may name beside `metadata.name` and `metadata.namespace`.
    pub(crate) fields: &'static [&'static str],
}

/// For what is listed and watched.
const READ: &[&str] = &["get", "list", "watch"];
/// For owners: each by its name, when a pod says who it is.
const GET: &[&str] = &["get"];
/// For what is nobody's business.
const NONE: &[&str] = &[];

const fn resource(
    (group, version): (&'static str, &'static str),
    plural: &'static str,
    kind: &'static str,
    granted: &'static [&'static str],
) -> Resource {
    Resource { group, version, plural, kind, is_namespaced: true, granted, fields: &[] }
}

const CORE: (&str, &str) = ("", "v1");
const APPS: (&str, &str) = ("apps", "v1");
const BATCH: (&str, &str) = ("batch", "v1");

/// All of them. The fields are those of the kinds' `Get…FieldLabel…` conversions in `pkg/apis/core/v1/conversion.go`.
pub(crate) static RESOURCES: &[Resource] = &[
    Resource {
        fields: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ..resource(CORE, "pods", "Pod", READ)
    },
    Resource {
        is_namespaced: false,
        fields: &["spec.unschedulable"],
        ..resource(CORE, "nodes", "Node", READ)
    },
    Resource { fields: &["spec.clusterIP", "spec.type"], ..resource(CORE, "services", "Service", READ) },
    resource(("discovery.k8s.io", "v1"), "endpointslices", "EndpointSlice", READ),
    resource(APPS, "replicasets", "ReplicaSet", GET),
    resource(APPS, "deployments", "Deployment", GET),
    resource(APPS, "statefulsets", "StatefulSet", NONE),
    resource(APPS, "daemonsets", "DaemonSet", NONE),
    resource(BATCH, "jobs", "Job", GET),
    resource(BATCH, "cronjobs", "CronJob", GET),
    resource(("events.k8s.io", "v1"), "events", "Event", NONE),
    resource(("argoproj.io", "v1alpha1"), "rollouts", "Rollout", GET),
    resource(("example.com", "v1"), "databases", "Database", NONE),
    resource(CORE, "secrets", "Secret", NONE),
    resource(CORE, "configmaps", "ConfigMap", NONE),
];

impl Resource {
    /// As objects have it in `apiVersion`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// As the server's messages name it: `endpointslices.discovery.k8s.io`.
    pub(crate) fn full_name(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The one of this plural.
    pub(crate) fn named(plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| resource.plural == plural)
    }

    /// The one of an object's `apiVersion` and `kind`.
    pub(crate) fn of(api_version: &str, kind: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| resource.kind == kind && resource.api_version() == api_version)
    }
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Objects, of all namespaces or of one.
    Collection { resource: &'static Resource, namespace: Option<String> },
    /// One object.
    Object { resource: &'static Resource, namespace: String, name: String },
    /// `/kubelet/<node>/pods`: what a kubelet's read-only port has at `/pods`.
    Kubelet(String),
    /// A resource, or a part of one, that the server does not have.
    NoResource,
    /// No path of the API at all.
    Nothing,
}

impl Target {
    /// Reads a path without its query.
    pub(crate) fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match *parts.as_slice() {
            ["api" | "apis"] | ["api", _] | ["apis", _] | ["apis", _, _] => return Self::Nothing,
            ["kubelet", node, "pods"] => return Self::Kubelet(node.to_owned()),
            ["api", version, ref rest @ ..] => ("", version, rest),
            ["apis", group, version, ref rest @ ..] => (group, version, rest),
            _ => return Self::Nothing,
        };
        let find = |plural: &str| {
            let mut all = RESOURCES.iter();
            all.find(|one| one.plural == plural && one.group == group && one.version == version)
        };
        match *rest {
            ["namespaces", namespace, plural] => match find(plural) {
                Some(resource) if resource.is_namespaced => {
                    Self::Collection { resource, namespace: Some(namespace.to_owned()) }
                }
                _ => Self::NoResource,
            },
            ["namespaces", namespace, plural, name] => match find(plural) {
                Some(resource) if resource.is_namespaced => {
                    Self::Object { resource, namespace: namespace.to_owned(), name: name.to_owned() }
                }
                _ => Self::NoResource,
            },
            [plural] => match find(plural) {
                Some(resource) => Self::Collection { resource, namespace: None },
                None => Self::NoResource,
            },
            [plural, name] => match find(plural) {
                Some(resource) if !resource.is_namespaced => {
                    Self::Object { resource, namespace: String::new(), name: name.to_owned() }
                }
                _ => Self::NoResource,
            },
            _ => Self::NoResource,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_the_api_concepts_page_has_them() {
        let pods = Resource::named("pods").unwrap();
        let slices = Resource::named("endpointslices").unwrap();
        let nodes = Resource::named("nodes").unwrap();
        assert_eq!(Target::of("/api/v1/pods"), Target::Collection { resource: pods, namespace: None });
        assert_eq!(
            Target::of("/api/v1/namespaces/shop/pods"),
            Target::Collection { resource: pods, namespace: Some("shop".into()) }
        );
        assert_eq!(
            Target::of("/api/v1/namespaces/shop/pods/cart-0"),
            Target::Object { resource: pods, namespace: "shop".into(), name: "cart-0".into() }
        );
        assert_eq!(
            Target::of("/apis/discovery.k8s.io/v1/endpointslices"),
            Target::Collection { resource: slices, namespace: None }
        );
        assert_eq!(
            Target::of("/api/v1/nodes/n1"),
            Target::Object { resource: nodes, namespace: String::new(), name: "n1".into() }
        );
        assert_eq!(Target::of("/apis/apps/v1/pods"), Target::NoResource);
        assert_eq!(Target::of("/api/v1/pods/cart-0"), Target::NoResource);
        assert_eq!(Target::of("/api/v1/namespaces/shop/pods/cart-0/log"), Target::NoResource);
        assert_eq!(Target::of("/apis/apps/v1/"), Target::Nothing);
        assert_eq!(Target::of("/kubelet/n1/pods"), Target::Kubelet("n1".into()));
        assert_eq!(Target::of("/metrics"), Target::Nothing);
    }

    #[test]
    fn kinds_are_found_by_what_objects_say() {
        assert_eq!(Resource::of("apps/v1", "ReplicaSet").unwrap().full_name(), "replicasets.apps");
        assert_eq!(Resource::of("v1", "Pod").unwrap().full_name(), "pods");
        assert_eq!(Resource::of("v1", "ReplicaSet"), None);
    }
}
