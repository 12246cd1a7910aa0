//! Real connections through a real kernel's table, in a network namespace of its own. They need root and `nft`; without
//! them they say so and leave.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};

use netcause_common::flow::{PROTOCOL_TCP, PROTOCOL_UDP};

use netcause_core::enrich::conntrack::{
    Conntrack, Pass, ServiceAddress, ServiceBackends, ServiceQuery, Support,
};

use super::super::carry_out;
use super::*;

/// Two backends by turns, a client of IPv4, one of IPv6, and UDP.
const RULES: &str = "table inet test {
    chain output {
        type nat hook output priority -100
        ip daddr 10.96.0.10 tcp dport 80 dnat ip to numgen inc mod 2 map { 0 : 10.77.0.3, 1 : 10.77.0.4 } : 8080
        ip daddr 10.96.0.10 udp dport 53 dnat ip to 10.77.0.4:5353
        ip6 daddr fd96::10 tcp dport 80 dnat ip6 to [fd77::3]:8080
    }
}
";
const ADDRESSES: &str = "link set lo up
addr add 10.77.0.2/32 dev lo
addr add 10.77.0.3/32 dev lo
addr add 10.77.0.4/32 dev lo
addr add fd77::3/128 dev lo nodad
route add 10.96.0.0/16 dev lo
route add fd96::/64 dev lo
";

fn feed(program: &str, args: &[&str], input: &str) {
    let mut child = Command::new(program).args(args).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{program} {args:?}");
}

