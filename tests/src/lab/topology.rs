//! Pods on a bridge: every scenario has a switch namespace of its own, so scenarios cannot touch each other and may use
//! the same addresses.

mod wire;

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Deref,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;

pub(crate) use super::program::{Client, Controlled, Outcome, Server};
use super::{
    cgroup::{Cgroup, kubepods},
    machine,
    namespace::{Namespace, tethered},
    process::Process,
};

/// A network of one scenario: a bridge, and the pods that were made on it.
pub(crate) struct Net {
    scenario: String,
    switch: Namespace,
    /// The third byte of its addresses.
    network: u8,
    /// The last byte of the bridge's address.
    bridge: u8,
    pods: Cell<u8>,
    holders: Holders,
}

/// Which pods of a network have had which address.
type Holders = Arc<Mutex<Vec<(IpAddr, String)>>>;

impl Net {
    pub(crate) fn new(scenario: &str) -> Result<Self> {
        Self::in_network(scenario, 0)
    }

    /// As [`Self::new`], with addresses that no other network has: 10.77.`network`.0/24 and fd77:0:0:`network`::/64.
    pub(crate) fn in_network(scenario: &str, network: u8) -> Result<Self> {
        Self::numbered(scenario, "switch", (network, 1), Holders::default())
    }

    /// A bridge at these last two bytes of its address; its pods have the numbers behind it.
    fn numbered(scenario: &str, switch: &str, (network, bridge): (u8, u8), holders: Holders) -> Result<Self> {
        let switch = Namespace::new(&format!("{scenario}-{switch}"), None)?;
        // No forward delay and no multicast snooping: the first packet of a pod passes at once, neighbour discovery too.
        let script = format!(
            "link add br0 type bridge forward_delay 0 mcast_snooping 0\nlink set br0 addrgenmode none\nlink set br0 up\n\
             addr add 10.77.{network}.{bridge}/24 dev br0\n"
        );
        switch.run("ip", &["-batch", "-"], &script)?;
        let pods = Cell::new(bridge - 1);
        Ok(Self { scenario: scenario.to_owned(), switch, network, bridge, pods, holders })
    }

    /// A network with two pods, `client` and `server`. The pods are cut off when it is dropped.
    pub(crate) fn pair(scenario: &str) -> Result<(Self, Pod, Pod)> {
        let net = Self::new(scenario)?;
        let (client, server) = (net.pod("client")?, net.pod("server")?);
        Ok((net, client, server))
    }

    /// The name of its scenario.
    pub(crate) fn scenario(&self) -> &str {
        &self.scenario
    }

    /// The namespace of the bridge, where faults of the path are made.
    pub(crate) fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// A new pod with an address of each family, one cable away from the bridge.
    pub(crate) fn pod(&self, name: &str) -> Result<Pod> {
        let cgroup = Cgroup::new(&self.scenario, name)?;
        let number = self.next();
        self.plug(name, cgroup, number, number + 1)
    }

    /// As [`Self::pod`], with these cgroups below its own.
    pub(crate) fn pod_in(&self, name: &str, layout: &str) -> Result<Pod> {
        let cgroup = Cgroup::with_layout(&self.scenario, name, layout)?;
        let number = self.next();
        self.plug(name, cgroup, number, number + 1)
    }

    /// As [`Self::pod`], with the cgroups that the kubelet makes for a pod of this uid; see [`kubepods`].
    pub(crate) fn pod_of_uid(&self, name: &str, uid: &str) -> Result<Pod> {
        self.pod_in(name, &kubepods(uid))
    }

    /// As [`Self::pod_of_uid`], at the addresses of another pod, which is disconnected.
    pub(crate) fn pod_instead_of(&self, old: &Pod, name: &str, uid: &str) -> Result<Pod> {
        self.switch.run("ip", &["link", "del", &old.port], "")?;
        let cgroup = Cgroup::with_layout(&self.scenario, name, &kubepods(uid))?;
        self.plug(name, cgroup, self.next(), old.v4.octets()[3])
    }

