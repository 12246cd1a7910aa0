//! Parts of queries: which series the variables of a dashboard select.

/// The labels of a pair of workloads.
pub(super) const PAIR: &str = "source_namespace, source_workload, destination_namespace, destination_workload, \
                               destination_service, destination_port";

/// The labels of a listening port.
pub(super) const LISTENER: &str = "destination_namespace, destination_workload, destination_port";

/// The labels of a pair in [`PAIR_NAME`].
pub(super) const PAIR_LINE: &str =
    "source_namespace, source_workload, destination_namespace, destination_workload, destination_port";

/// How lines of pairs are called. A namespace that there is not leaves a space, which nobody sees.
pub(super) const PAIR_NAME: &str = "{{source_namespace}} {{source_workload}} → {{destination_namespace}} {{destination_workload}}:{{destination_port}}";

/// How lines of listening ports are called.
pub(super) const LISTENER_NAME: &str =
    "{{destination_namespace}} {{destination_workload}}:{{destination_port}}";

/// Pairs as the end sees them that the variable `reporter` names, of the workloads there.
pub(super) fn seen(metric: &str) -> String {
    format!(
        r#"{metric}{{cluster=~"$cluster",reporter="$reporter",${{reporter}}_namespace=~"$namespace",${{reporter}}_workload=~"$workload"}}"#
    )
}

/// Pairs as their clients see them, of the clients that the variables select; `more` are further matchers, each behind a comma.
pub(super) fn of_clients(metric: &str, more: &str) -> String {
    format!(
        r#"{metric}{{cluster=~"$cluster",reporter="source",source_namespace=~"$namespace",source_workload=~"$workload"{more}}}"#
    )
}

/// What has the label of a client alone, of the clients that the variables select.
pub(super) fn client(metric: &str) -> String {
    format!(r#"{metric}{{cluster=~"$cluster",source_namespace=~"$namespace",source_workload=~"$workload"}}"#)
}

/// What has the labels of a server, of the servers that the variables select.
pub(super) fn server(metric: &str) -> String {
    format!(
        r#"{metric}{{cluster=~"$cluster",destination_namespace=~"$namespace",destination_workload=~"$workload"}}"#
    )
}

/// What has the labels of a node, of the nodes that the variables select.
pub(super) fn node(metric: &str) -> String {
    format!(r#"{metric}{{cluster=~"$cluster",node=~"$node"}}"#)
}

/// What belongs to a whole cluster or agent.
pub(super) fn any(metric: &str) -> String {
    format!(r#"{metric}{{cluster=~"$cluster"}}"#)
}

/// Per second, in the time that Grafana finds right for the resolution.
pub(super) fn rate(selector: &str) -> String {
    format!("rate({selector}[$__rate_interval])")
}

/// The sum of the rates, by labels; of all for no label.
pub(super) fn sum_rate(by: &str, selector: &str) -> String {
    match by {
        "" => format!("sum({})", rate(selector)),
        by => format!("sum by ({by}) ({})", rate(selector)),
    }
}

/// The share of one rate in another, where there is anything of the other; 1 at most, also where what is counted later, such as queries
/// that time out, is more than what there is now.
pub(super) fn share(by: &str, part: &str, whole: &str) -> String {
    format!("clamp_max({} / ({} > 0), 1)", sum_rate(by, part), sum_rate(by, whole))
}

/// A quantile of a histogram, by labels; nothing, rather than no number, where nothing was observed. The selector is that of the
/// native histogram.
pub(super) fn quantile(quantile: f64, by: &str, selector: &str) -> String {
    quantile_of(quantile, by, |suffix| rate(&selector.replacen('{', &format!("{suffix}{{"), 1)))
}

/// The same, of rates made from the suffix of the name. A Prometheus has classic buckets or native histograms, by how it is set up:
/// where there are no buckets, the native histogram answers.
pub(super) fn quantile_of(quantile: f64, by: &str, rates: impl Fn(&str) -> String) -> String {
    let of = |by: &str, suffix| match by {
        "" => format!("histogram_quantile({quantile}, sum({})) >= 0", rates(suffix)),
        by => format!("histogram_quantile({quantile}, sum by ({by}) ({})) >= 0", rates(suffix)),
    };
    let with_bounds = if by.is_empty() { "le".to_owned() } else { format!("le, {by}") };
    format!("{} or {}", of(&with_bounds, "_bucket"), of(by, ""))
}

/// The ten largest.
pub(super) fn top(promql: &str) -> String {
    format!("topk(10, {promql})")
}

/// The ten largest that are not zero: of what should not happen, lines at zero would only be names.
pub(super) fn worst(promql: &str) -> String {
    format!("topk(10, {promql} > 0)")
}

/// What is not zero.
pub(super) fn some(promql: &str) -> String {
    format!("{promql} > 0")
}

/// What the recording rules of `deploy/prometheus` have named as the place of loss.
pub(super) fn explaining(labels: &str, rules: &str) -> String {
    format!(r#"max by ({labels}) ({{__name__=~"{rules}",cluster=~"$cluster"}})"#)
}

/// Zones that are named, and pairs of zones that these do not explain: each would be there once more for every other zone.
pub(super) fn explaining_zones() -> String {
    let zones = any("netcause:zone_loss:named");
    let pairs = any("netcause:zone_pair_loss:named");
    format!(
        "max by (zone, peer_zone, direction) ({zones} or ({pairs} unless on (cluster, zone) {zones} unless on (cluster, peer_zone) \
         label_replace({zones}, \"peer_zone\", \"$1\", \"zone\", \"(.+)\")))"
    )
}
