//! A dashboard: its variables, its rows of panels, and its links to the others.

use serde_json::{Value, json};

use super::panel::{Panel, datasource};

/// The format of Grafana 12 and 13.
const SCHEMA: u64 = 42;

/// A variable of a dashboard.
#[derive(Debug)]
pub(super) enum Variable {
    /// Values that a query has in one label, several at once, or all.
    Query { name: &'static str, label: &'static str, description: &'static str, query: String, regex: String },
    /// At which end pairs are seen.
    Reporter,
    /// The one value that a query has in the label of the variable's name; nobody sees it.
    Found { name: &'static str, description: &'static str, query: String },
    /// What somebody types.
    Text { name: &'static str, label: &'static str, description: &'static str, default: &'static str },
}

/// A row of a dashboard.
#[derive(Debug)]
pub(super) struct Row {
    pub title: &'static str,
    pub panels: Vec<Panel>,
}

/// A dashboard.
#[derive(Debug)]
pub(super) struct Page {
    /// Part of its address, and the name of its file.
    pub uid: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub variables: Vec<Variable>,
    pub rows: Vec<Row>,
}

impl Page {
    pub(super) fn json(&self) -> Value {
        let variables: Vec<Value> = [source(), cluster().json()]
            .into_iter()
            .chain(self.variables.iter().map(Variable::json))
            .collect();
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["netcause", "network"],
            "schemaVersion": SCHEMA,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "timezone": "",
            "refresh": "30s",
            "time": { "from": "now-1h", "to": "now" },
            "annotations": { "list": [] },
            "links": [{
                "title": "Netcause", "type": "dashboards", "tags": ["netcause"], "asDropdown": false,
                "includeVars": true, "keepTime": true, "targetBlank": false, "icon": "external link",
            }],
            "templating": { "list": variables },
            "panels": self.panels(),
        })
    }

    /// All panels in one list, from left to right and from top to bottom.
    fn panels(&self) -> Vec<Value> {
        let (mut panels, mut id, mut y) = (Vec::new(), 0, 0);
        for row in &self.rows {
            id += 1;
            panels.push(json!({
                "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
                "gridPos": { "h": 1, "w": 24, "x": 0, "y": y },
            }));
            y += 1;
            let (mut x, mut height) = (0, 0);
            for panel in &row.panels {
                if x + panel.width > 24 {
                    (x, y, height) = (0, y + height, 0);
                }
                id += 1;
                panels.push(panel.json(id, x, y));
                x += panel.width;
                height = height.max(panel.height);
            }
            y += height;
        }
        panels
    }
}

impl Variable {
    /// The values of a label of a series.
    pub(super) fn values(
        name: &'static str,
        title: &'static str,
        description: &'static str,
        (series, label): (&str, &str),
    ) -> Self {
        let query = format!("label_values({series}, {label})");
        Self::Query { name, label: title, description, query, regex: String::new() }
    }

    /// The values that a query answers with in the label that is called as the variable is.
    pub(super) fn results(
        name: &'static str,
        title: &'static str,
        description: &'static str,
        promql: &str,
    ) -> Self {
        let query = format!("query_result({promql})");
        Self::Query { name, label: title, description, query, regex: format!("/{name}=\"([^\"]*)\"/") }
    }

    /// What a query answers with in the label that is called as the variable is, out of sight.
    pub(super) fn found(name: &'static str, description: &'static str, promql: &str) -> Self {
        Self::Found { name, description, query: format!("query_result({promql})") }
    }

    fn json(&self) -> Value {
        match self {
            Self::Query { name, label, description, query, regex } => json!({
                "name": name, "label": label, "description": description, "type": "query",
                "datasource": datasource(),
                "definition": query,
                "query": { "query": query, "refId": format!("variable-{name}") },
                "regex": regex, "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
                "current": { "text": ["All"], "value": ["$__all"] }, "options": [], "hide": 0,
            }),
            Self::Found { name, description, query } => json!({
                "name": name, "label": name, "description": description, "type": "query",
                "datasource": datasource(),
                "definition": query,
                "query": { "query": query, "refId": format!("variable-{name}") },
                "regex": format!("/{name}=\"([^\"]*)\"/"), "refresh": 2, "sort": 0, "multi": false, "includeAll": false,
                "current": {}, "options": [], "hide": 2,
            }),
            Self::Reporter => json!({
                "name": "reporter", "label": "Seen at", "type": "custom",
                "description": "At the clients' ends or the servers'. Every pair is seen at both where both have an agent, so that only one of them is shown.",
                "query": "clients : source, servers : destination",
                "multi": false, "includeAll": false, "hide": 0,
                "options": [
                    { "text": "clients", "value": "source", "selected": true },
                    { "text": "servers", "value": "destination", "selected": false },
                ],
                "current": { "text": "clients", "value": "source" },
            }),
            Self::Text { name, label, description, default } => json!({
                "name": name, "label": label, "description": description, "type": "textbox", "query": default,
                "current": { "text": default, "value": default }, "options": [], "hide": 0,
            }),
        }
    }
}

fn source() -> Value {
    json!({
        "name": "datasource", "label": "Data source", "description": "The Prometheus that scrapes the agents.",
        "type": "datasource", "query": "prometheus", "refresh": 1, "multi": false, "includeAll": false,
        "options": [], "hide": 0, "current": {},
    })
}

fn cluster() -> Variable {
    Variable::values(
        "cluster",
        "Cluster",
        "The label cluster of the scrape, where there is one: “All” selects series without it, too.",
        ("netcause_build_info", "cluster"),
    )
}