    fn next(&self) -> u8 {
        let number = self.pods.get() + 1;
        self.pods.set(number);
        number
    }

    /// Makes a pod with this number of its cable and this last byte of its addresses.
    fn plug(&self, name: &str, cgroup: Cgroup, number: u8, address: u8) -> Result<Pod> {
        let namespace = Namespace::new(&format!("{}-{name}", self.scenario), Some(cgroup.path()))?;
        let port = format!("port{number}");
        let v4 = Ipv4Addr::new(10, 77, self.network, address);
        let v6 = Ipv6Addr::new(0xfd77, 0, 0, self.network.into(), 0, 0, 0, address.into());
        // The hardware address belongs to the others, so that neighbour caches stay right for the next pod at them.
        self.switch.run(
            "ip",
            &["-batch", "-"],
            &format!(
                "link add {port} type veth peer name eth0 address 02:77:00:00:{:02x}:{address:02x} netns {}\n\
                 link set {port} addrgenmode none\nlink set {port} master br0\nlink set {port} up\n",
                self.network,
                namespace.pid()
            ),
        )?;
        namespace.run(
            "ip",
            &["-batch", "-"],
            &format!(
                "link set lo up\nlink set eth0 addrgenmode none\nlink set eth0 up\n\
                 addr add {v4}/24 dev eth0\naddr add {v6}/64 dev eth0 nodad\n"
            ),
        )?;
        // The bridge opens a port when the kernel's link watcher finds the cable plugged in, up to a second later.
        namespace.reach(IpAddr::V4(Ipv4Addr::new(10, 77, self.network, self.bridge)))?;
        let pod = Pod { namespace, cgroup, v4, v6, port, holders: Arc::clone(&self.holders) };
        pod.holds(v4.into());
        pod.holds(v6.into());
        Ok(pod)
    }

    /// A pod on the host network of `node`: it has the namespace and the addresses of that pod, and a cgroup of its own.
    pub(crate) fn pod_on_host(&self, node: &Pod, name: &str, uid: &str) -> Result<HostPod> {
        let cgroup = Cgroup::with_layout(&self.scenario, name, &kubepods(uid))?;
        Ok(HostPod { netns: node.pid(), cgroup })
    }
}

/// A proxy in a pod, in a container of its own.
pub(crate) struct Sidecar {
    process: Process,
    _cgroup: Cgroup,
}

impl Sidecar {
    /// Starts one in the pod with this uid; it passes on what connects to `listen`.
    pub(crate) fn start(
        scenario: &str,
        pod: &Pod,
        uid: &str,
        listen: SocketAddr,
        to: SocketAddr,
    ) -> Result<Self> {
        // Not below the cgroup of the pod's first container: an agent recognises both by the uid.
        let name = format!("{}-sidecar", pod.port);
        let cgroup = Cgroup::with_layout(scenario, &name, &kubepods(uid))?;
        let mut command = tethered(Some(pod.pid()), Some(cgroup.path()), &[])?;
        command.arg(&machine()?.exe).args(["traffic", "relay"]);
        command.args(["--listen", &listen.to_string(), "--to", &to.to_string()]);
        let process = Process::spawn(&format!("sidecar at {listen}"), &mut command)?;
        process.wait_stdout("listening", |line| line.contains("\"listening\"").then_some(()))?;
        Ok(Self { process, _cgroup: cgroup })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }
}

/// A pod on the host network.
pub(crate) struct HostPod {
    netns: u32,
    cgroup: Cgroup,
}

impl HostPod {
    fn traffic(&self, program: &str, args: &[&str]) -> Result<Command> {
        let mut command = tethered(Some(self.netns), Some(self.cgroup.path()), &[])?;
        command.arg(&machine()?.exe).arg("traffic").arg(program).args(args);
        Ok(command)
    }

    /// As [`Pod::serve`].
    pub(crate) fn serve(&self, listen: SocketAddr, args: &[&str]) -> Result<Server> {
        Server::start("server", listen, args, |args| self.traffic("server", args))
    }

