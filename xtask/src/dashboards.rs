//! The dashboards in `deploy/grafana`, made from code: one file each, in which a panel is a few lines.
//!
//! `cargo xtask docs` writes them, `cargo xtask tidy` compares what is committed with what is made, and `cargo xtask dashboards`
//! makes pictures of them.

mod agents;
mod dns;
mod edges;
mod incident;
mod nodes;
mod page;
mod panel;
mod query;
mod render;

use std::collections::BTreeMap;

use page::Page;

pub(crate) use render::{Args, command, draw};

/// Where dashboards are.
pub(crate) const DIRECTORY: &str = "deploy/grafana/";

/// All dashboards, by path.
pub(crate) fn made() -> BTreeMap<String, String> {
    [incident::page(), edges::page(), dns::page(), nodes::page(), agents::page()]
        .iter()
        .map(|page| (format!("{DIRECTORY}{}.json", page.uid.trim_start_matches("netcause-")), text(page)))
        .collect()
}

fn text(page: &Page) -> String {
    format!("{:#}\n", page.json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dashboard_has_a_file_of_its_own() {
        let made = made();
        assert_eq!(made.len(), 5);
        for (path, text) in made {
            assert!(text.contains("\"schemaVersion\": 42"), "{path}");
            assert!(!text.contains("@"), "{path}: a place for a label or a filter was not filled in");
        }
    }
}
