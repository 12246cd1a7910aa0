//! Names of peers outside the cluster: from DNS answers, and from a file of networks and cgroups.

use std::{fs, net::IpAddr, path::Path};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{Agent, Options, ROOM},
    crossed::{Crossed, OPEN, RECEIVED, SENT},
    dns::{clients::Resolver, server::Server},
    eventually,
    files::Files,
    metrics::{CLOSED, EXTERNAL, Edge, Metrics, OPENED, float},
    topology::{Net, Pod},
};

const PORT: u16 = 8080;

/// Where the services of system containers are, and what these containers are called.
const CONTAINERS: [(&str, &str); 5] = [
    ("machine.slice/machine-web.scope/payload", "machine-web"),
    ("machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn@web.service"),
    ("lxc.payload.web", "lxc-web"),
    ("lxc/101/ns", "lxc-101"),
    (
        "system.slice/docker-5c1e0d5c1e0d5c1e0d5c1e0d5c1e0d5c1e0d5c1e0d5c1e0d5c1e0d5c1e0d5c1e.scope",
        "docker-5c1e0d5c1e0d",
    ),
];

/// Services of the same name in different containers are different workloads.
pub(super) fn system_containers(name: &str) -> Result<()> {
    let agent = Agent::start(name, "agent", &Options { env: &[ROOM], ..Options::default() })?;
    let net = Net::new(name)?;
    let server = net.pod("server")?;
    let _echo = server.serve("[::]:8080".parse()?, &["--mode", "echo"])?;
    let (mut calls, mut clients) = (Vec::new(), Vec::new());
    for (container, shown) in CONTAINERS {
        for unit in ["app.service", "cron.service"] {
            let number = calls.len() + 1;
            // No other lab has a service of this name.
            let unit = format!("{}-{unit}", std::process::id());
            let layout = format!("{container}/system.slice/{unit}");
            let client = net.pod_in(&format!("client-{number}"), &layout)?;
            calls.push((format!("{shown}/{unit}"), call(&client, server.v4.into(), &number.to_string())?));
            clients.push(client);
        }
    }
    server.wait_quiet()?;
    agent.until("each service has its own", |metrics| {
        calls.iter().try_for_each(|(workload, call)| {
            let edge = Edge::labelled(&[("reporter", "source"), ("source_workload", workload)]);
            closed_at_client(metrics, &edge, call)
        })
    })?;
    agent.stop(Signal::TERM)
}

/// Names that the lab's DNS server knows, and the addresses of documentation (RFC 5737, RFC 3849) that they have there.
const NAMES: [(&str, &str); 3] =
    [("only4.lab.test", "192.0.2.4"), ("a.many.test", "192.0.2.77"), ("web.lab.test", "2001:db8::1")];

/// An outside address is named as its client resolved it, from the first connection on; for other clients it stays
/// `external`.
pub(super) fn by_name(name: &str) -> Result<()> {
    let start = |agent: &str, config| {
        Agent::start(name, agent, &Options { config: Some(config), env: &[ROOM], ..Options::default() })
    };
    let shown = start("shown", "dns_names: shown\n")?;
    let hashed = start("hashed", "dns_names: hashed\n")?;
    let none = start("none", "max_external_names: 0\n")?;
    let net = Net::new(name)?;
    let (client, other) = (net.pod("client")?, net.pod("other")?);
    let (server, dns) = (net.pod("server")?, net.pod("dns")?);
    for (pod, addresses) in [
        (&client, &["192.0.2.201/24", "2001:db8::201/64"][..]),
        (&other, &["192.0.2.202/24", "2001:db8::202/64"]),
        (&server, &["192.0.2.4/24", "192.0.2.77/24", "2001:db8::1/64"]),
    ] {
        addresses.iter().try_for_each(|address| pod.also_at(address))?;
    }
    let _dns = Server::start(&dns)?;
    let _echo = server.serve("[::]:8080".parse()?, &["--mode", "echo"])?;
    let resolver = Resolver::new(&client, &[dns.v4.into()], "options timeout:60")?;

    let (mut calls, mut unresolved) = (Vec::new(), Crossed::default());
    for ((asked, address), count) in NAMES.into_iter().zip(["2", "3", "4"]) {
        let address: IpAddr = address.parse()?;
        resolver.resolve_all(&[asked])?;
        calls.push((asked, call(&client, address, count)?));
        unresolved = unresolved.and(call(&other, address, count)?);
    }
    let of = |pod| Edge::of_client(pod, PORT);
    let external = |pod| of(pod).with("destination_workload", EXTERNAL);
    let all = calls.iter().fold(Crossed::default(), |sum, (_, call)| sum.and(*call));
    shown.until("each name has its own connections", |metrics| {
        for (asked, call) in &calls {
            closed_at_client(metrics, &of(&client).with("destination_workload", asked), call)?;
        }
        closed_at_client(metrics, &of(&client), &all)?;
        metrics.expect(OPENED, &external(&client), 0)?;
        closed_at_client(metrics, &external(&other), &unresolved)
    })?;
    none.until("there are no names", |metrics| {
        closed_at_client(metrics, &external(&client), &all)?;
        closed_at_client(metrics, &external(&other), &unresolved)
    })?;
    hashed.until("names cannot be read", |metrics| {
        closed_at_client(metrics, &of(&client), &all)?;
        metrics.expect(OPENED, &external(&client), 0)?;
        closed_at_client(metrics, &external(&other), &unresolved)?;
        let ours =
            metrics.samples.iter().filter(|sample| sample.name == OPENED && of(&client).matches(sample));
        let mut shown: Vec<_> = ours
            .map(|sample| (sample.labels.get("destination_workload").unwrap_or_default(), sample.value))
            .collect();
        ensure!(shown.iter().all(|(name, _)| name.starts_with("h:")), "{shown:?}");
        shown.sort_by(|a, b| a.1.total_cmp(&b.1));
        let counts: Vec<_> = shown.iter().map(|(_, value)| *value).collect();
        ensure!(counts == [2.0, 3.0, 4.0], "{shown:?}");
        Ok(())
    })?;
    let hidden = hashed.get("/metrics", "text/plain;version=0.0.4")?.body;
    ensure!(!hidden.contains("only4.lab.test"), "a name can be read");
    [shown, hashed, none].iter().try_for_each(|agent| agent.stop(Signal::TERM))
}

