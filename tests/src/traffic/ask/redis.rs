//! Redis' protocol RESP2: commands are lines here, answers have a kind, and arrays have others inside them.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result, bail};

use super::{Protocol, Stream};

pub(super) struct Redis(pub(super) Stream);

impl Protocol for Redis {
    fn ask(&mut self, request: &str) -> Result<()> {
        self.0.writes.write_all(format!("{request}\r\n").as_bytes()).context("sending a command")
    }

    fn hear(&mut self) -> Result<()> {
        let mut left = 1_u64;
        while left > 0 {
            left -= 1;
            let line = self.0.line()?;
            let (kind, rest) = line.split_at_checked(1).context("an empty line")?;
            match kind {
                "+" | ":" => {}
                // -1 stands for nothing.
                "*" => left += u64::try_from(rest.parse::<i64>().context("a length")?).unwrap_or(0),
                "$" => {
                    if let Ok(length) = rest.parse::<u64>() {
                        let mut text = Vec::new();
                        (&mut self.0.reads).take(length + 2).read_to_end(&mut text)?;
                    }
                }
                _ => bail!("the server says {line}"),
            }
        }
        Ok(())
    }
}
