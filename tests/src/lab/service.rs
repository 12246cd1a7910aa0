//! A service's address that stands for pods: the switch's namespace is their node, and rewrites destinations as
//! kube-proxy does, so that its table of connections knows the backends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use super::topology::{Net, Pod};

/// Where the service is, on [`PORT`], for TCP and UDP.
pub(crate) const V4: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
pub(crate) const V6: Ipv6Addr = Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, 0x10);
pub(crate) const PORT: u16 = 80;

/// The service's address of each family.
pub(crate) fn addresses() -> [SocketAddr; 2] {
    [IpAddr::V4(V4), IpAddr::V6(V6)].map(|address| SocketAddr::new(address, PORT))
}

/// Gives the connections of the clients to the backends by turns, at this port of theirs.
pub(crate) fn balance(net: &Net, clients: &[&Pod], backends: &[&Pod], port: u16) -> Result<()> {
    let node = net.switch();
    // For what it forwards it looks for neighbours from its link-local address, or not at all.
    node.run(
        "ip",
        &["-batch", "-"],
        "link set lo up\naddr add fd77::1/64 dev br0 nodad\naddr add fe80::1/64 dev br0 nodad\n",
    )?;
    // It forwards from one port of the bridge to another, and must not send redirects to a shorter path: the answers
    // have to come back through it.
    node.sysctl(&[
        "net/ipv4/ip_forward=1",
        "net/ipv6/conf/all/forwarding=1",
        "net/ipv4/conf/all/send_redirects=0",
        "net/ipv4/conf/br0/send_redirects=0",
    ])?;
    let turns = |address: fn(&Pod) -> IpAddr| {
        let each = backends.iter().enumerate().map(|(number, pod)| format!("{number} : {}", address(pod)));
        let each = each.collect::<Vec<_>>().join(", ");
        format!("to numgen inc mod {} map {{ {each} }} : {port}", backends.len())
    };
    let (v4, v6) = (turns(|pod| pod.v4.into()), turns(|pod| pod.v6.into()));
    let script = format!(
        "table inet services {{\n chain prerouting {{\n  type nat hook prerouting priority dstnat;\n  \
         ip daddr {V4} meta l4proto {{ tcp, udp }} th dport {PORT} dnat ip {v4}\n  \
         ip6 daddr {V6} meta l4proto {{ tcp, udp }} th dport {PORT} dnat ip6 {v6}\n }}\n}}\n"
    );
    node.run("nft", &["-f", "-"], &script)?;
    for pod in clients.iter().chain(backends) {
        pod.sysctl(&["net/ipv6/conf/eth0/accept_redirects=0"])?;
    }
    for client in clients {
        let routes = format!("route add {V4}/32 via 10.77.0.1\nroute add {V6}/128 via fd77::1\n");
        client.run("ip", &["-batch", "-"], &routes)?;
        for backend in backends {
            let routes = format!(
                "route add {}/32 via 10.77.0.1\nroute add {}/128 via fd77::1\n",
                client.v4, client.v6
            );
            backend.run("ip", &["-batch", "-"], &routes)?;
        }
    }
    Ok(())
}
