//! Numbers of a running program that lines of its standard input change: `think_ms=300`.

use std::{
    collections::BTreeMap,
    io::BufRead as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

/// The numbers by their names.
pub(super) struct Knobs(Mutex<BTreeMap<&'static str, f64>>);

impl Knobs {
    /// Numbers and what they are at first.
    pub(super) fn new(all: &[(&'static str, f64)]) -> Self {
        Self(Mutex::new(all.iter().copied().collect()))
    }

    /// A number; 0 where there is none of that name.
    pub(super) fn get(&self, name: &str) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied().unwrap_or_default()
    }

    /// Whether it is set.
    pub(super) fn is(&self, name: &str) -> bool {
        self.get(name) != 0.0
    }

    /// A time that is given in milliseconds.
    pub(super) fn time(&self, name: &str) -> Duration {
        Duration::from_secs_f64(self.get(name) / 1e3)
    }

    fn set(&self, line: &str) -> Result<()> {
        let (name, value) = line.split_once('=').with_context(|| format!("{line}: no value"))?;
        let value: f64 = value.parse().with_context(|| format!("{line}: no number"))?;
        ensure!((0.0..1e12).contains(&value), "{line}: not from 0 to 10^12");
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.get_mut(name).with_context(|| format!("{name}: unknown"))? = value;
        Ok(())
    }

    /// Says that the program runs, and takes lines until standard input closes; `changed` is called after each.
    pub(super) fn follow(&self, changed: impl Fn()) -> Result<()> {
        println!("{}", json!({"ready": true}));
        for (number, line) in (1_u64..).zip(std::io::stdin().lock().lines()) {
            self.set(&line.context("reading a line")?)?;
            changed();
            println!("{}", json!({"done": number}));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_change_numbers_that_exist() {
        let knobs = Knobs::new(&[("think_ms", 0.0), ("run", 1.0)]);
        knobs.set("think_ms=250").unwrap();
        assert_eq!(knobs.time("think_ms"), Duration::from_millis(250));
        assert!(knobs.is("run") && !knobs.is("stall"));
        for wrong in ["think_ms", "think_ms=x", "think_ms=-1", "other=1", "run=inf"] {
            assert!(knobs.set(wrong).is_err(), "{wrong}");
        }
    }
}