    /// As [`Pod::connect`].
    pub(crate) fn connect(&self, to: SocketAddr, args: &[&str]) -> Result<Outcome> {
        Client::start(to, args, |args| self.traffic("client", args))?.finish()
    }

    /// As [`Pod::serve_udp`].
    pub(crate) fn serve_udp(&self, listen: SocketAddr, args: &[&str]) -> Result<Server> {
        Server::start("udp-server", listen, args, |args| self.traffic("udp-server", args))
    }

    /// As [`Pod::send_udp`].
    pub(crate) fn send_udp(&self, to: SocketAddr, args: &[&str]) -> Result<Outcome> {
        send(to, args, |args| self.traffic("udp-client", args))
    }

    /// As [`Pod::connect`], with this number of a group.
    pub(crate) fn connect_as(&self, group: u32, to: SocketAddr, args: &[&str]) -> Result<Outcome> {
        let start = |args: &[&str]| {
            let mut command = tethered(Some(self.netns), Some(self.cgroup.path()), &[])?;
            // A change of the group would end the tie to the lab's life.
            command.args(["setpriv", "--regid", &group.to_string(), "--clear-groups", "--pdeathsig", "KILL"]);
            command.arg(&machine()?.exe).args(["traffic", "client"]).args(args);
            Ok(command)
        };
        Client::start(to, args, start)?.finish()
    }
}

/// A pod: a network namespace, a cgroup, a cable.
pub(crate) struct Pod {
    namespace: Namespace,
    cgroup: Cgroup,
    /// Its addresses on the scenario's network.
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
    /// The bridge's end of its cable.
    pub(crate) port: String,
    holders: Holders,
}

impl Deref for Pod {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Pod {
    /// Its name in the agent's metrics, where nothing else names it.
    pub(crate) fn workload(&self) -> &str {
        self.cgroup.name()
    }

    /// Where its cgroup is.
    pub(crate) fn cgroup_path(&self) -> &Path {
        self.cgroup.path()
    }

    fn holds(&self, address: IpAddr) {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders.push((address, self.workload().to_owned()));
    }

    /// What the agent may call the end at an address of the pod's network: the address, and the pods that have had it.
    pub(crate) fn names_at(&self, address: IpAddr) -> Vec<String> {
        let holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        let pods = holders.iter().filter(|(held, _)| *held == address).map(|(_, pod)| pod.clone());
        std::iter::once(address.to_string()).chain(pods).collect()
    }