/// Runs this test again in a namespace of its own; `Some` if it has ended there or cannot run.
fn elsewhere(name: &str, before: &[&str]) -> bool {
    const HERE: &str = "NETCAUSE_TEST_NAMESPACE";
    if std::env::var_os(HERE).is_some() {
        return false;
    }
    let can = Command::new("unshare").args(["-n", "nft", "list", "ruleset"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: it needs root and nft");
        return true;
    }
    let this = std::env::current_exe().unwrap();
    let name = format!("kernel::conntrack::netlink::tests::{name}");
    let status = Command::new("unshare")
        .arg("-n")
        .args(before)
        .arg(this)
        .args([&name, "--exact", "--nocapture"])
        .env(HERE, "")
        .status();
    assert!(status.unwrap().success());
    true
}

fn service(address: &str, port: u16, protocol: u8) -> ServiceAddress {
    ServiceAddress { address: address.parse().unwrap(), port, protocol }
}

fn socket_address(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// Carries out passes until none is due at this time.
fn run_passes(conntrack: &mut Conntrack, now: Duration) -> usize {
    let mut passes = 0;
    while let Some(pass) = conntrack.plan(now) {
        passes += 1;
        conntrack.handle(carry_out(pass), now);
    }
    passes
}

fn backends(conntrack: &Conntrack, question: ServiceQuery) -> BTreeSet<SocketAddr> {
    match conntrack.backends(question) {
        ServiceBackends::Known(backends) => backends.iter().map(|backend| backend.address).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn the_kernel_tells_where_connections_go() {
    if elsewhere("the_kernel_tells_where_connections_go", &[]) {
        return;
    }
    feed("ip", &["-batch", "-"], ADDRESSES);
    feed("nft", &["-f", "-"], RULES);
    let _listeners =
        ["10.77.0.3:8080", "10.77.0.4:8080", "[fd77::3]:8080"].map(|at| TcpListener::bind(at).unwrap());
    let web = service("10.96.0.10", 80, PROTOCOL_TCP);
    let streams = [0; 2].map(|_| TcpStream::connect("10.96.0.10:80").unwrap());
    let v6 = TcpStream::connect("[fd96::10]:80").unwrap();
    let udp = UdpSocket::bind("10.77.0.2:0").unwrap();
    udp.send_to(b"?", "10.96.0.10:53").unwrap();
    let direct = TcpStream::connect("10.77.0.3:8080").unwrap();

    // All lookups at once, from a dump of the table.
    let mut conntrack = Conntrack::default();
    let of = |service, client: Option<IpAddr>| ServiceQuery { service, client };
    let client = streams[0].local_addr().unwrap().ip();
    let questions = [
        (of(web, None), vec!["10.77.0.3:8080", "10.77.0.4:8080"]),
        (of(web, Some(client)), vec!["10.77.0.3:8080", "10.77.0.4:8080"]),
        (of(web, Some("10.77.0.99".parse().unwrap())), vec![]),
        (
            of(service("10.96.0.10", 53, PROTOCOL_UDP), Some("10.77.0.2".parse().unwrap())),
            vec!["10.77.0.4:5353"],
        ),
        (of(service("10.96.0.10", 53, PROTOCOL_TCP), None), vec![]),
        (of(service("10.77.0.3", 8080, PROTOCOL_TCP), None), vec![]),
        (of(service("fd96::10", 80, PROTOCOL_TCP), None), vec!["[fd77::3]:8080"]),
    ];
    questions.iter().for_each(|(question, _)| conntrack.register_interest(*question, Duration::ZERO));
    assert_eq!(run_passes(&mut conntrack, Duration::ZERO), 1);
    assert_eq!(conntrack.support(), &Support::Yes);
    assert!(conntrack.statistics().entries >= 5, "{:?}", conntrack.statistics());
    assert_eq!(conntrack.statistics().malformed, 0);
    for (question, expected) in &questions {
        let expected: BTreeSet<_> = expected.iter().map(|at| socket_address(at)).collect();
        assert_eq!(backends(&conntrack, *question), expected, "{question:?}");
        if expected.is_empty() {
            assert_eq!(conntrack.backends(*question), ServiceBackends::NotTranslated);
        }
    }

    // One by one, by their clients' ends.
    let one = |service, client| {
        let mut outcome = carry_out(Pass::Connections(vec![(of(service, None), client)]));
        assert_eq!((outcome.failure, outcome.found.len()), (None, 1));
        outcome.found.remove(0).into_backends()
    };
    let local = |stream: &TcpStream| stream.local_addr().unwrap();
    let found: BTreeSet<_> = streams.iter().flat_map(|stream| one(web, local(stream))).collect();
    assert_eq!(found, ["10.77.0.3:8080", "10.77.0.4:8080"].map(socket_address).into());
    assert_eq!(*one(service("fd96::10", 80, PROTOCOL_TCP), local(&v6)), [socket_address("[fd77::3]:8080")]);
    assert_eq!(*one(service("10.77.0.3", 8080, PROTOCOL_TCP), local(&direct)), []);
    let udp_service = service("10.96.0.10", 53, PROTOCOL_UDP);
    assert_eq!(*one(udp_service, udp.local_addr().unwrap()), [socket_address("10.77.0.4:5353")]);
    // A port that no connection has.
    assert_eq!(*one(web, SocketAddr::new(client, 1)), []);
}

#[test]
fn a_long_table_is_read_in_pieces_up_to_the_limit() {
    if elsewhere("a_long_table_is_read_in_pieces_up_to_the_limit", &[]) {
        return;
    }
    feed("ip", &["-batch", "-"], ADDRESSES);
    feed("nft", &["-f", "-"], RULES);
    let udp = UdpSocket::bind("10.77.0.2:0").unwrap();
    for port in 1000..3000 {
        udp.send_to(b"?", ("10.77.0.3", port)).unwrap_or_default();
    }
    let mut ports = BTreeSet::new();
    let (read, failure) = Socket::open().unwrap().all(|tracked| {
        ports.insert(tracked.destination.port());
    });
    assert_eq!(failure, None);
    assert!(read.entries >= 2000 && !read.is_cut, "{read:?}");
    assert!((1000..3000).all(|port| ports.contains(&port)));
    let mut read = Read::default();
    Socket::open().unwrap().read_all(&mut read, 100, &mut |_| ()).unwrap();
    assert!(read.is_cut && (100..300).contains(&read.entries), "{read:?}");
}

#[test]
fn without_permission_the_failure_says_so() {
    let drop = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
    if elsewhere("without_permission_the_failure_says_so", &drop) {
        return;
    }
    let mut conntrack = Conntrack::default();
    let question = ServiceQuery { service: service("10.96.0.10", 80, PROTOCOL_TCP), client: None };
    conntrack.register_interest(question, Duration::ZERO);
    assert_eq!(run_passes(&mut conntrack, Duration::ZERO), 1);
    assert_eq!(conntrack.support(), &Support::No(Failure::Forbidden));
    assert_eq!(conntrack.backends(question), ServiceBackends::Unknown);
}

#[test]
fn the_task_asks_what_is_wanted() {
    if elsewhere("the_task_asks_what_is_wanted", &[]) {
        return;
    }
    feed("ip", &["-batch", "-"], ADDRESSES);
    feed("nft", &["-f", "-"], RULES);
    let _listener = TcpListener::bind("[fd77::3]:8080").unwrap();
    let _stream = TcpStream::connect("[fd96::10]:80").unwrap();
    let question = ServiceQuery { service: service("fd96::10", 80, PROTOCOL_TCP), client: None };
    let mut conntrack = Conntrack::default();
    conntrack.register_interest(question, Duration::ZERO);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        let (passes, to_ask) = tokio::sync::mpsc::unbounded_channel();
        let (answers, mut outcomes) = tokio::sync::mpsc::unbounded_channel();
        passes.send(conntrack.plan(Duration::ZERO).unwrap()).unwrap();
        tokio::select! {
            () = super::super::serve(to_ask, answers) => None,
            outcome = outcomes.recv() => outcome,
        }
    });
    conntrack.handle(outcome.unwrap(), Duration::ZERO);
    assert_eq!(backends(&conntrack, question), [socket_address("[fd77::3]:8080")].into());
}

#[test]
fn an_error_number_has_a_kind() {
    for (errno, code) in [
        (Errno::PERM, "forbidden"),
        (Errno::INVAL, "unsupported"),
        (Errno::PROTONOSUPPORT, "unsupported"),
        (Errno::AGAIN, "timeout"),
        (Errno::NOBUFS, "other"),
    ] {
        assert_eq!(failure(errno).reason(), code, "{errno}");
    }
}
