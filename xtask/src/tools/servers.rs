//! Servers of the lab that were not written for it: PostgreSQL, Redis, nginx, HAProxy and InfluxDB, out of Debian's packages.
//!
//! They are for a few scenarios only. What cannot be had is announced, and its scenarios are skipped.

use std::path::PathBuf;

use super::{packages::Purpose, unpacked::Unpacked};
use crate::exec;

const ALL: [Unpacked; 5] = [
    // The release of Debian 12, by which its directory is named. It makes and finds its files relative to its programs.
    Unpacked {
        purpose: Purpose::Servers,
        packages: &["postgresql-15"],
        bin: "usr/lib/postgresql/15/bin",
        programs: &["postgres", "initdb"],
        libraries_of: Some("postgresql-15"),
    },
    // The server's package has a link to the program of its tools, which is the server as well.
    Unpacked {
        purpose: Purpose::Servers,
        packages: &["redis-server", "redis-tools"],
        bin: "usr/bin",
        programs: &["redis-server"],
        libraries_of: Some("redis-tools"),
    },
    Unpacked {
        purpose: Purpose::Servers,
        packages: &["nginx"],
        bin: "usr/sbin",
        programs: &["nginx"],
        libraries_of: Some("nginx"),
    },
    Unpacked {
        purpose: Purpose::Servers,
        packages: &["haproxy"],
        bin: "usr/sbin",
        programs: &["haproxy"],
        libraries_of: Some("haproxy"),
    },
    // It needs the C library alone.
    Unpacked {
        purpose: Purpose::Servers,
        packages: &["influxdb"],
        bin: "usr/bin",
        programs: &["influxd"],
        libraries_of: None,
    },
];

/// Gets what is missing; returns the directories to add to the search path.
pub(crate) fn ensure() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for unpacked in &ALL {
        if unpacked.programs.iter().all(|program| exec::on_path(program)) {
            continue;
        }
        match unpacked.ensure() {
            Ok(directory) => directories.push(directory),
            Err(error) => {
                let name = unpacked.programs[0];
                exec::say(format!("the scenarios with {name} are skipped: {error:#}"));
            }
        }
    }
    directories
}
