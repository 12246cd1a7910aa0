//! HTTP/1.1 over one connection, answers with a length.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result, ensure};

use super::{Protocol, Stream};

pub(super) struct Http(pub(super) Stream);

impl Protocol for Http {
    fn ask(&mut self, request: &str) -> Result<()> {
        let request = format!("GET {request} HTTP/1.1\r\nHost: lab.test\r\n\r\n");
        self.0.writes.write_all(request.as_bytes()).context("sending a request")
    }

    fn hear(&mut self) -> Result<()> {
        let status = self.0.line()?;
        ensure!(status.contains(" 200 "), "the server says {status}");
        let mut length = 0;
        loop {
            let line = self.0.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().context("a length")?;
            }
        }
        let mut body = vec![0; length];
        self.0.reads.read_exact(&mut body).context("reading an answer")
    }
}
