//! What the protocols of network namespaces have counted.

use std::io::ErrorKind;
use std::{fs, io};

use netcause_core::node::netstat::{COUNTERS, Counters, Parser};
use netcause_core::node::{Failure, Found, Namespace, Namespaces, Reason};

use super::files::failure;
use super::namespaces::All;

/// Reads the namespace of the agent and those of pods. One of a pod may end meanwhile.
pub(super) fn read(parser: &Parser, all: &Found<All>) -> Found<Namespaces<Counters>> {
    let all = all.as_ref().map_err(Clone::clone)?;
    let own = counters(parser, "self")?;
    let mut namespaces = Namespaces { own, pods: Vec::with_capacity(all.pods.len()), left_out: all.left_out };
    for namespace in &all.pods {
        match counters(parser, namespace.process) {
            Ok(counters) => namespaces.pods.push(Namespace {
                id: namespace.id,
                cgroups: namespace.cgroups.clone(),
                counters,
            }),
            Err(Failure { reason: Reason::Malformed, message }) => {
                return Err(Failure::new(Reason::Malformed, message));
            }
            Err(Failure { reason: Reason::NotPermitted, .. }) => namespaces.left_out += 1,
            // It has ended, or its process has: then the next pass finds another one.
            Err(_) => {}
        }
    }
    Ok(namespaces)
}

fn counters(parser: &Parser, process: impl std::fmt::Display) -> Found<Counters> {
    let mut counters = [0; COUNTERS.len()];
    let read = |file: &str| -> Result<Vec<u8>, (String, io::Error)> {
        let path = format!("/proc/{process}/net/{file}");
        fs::read(&path).map_err(|error| (path, error))
    };
    let failed = |(path, error): (String, io::Error)| failure(path, &error);
    let malformed =
        |malformed: netcause_core::node::Malformed| Failure::new(Reason::Malformed, malformed.to_string());
    for file in ["netstat", "snmp"] {
        parser.pairs_of_lines(&read(file).map_err(failed)?, &mut counters).map_err(malformed)?;
    }
    match read("snmp6") {
        Ok(text) => parser.lines_of_one(&text, &mut counters).map_err(malformed)?,
        // A kernel without IPv6.
        Err((_, error)) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::node::namespaces;

    #[test]
    fn this_kernel_has_the_counters() {
        let own = namespaces::Namespace { id: 1, process: std::process::id(), cgroups: vec![7] };
        let gone = namespaces::Namespace { id: 2, process: u32::MAX, cgroups: vec![8] };
        let all = Ok(All { pods: vec![own, gone], left_out: 3 });
        let read = read(&Parser::default(), &all).unwrap();
        assert_eq!((read.pods.len(), read.left_out, &read.pods[0].cgroups), (1, 3, &vec![7]));
        let text = fs::read_to_string("/proc/self/net/netstat").unwrap();
        assert!(text.contains("ListenOverflows") && text.contains("TCPReqQFullDrop"));
    }
}