/// A names file names networks at both ends; after a change, earlier counts keep the old name and later ones get the
/// new name.
pub(super) fn networks(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let (far, server) = (net.pod("far")?, net.pod("server")?);
    for (pod, host) in [(&far, 8), (&server, 1)] {
        pod.also_at(&format!("203.0.113.{host}/24"))?;
        pod.also_at(&format!("198.51.100.{host}/24"))?;
    }
    let files = Files::new(&server, "names")?;
    let file = files.write("names.yaml", "networks:\n  - {cidr: 203.0.113.0/24, name: bank/cards}\n")?;
    let agent = start_with(name, &file)?;
    let _echo = server.serve("[::]:8080".parse()?, &["--mode", "echo"])?;
    let (named, late): (IpAddr, IpAddr) = ("203.0.113.1".parse()?, "198.51.100.1".parse()?);
    let ends = |workload: &str| {
        [
            Edge::of_client(&far, PORT).with("destination_workload", workload),
            Edge::at_server(&server, workload, PORT),
        ]
    };

    let before = call(&far, named, "3")?;
    let unknown = call(&far, late, "2")?;
    // One that is open when the name changes.
    let mut held = far.hold((named, PORT).into(), &["--count", "1"])?;
    held.run_command("echo 1009")?;
    let mut all = before.and(Crossed::each(1, 1009, 1009));
    agent.until("the file's networks are named", |metrics| {
        for (end, namespace) in ends("cards").iter().zip(["destination_namespace", "source_namespace"]) {
            let end = end.with(namespace, "bank");
            metrics.expect(OPENED, &end, all.connections)?;
            metrics.expect_amount(SENT, &end, all.up, all.up)?;
        }
        for end in ends(EXTERNAL) {
            metrics.expect(OPENED, &end, unknown.connections)?;
        }
        Ok(())
    })?;

    let text = "networks:\n  - {cidr: 203.0.113.0/24, name: bank/rates}\n  - {cidr: 198.51.100.0/24, name: bank/news}\n";
    fs::write(&file, text).context("changing the file")?;
    eventually("the new names are there", || {
        all = all.and(call(&far, named, "1")?);
        let metrics = agent.scrape()?;
        ensure!(metrics.on(OPENED, &ends("rates")[0]) > 0.0, "no edge has the new name");
        Ok(())
    })?;
    held.run_command("echo 2003")?;
    let more = call(&far, named, "5")?;
    all = all.and(more);
    let (up, held_up) = (all.up, 2003);
    let late_call = call(&far, late, "4")?;
    held.finish()?;
    agent.until("what was counted stays, and what comes has the new name", |metrics| {
        for [old, new] in [0, 1].map(|end| [ends("cards")[end].clone(), ends("rates")[end].clone()]) {
            let sum = |name| metrics.on(name, &old) + metrics.on(name, &new);
            let listed = || metrics.list(|sample| [&old, &new].iter().any(|edge| edge.matches(sample)));
            ensure!(metrics.on(OPENED, &old) >= float(before.connections + 1), "{}", listed());
            ensure!(metrics.on(OPENED, &new) >= float(more.connections), "{}", listed());
            for (name, count) in [
                (OPENED, all.connections),
                (CLOSED, all.connections),
                (OPEN, 0),
                (SENT, up + held_up),
                (RECEIVED, up + held_up),
            ] {
                ensure!(sum(name) == float(count), "{name} is {}, not {count}:\n{}", sum(name), listed());
            }
        }
        for [old, new] in [0, 1].map(|end| [ends(EXTERNAL)[end].clone(), ends("news")[end].clone()]) {
            metrics.expect(OPENED, &old, unknown.connections)?;
            metrics.expect(OPENED, &new, late_call.connections)?;
        }
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}

/// A names file names cgroups outside Kubernetes; the first matching rule applies, and cgroups without a rule keep
/// their names.
pub(super) fn cgroup_rules(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let (teller, ledger, other) = (net.pod("teller")?, net.pod("ledger")?, net.pod("other")?);
    let files = Files::new(&ledger, "names")?;
    let rules = |teller_name: &str| {
        format!(
            "cgroups:\n  - {{path: {}, namespace: bank, workload: {teller_name}}}\n\
             \x20 - {{path: \"{}*\", workload: ledger}}\n  - {{path: {}, workload: never}}\n",
            teller.workload(),
            ledger.workload(),
            ledger.workload()
        )
    };
    let file = files.write("names.yaml", &rules("teller"))?;
    let agent = start_with(name, &file)?;
    let _echo = ledger.serve(ledger.at(PORT), &["--mode", "echo"])?;
    let edge = |source: &str| {
        // A rule names the cgroup that the server is in.
        let names = vec![ledger.v4.to_string(), "ledger".to_owned()];
        Edge::labelled(&[("reporter", "source"), ("destination_port", "8080")])
            .with("source_workload", source)
            .with_any("destination_workload", names)
    };
    let mut all = call(&teller, ledger.v4.into(), "3")?;
    let unruled = call(&other, ledger.v4.into(), "2")?;
    agent.until("rules name their cgroups and no others", |metrics| {
        closed_at_client(metrics, &edge("teller").with("source_namespace", "bank"), &all)?;
        closed_at_client(metrics, &edge(other.workload()), &unruled)?;
        metrics.expect(OPENED, &edge(teller.workload()), 0)?;
        let server = Edge::labelled(&[("reporter", "destination"), ("destination_port", "8080")])
            .with("destination_workload", "ledger");
        for (client, shown, call) in [(&teller, "teller", &all), (&other, other.workload(), &unruled)] {
            let end = server.with_any("source_workload", vec![client.v4.to_string(), shown.to_owned()]);
            metrics.expect(OPENED, &end, call.connections)?;
        }
        Ok(())
    })?;
    fs::write(&file, rules("clerk")).context("changing the file")?;
    eventually("the new name is there", || {
        all = all.and(call(&teller, ledger.v4.into(), "1")?);
        ensure!(agent.scrape()?.on(OPENED, &edge("clerk")) > 0.0, "no edge has the new name");
        Ok(())
    })?;
    let more = call(&teller, ledger.v4.into(), "5")?;
    all = all.and(more);
    agent.until("nothing is lost between two names", |metrics| {
        let sum = |name| metrics.on(name, &edge("teller")) + metrics.on(name, &edge("clerk"));
        ensure!(metrics.on(OPENED, &edge("teller")) >= 3.0, "the past has the old name");
        ensure!(metrics.on(OPENED, &edge("clerk")) >= float(more.connections), "the present has the new one");
        for (name, count) in
            [(OPENED, all.connections), (CLOSED, all.connections), (SENT, all.up), (RECEIVED, all.down)]
        {
            ensure!(sum(name) == float(count), "{name} is {}, not {count}", sum(name));
        }
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}

fn start_with(name: &str, names_file: &Path) -> Result<Agent> {
    let config = format!("kubernetes: off\nnames_file: {}\n", names_file.display());
    Agent::start(name, "agent", &Options { config: Some(&config), env: &[ROOM], ..Options::default() })
}

/// So many connections with something to and fro, all of which ended well.
fn call(client: &Pod, to: IpAddr, count: &str) -> Result<Crossed> {
    let args = ["--count", count, "--send", "1009", "--receive", "1009"];
    let outcome = client.connect((to, PORT).into(), &args)?;
    ensure!(outcome.count("broken") == 0 && outcome.count("connected") > 0, "{outcome:?}");
    Ok(Crossed::of(&outcome))
}

/// Fails unless the client's end has counted exactly this, and all of it has ended.
fn closed_at_client(metrics: &Metrics, edge: &Edge, crossed: &Crossed) -> Result<()> {
    metrics.expect(OPENED, edge, crossed.connections)?;
    metrics.expect(CLOSED, edge, crossed.connections)?;
    metrics.expect(OPEN, edge, 0)?;
    metrics.expect_amount(SENT, edge, crossed.up, crossed.up)?;
    metrics.expect_amount(RECEIVED, edge, crossed.down, crossed.down)
}
