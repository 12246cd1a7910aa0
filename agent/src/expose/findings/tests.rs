use std::sync::Arc;

use netcause_core::aggregate::Via;
use netcause_core::diagnose::cause::{Cause, Confidence, Owner, Side};
use netcause_core::diagnose::finding::{Excluded, NextStep, Watched};
use netcause_core::enrich::name::Name;
use serde_json::{Value, json};

use super::*;
use crate::expose::lately::Findings;

pub(crate) fn finding() -> Finding {
    let workload = |name| Workload::named(Name::new("shop", name));
    let edge = Edge {
        reporter: Reporter::Source,
        source: workload("checkout"),
        destination: workload("payments"),
        service: Some(Name::new("shop", "pay")),
        port: Some(8080),
        via: Via::Direct,
    };
    Finding {
        cause: Cause::PathLoss,
        side: Side::Path,
        owner: Owner::Network,
        confidence: Confidence::High,
        subject: Subject::Edge(Pair::of(&edge)),
        affected: vec![Arc::new(edge)],
        affected_total: 1,
        impact: Impact { retransmitted_share: 0.023, ..Impact::default() },
        evidence: vec![
            Signal {
                of: Some(18_020.0),
                ..Signal::value(
                    "tcp_retransmitted_segments",
                    412.0,
                    "segments",
                    "2.3 % were sent again".to_owned(),
                )
            }
            .usually(Some(0.0001)),
        ],
        counter_evidence: Vec::new(),
        missing_evidence: vec![finding::Missing { signal: "packet_drops", why: "no reasons".to_owned() }],
        excluded: vec![Excluded { cause: Cause::Reordering, because: "few duplicates".to_owned() }],
        summary: "packets are lost".to_owned(),
        next_step: NextStep { text: "See".to_owned(), command: "ss -tin".to_owned() },
    }
}

pub(crate) fn lately(until: Option<u64>) -> Lately {
    let dated = vec![Dated { finding: Arc::new(finding()), since: 1_795_946_400, until }];
    let watched = Watched { edges: 7, judgements: 12, for_time: std::time::Duration::from_secs(60) };
    let findings = Findings { all: dated, watched, node: "node-17".to_owned(), ..Findings::default() };
    Lately { findings, read_at: 1_795_946_460, ..Lately::default() }
}

fn answer(query: &str) -> Value {
    let query = Query::parse(query).unwrap();
    serde_json::to_value(Answer::new(&lately(None), &query)).unwrap()
}

#[test]
fn a_finding_has_the_fields_of_the_contract() {
    let answer = answer("");
    assert_eq!(answer["node"], "node-17");
    assert_eq!(answer["generated_at"], "2026-11-29T10:01:00Z");
    assert_eq!(answer["watched"], json!({ "edges": 7, "seconds": 60, "windows": 12, "missing": [] }));
    let destination =
        json!({ "namespace": "shop", "workload": "payments", "service": "shop/pay", "port": 8080 });
    let source = json!({ "namespace": "shop", "workload": "checkout" });
    assert_eq!(
        answer["findings"],
        json!([{
            "id": "path_loss/shop.checkout/shop.payments:8080",
            "cause": "path_loss", "side": "path", "owner": "network", "state": "active", "confidence": "high",
            "since": "2026-11-29T10:00:00Z", "until": null,
            "subject": { "kind": "edge", "source": source, "destination": destination },
            "affected": [{ "reporter": "source", "source": source, "destination": destination }],
            "affected_total": 1,
            "impact": { "failed_connections_per_second": 0.0, "stalled_connection_seconds_per_second": 0.0,
                "retransmitted_share": 0.023, "failed_queries_per_second": 0.0 },
            "evidence": [{ "signal": "tcp_retransmitted_segments", "value": 412.0, "of": 18020.0, "baseline": 0.0001,
                "unit": "segments", "says": "2.3 % were sent again" }],
            "counter_evidence": [],
            "missing_evidence": [{ "signal": "packet_drops", "why": "no reasons" }],
            "excluded": [{ "cause": "reordering", "because": "few duplicates" }],
            "summary": "packets are lost",
            "next_step": { "text": "See", "command": "ss -tin" },
            "runbook": "docs/runbooks/path_loss.md"
        }])
    );
}

#[test]
fn a_workload_has_its_own_findings() {
    let count = |query: &str| answer(query)["findings"].as_array().map(Vec::len);
    for query in ["workload=shop/checkout", "workload=payments", "workload=shop/payments"] {
        assert_eq!(count(query), Some(1), "{query}");
    }
    assert_eq!(count("workload=bank/payments"), Some(0));
    for (query, words) in [("since=5m", "only workload"), ("workload=shop/", "NAMESPACE/NAME")] {
        let error = Query::parse(query).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let query = Query::parse("workload=a%20b/c").unwrap();
    assert_eq!(query.to_string(), "?workload=a%20b/c");
}
