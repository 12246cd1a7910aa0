//! What the agent finds, asked once a second for all cases.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;

use super::judge::Look;
use crate::lab::{
    agent::Agent,
    findings::{self, Finding},
};

/// Findings over time.
#[derive(Default)]
pub(super) struct Watch(Mutex<Vec<(Instant, Arc<Vec<Finding>>)>>);

impl Watch {
    /// Asks once.
    pub(super) fn look(&self, agent: &Agent) -> Result<()> {
        let active = findings::all(agent)?.into_iter().filter(Finding::is_active).collect();
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.push((Instant::now(), Arc::new(active)));
        // Longer than a case takes.
        looks.retain(|(at, _)| at.elapsed() < Duration::from_secs(600));
        Ok(())
    }

    /// What was found since a time of those with these names.
    pub(super) fn since(&self, began: Instant, names: &[String]) -> Vec<Look> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_case =
            |found: &[Finding]| found.iter().filter(|finding| finding.concerns(names)).cloned().collect();
        looks
            .iter()
            .filter(|(at, _)| *at >= began)
            .map(|(at, found)| Look { at: at.duration_since(began).as_secs_f64(), active: of_case(found) })
            .collect()
    }
}