    /// What the agent may call this pod where it is the other end: its workload, and all its addresses.
    pub(crate) fn names(&self) -> Vec<String> {
        let holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        let own = holders.iter().filter(|(_, pod)| pod == self.workload());
        own.map(|(address, _)| address.to_string()).chain([self.workload().to_owned()]).collect()
    }

    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.v4), port)
    }

    pub(crate) fn at_v6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(self.v6), port)
    }

    /// Sets the minimum retransmission timeout of new connections to `peer`.
    pub(crate) fn set_min_rto(&self, peer: &Self, time: &str) -> Result<()> {
        let script = format!("route add {}/32 dev eth0 rto_min {time}\n", peer.v4);
        self.run("ip", &["-batch", "-"], &script).map(drop)
    }

    /// Adds an address to the pod, written with its prefix: `203.0.113.7/24`.
    pub(crate) fn also_at(&self, address: &str) -> Result<()> {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        self.run("ip", &["-batch", "-"], &format!("addr add {address} dev eth0{nodad}\n"))?;
        self.holds(address.split('/').next().unwrap_or_default().parse()?);
        Ok(())
    }

    /// Sets the queueing discipline of everything the pod sends: `netem delay 30ms`.
    pub(crate) fn queue(&self, discipline: &str) -> Result<()> {
        let args = format!("qdisc add dev eth0 root {discipline}");
        self.run("tc", &args.split(' ').collect::<Vec<_>>(), "").map(drop)
    }

    fn traffic(&self, program: &str, args: &[&str]) -> Result<Command> {
        let mut command = self.command(&machine()?.exe)?;
        command.arg("traffic").arg(program).args(args);
        Ok(command)
    }

    /// Starts a server and waits until it listens. `args`: see `netcause-lab traffic server --help`.
    pub(crate) fn serve(&self, listen: SocketAddr, args: &[&str]) -> Result<Server> {
        self.start_server("server", listen, args)
    }

    /// Starts a UDP server. `args`: see `netcause-lab traffic udp-server --help`.
    pub(crate) fn serve_udp(&self, listen: SocketAddr, args: &[&str]) -> Result<Server> {
        self.start_server("udp-server", listen, args)
    }

    fn start_server(&self, program: &str, listen: SocketAddr, args: &[&str]) -> Result<Server> {
        Server::start(program, listen, args, |args| self.traffic(program, args))
    }

    /// Runs a client to its end. `args`: see `netcause-lab traffic client --help`.
    pub(crate) fn connect(&self, to: SocketAddr, args: &[&str]) -> Result<Outcome> {
        self.start_client(to, args)?.finish()
    }

    /// Starts a client and leaves it running.
    pub(crate) fn start_client(&self, to: SocketAddr, args: &[&str]) -> Result<Client> {
        Client::start(to, args, |args| self.traffic("client", args))
    }

    /// Starts a client with `--hold` and waits until its connections are open.
    pub(crate) fn hold(&self, to: SocketAddr, args: &[&str]) -> Result<Client> {
        let client = self.start_client(to, &[&["--hold"], args].concat())?;
        client.wait_open()?;
        Ok(client)
    }

    /// Starts a client of a real server and waits until its session has begun. `args`: see `netcause-lab traffic ask --help`.
    pub(crate) fn ask(&self, to: SocketAddr, language: &str) -> Result<Client> {
        let client = Client::start(to, &["--language", language], |args| self.traffic("ask", args))?;
        client.wait_open()?;
        Ok(client)
    }

    /// Starts a program of the fault lab that lines of its standard input change: `service`, `caller`, `dns-service`, `dns-caller`.
    pub(crate) fn start_controlled(&self, program: &str, args: &[&str]) -> Result<Controlled> {
        let name = format!("{program} of {}", self.workload());
        let mut command = self.traffic(program, args)?;
        Controlled::start(&name, &mut command)
    }

    /// Runs a UDP client to its end. `args`: see `netcause-lab traffic udp-client --help`.
    pub(crate) fn send_udp(&self, to: SocketAddr, args: &[&str]) -> Result<Outcome> {
        self.send("udp-client", to, args)
    }

    /// Sends TCP segments from forged addresses. `args`: see `netcause-lab traffic flood --help`.
    pub(crate) fn flood(&self, to: SocketAddr, args: &[&str]) -> Result<Outcome> {
        self.send("flood", to, args)
    }

    /// Sends malformed DNS. `args`: see `netcause-lab traffic dns-garbage --help`.
    pub(crate) fn send_garbage(&self, to: SocketAddr, args: &[&str]) -> Result<Outcome> {
        self.send("dns-garbage", to, args)
    }

    /// Asks DNS servers. `args`: see `netcause-lab traffic dns-ask --help`.
    pub(crate) fn ask_dns(&self, to: SocketAddr, args: &[&str]) -> Result<Outcome> {
        self.send("dns-ask", to, args)
    }

    /// Starts an odd DNS server. `args`: see `netcause-lab traffic dns-answer --help`.
    pub(crate) fn answer_dns(&self, listen: SocketAddr, args: &[&str]) -> Result<Server> {
        self.start_server("dns-answer", listen, args)
    }

    fn send(&self, program: &str, to: SocketAddr, args: &[&str]) -> Result<Outcome> {
        send(to, args, |args| self.traffic(program, args))
    }
}

/// Runs what a program sends, to its end.
fn send(to: SocketAddr, args: &[&str], command: impl FnOnce(&[&str]) -> Result<Command>) -> Result<Outcome> {
    let to = to.to_string();
    let mut command = command(&["--to", &to])?;
    let end = Process::run(&format!("what is sent to {to}"), command.args(args), "")?;
    Outcome::read(&end.success().context("the client")?)
}
