//! nginx.

use std::fmt::Write as _;

use anyhow::Result;

use super::until_it_accepts;
use crate::lab::{files::Files, process::Process, topology::Pod};

/// A running server; killed when dropped.
pub(crate) struct Nginx {
    _process: Process,
    _files: Files,
}

impl Nginx {
    pub(crate) const PORT: u16 = 8080;

    /// Starts one and waits until it serves. It answers at once to `/`; to the paths given, it answers so many requests a minute,
    /// the first at once, and lets others wait (`limit_req`).
    pub(crate) fn start(pod: &Pod, limited: &[(&str, u32)]) -> Result<Self> {
        let files = Files::new(pod, "nginx")?;
        files.write("page", "hello\n")?;
        let directory = files.path().display();
        let (mut zones, mut locations) = (String::new(), String::new());
        for (name, rate) in limited {
            // Writing to a string cannot fail. A `return` would come before the limit.
            let _ = writeln!(zones, "limit_req_zone $server_name zone={name}:64k rate={rate}r/m;");
            let _ = writeln!(
                locations,
                "location = /{name} {{ limit_req zone={name} burst=9; alias {directory}/page; }}"
            );
        }
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {directory}/{what};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\nuser root;\npid {directory}/pid;\nerror_log stderr;\n\
             events {{}}\nhttp {{\naccess_log off;\n{temporary}{zones}server {{\nlisten {}:{};\nserver_name lab.test;\n\
             location = / {{ alias {directory}/page; }}\n{locations}}}\n}}\n",
            pod.v4,
            Self::PORT
        );
        let config = files.write("nginx.conf", &config)?;
        let mut command = pod.command("nginx")?;
        command.args(["-e", "stderr", "-c"]).arg(config);
        let process = Process::spawn("nginx", &mut command)?;
        until_it_accepts(&process, pod, pod.at(Self::PORT))?;
        Ok(Self { _process: process, _files: files })
    }
}
