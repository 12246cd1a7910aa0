use super::*;

#[test]
fn a_dns_server_keeps_what_clients_asked_that_are_gone() {
    let client = |name: &str, queries| Shown {
        edge: Arc::new(Edge {
            source: Workload::plain(name),
            destination: Workload::plain("resolver"),
            port: Some(53),
            ..Edge::other(Reporter::Destination)
        }),
        totals: Totals { dns: DnsCounters { retries: queries, ..DnsCounters::ZERO }, ..Totals::ZERO },
        counts: true,
    };
    let mut servers = DnsServers::default();
    let mut kept = |shown: &[Shown]| {
        let kept = servers.keep(shown, &Moment::default());
        kept.iter().map(|kept| (kept.edge.source.clone(), kept.totals.dns.retries)).collect::<Vec<_>>()
    };
    assert_eq!(kept(&[client("a", 3), client("b", 4)]), []);
    assert_eq!(kept(&[client("b", 5)]), [(Workload::Other, 3)]);
    // The edge comes again and begins at zero, as one that was folded does.
    assert_eq!(kept(&[client("a", 1), client("b", 5)]), [(Workload::Other, 3)]);
    assert_eq!(kept(&[client("a", 2)]), [(Workload::Other, 8)]);
    // Its histogram is folded into `other`, and the rest counts once.
    let mut timed = client("a", 2);
    timed.totals.dns.duration.sum = 9;
    assert_eq!(kept(&[timed]), [(Workload::Other, 8)]);
    assert_eq!(kept(&[client("a", 2)]), [(Workload::Other, 8)]);
    assert_eq!(kept(&[]), [], "without a client there is no server to show");
}
