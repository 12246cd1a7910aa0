//! What a path does to frames, and the lines that say so.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};

/// What happens to the frames of one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Treatment {
    /// Shares of frames, from 0 to 1.
    pub(super) lose: f64,
    pub(super) duplicate: f64,
    pub(super) corrupt: f64,
    /// These are held back so long that those behind them overtake them.
    pub(super) reorder: f64,
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    /// Longer IP packets vanish.
    pub(super) mtu: usize,
    /// Bytes per second; a queue forms before it.
    pub(super) rate: f64,
    /// Bytes that fit into that queue.
    pub(super) queue: f64,
    /// Frames from or to another address pass as if there were no treatment.
    pub(super) only: Option<IpAddr>,
    /// TCP segments and datagrams to and from this port vanish.
    pub(super) drop_port: Option<u16>,
    /// TCP segments alone.
    pub(super) drop_tcp_port: Option<u16>,
    /// Connections of TCP that were idle for so long are forgotten: what comes of them vanishes.
    pub(super) forget: Duration,
}

impl Default for Treatment {
    fn default() -> Self {
        Self {
            lose: 0.0,
            duplicate: 0.0,
            corrupt: 0.0,
            reorder: 0.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            mtu: usize::MAX,
            rate: f64::INFINITY,
            queue: f64::INFINITY,
            only: None,
            drop_port: None,
            drop_tcp_port: None,
            forget: Duration::MAX,
        }
    }
}

impl Treatment {
    /// From words such as `lose=0.05 delay_ms=30`.
    fn parse(words: &[&str]) -> Result<Self> {
        let mut treatment = Self::default();
        for word in words {
            let (key, value) = word.split_once('=').with_context(|| format!("{word}: no value"))?;
            if key == "only" {
                treatment.only = Some(value.parse().with_context(|| format!("{word}: no address"))?);
                continue;
            }
            let number: f64 = value.parse().with_context(|| format!("{word}: no number"))?;
            ensure!(number >= 0.0, "{word}: below zero");
            let time = Duration::from_secs_f64(number / 1e3);
            match key {
                "lose" => treatment.lose = number,
                "duplicate" => treatment.duplicate = number,
                "corrupt" => treatment.corrupt = number,
                "reorder" => treatment.reorder = number,
                "delay_ms" => treatment.delay = time,
                "jitter_ms" => treatment.jitter = time,
                "mtu" => treatment.mtu = value.parse().with_context(|| format!("{word}: no whole number"))?,
                "rate" => treatment.rate = number,
                "queue" => treatment.queue = number,
                "drop_port" => {
                    treatment.drop_port = Some(value.parse().with_context(|| format!("{word}: no port"))?);
                }
                "drop_tcp_port" => {
                    treatment.drop_tcp_port =
                        Some(value.parse().with_context(|| format!("{word}: no port"))?);
                }
                "forget_ms" => treatment.forget = time,
                _ => bail!("{word}: unknown"),
            }
        }
        Ok(treatment)
    }
}

/// A line: which directions, and what happens to them.
pub(super) fn parse(line: &str) -> Result<[Option<Treatment>; 2]> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (direction, rest) = words.split_first().context("an empty line")?;
    let treatment = Treatment::parse(rest)?;
    match *direction {
        "forward" => Ok([Some(treatment), None]),
        "back" => Ok([None, Some(treatment)]),
        "both" => Ok([Some(treatment); 2]),
        other => bail!("{other}: forward, back or both"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_happens_to_which_direction() {
        let [forward, back] = parse("forward lose=0.05 delay_ms=30 mtu=1400").unwrap();
        let forward = forward.unwrap();
        assert_eq!((forward.lose, forward.delay, forward.mtu), (0.05, Duration::from_millis(30), 1400));
        assert_eq!(back, None);
        let [_, back] = parse("back only=10.77.3.102 drop_port=8080 forget_ms=5000").unwrap();
        let back = back.unwrap();
        assert_eq!((back.drop_port, back.forget), (Some(8080), Duration::from_secs(5)));
        assert_eq!(back.only, Some(IpAddr::from([10, 77, 3, 102])));
        assert_eq!(parse("both").unwrap(), [Some(Treatment::default()); 2]);
        for wrong in [
            "",
            "up",
            "both lose",
            "both lose=x",
            "both lose=-1",
            "both loose=1",
            "both only=x",
            "both drop_port=0.5",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
