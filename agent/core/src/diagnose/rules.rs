//! The rules: a file for each family of causes. A rule looks at one edge, or at what the node counts, and names one cause at most.

mod application;
mod connect;
mod dns;
mod listener;
mod loss;
mod node;
mod places;

use super::draft::Draft;
use super::symptoms::Case;

pub use places::Places;

/// What is wrong with an edge, at most one cause of each family.
#[must_use]
pub fn judge(case: &Case<'_>) -> Vec<Draft> {
    let rules = [loss::judge, connect::judge, application::judge, dns::judge];
    rules.into_iter().filter_map(|rule| rule(case)).collect()
}

/// What is wrong with the node and its listening ports.
#[must_use]
pub fn judge_places(places: &Places) -> Vec<Draft> {
    places::judge(places)
}
