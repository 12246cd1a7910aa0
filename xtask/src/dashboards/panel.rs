//! A panel: what it shows, how, and its place on the page.

use serde_json::{Value, json};

use super::query::named;

/// The unit of the values of a panel or a column, by Grafana's id.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    BytesPerSecond,
    ConnectionsPerSecond,
    Count,
    OperationsPerSecond,
    PacketsPerSecond,
    RequestsPerSecond,
    Seconds,
    /// A share of 1, shown in percent.
    Share,
    Text,
}

impl Unit {
    fn id(self) -> &'static str {
        match self {
            Self::BytesPerSecond => "Bps",
            Self::ConnectionsPerSecond => "cps",
            Self::Count => "short",
            Self::OperationsPerSecond => "ops",
            Self::PacketsPerSecond => "pps",
            Self::RequestsPerSecond => "reqps",
            Self::Seconds => "s",
            Self::Share => "percentunit",
            Self::Text => "string",
        }
    }
}

/// The kind of a panel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Lines,
    Stat,
    Table,
    /// A table with a row for each value of one label and a column for each of another, coloured by value.
    Matrix {
        row: &'static str,
        column: &'static str,
    },
    /// When each of several states lasted.
    Timeline,
    /// Circles and arrows: the queries have `id`, `source`, `target`, `title` and `subtitle` as labels.
    Graph,
}

/// A column of a table: what Grafana calls it, what the page does, and what is special about it.
#[derive(Debug)]
struct Column {
    from: String,
    title: &'static str,
    unit: Unit,
    /// Where it becomes yellow and red.
    limits: Option<(f64, f64)>,
    /// What a click opens: a title, and an address.
    link: Option<(&'static str, String)>,
}

/// A panel.
#[derive(Debug)]
pub(super) struct Panel {
    kind: Kind,
    title: &'static str,
    description: &'static str,
    unit: Unit,
    /// Of 24.
    pub width: u64,
    pub height: u64,
    /// Each with the name of its lines.
    queries: Vec<(String, String)>,
    columns: Vec<Column>,
    sort_by: Option<&'static str>,
    /// Where it becomes yellow and red.
    limits: Option<(f64, f64)>,
}

impl Panel {
    pub(super) fn new(kind: Kind, title: &'static str, unit: Unit, description: &'static str) -> Self {
        let (width, height) = match kind {
            Kind::Lines => (8, 8),
            Kind::Stat => (4, 4),
            Kind::Table | Kind::Matrix { .. } => (24, 10),
            Kind::Timeline => (24, 8),
            Kind::Graph => (24, 14),
        };
        Self {
            kind,
            title,
            description,
            unit,
            width,
            height,
            queries: Vec::new(),
            columns: Vec::new(),
            sort_by: None,
            limits: None,
        }
    }

    /// A panel of lines over time.
    pub(super) fn lines(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Kind::Lines, title, unit, description)
    }

    /// What the recording rules of `deploy/prometheus` have named as the place of loss, and its share.
    pub(super) fn explained(
        title: &'static str,
        description: &'static str,
        labels: &str,
        rules: &str,
    ) -> Self {
        Self::table(title, Unit::Share, description)
            .value("Loss", Unit::Share, named(labels, rules))
            .limits(0.002, 0.01)
            .size(8, 7)
    }

    /// A table of what is now.
    pub(super) fn table(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Kind::Table, title, unit, description)
    }

    pub(super) fn size(mut self, width: u64, height: u64) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// A query, with the name of its lines.
    pub(super) fn query(mut self, name: &str, promql: impl Into<String>) -> Self {
        self.queries.push((name.to_owned(), promql.into()));
        self
    }

    /// A column that shows the value of a query of its own.
    pub(super) fn value(mut self, title: &'static str, unit: Unit, promql: impl Into<String>) -> Self {
        self.queries.push((String::new(), promql.into()));
        let from = format!("Value #{}", letter(self.queries.len() - 1));
        self.columns.push(Column { from, title, unit, limits: None, link: None });
        self
    }

    /// A column that shows a label.
    pub(super) fn label(mut self, label: &str, title: &'static str) -> Self {
        let from = label.to_owned();
        self.columns.push(Column { from, title, unit: Unit::Text, limits: None, link: None });
        self
    }

    /// Where the last column, or in the absence of any the whole panel, becomes yellow and red.
    pub(super) fn limits(mut self, yellow: f64, red: f64) -> Self {
        match self.columns.last_mut() {
            Some(column) => column.limits = Some((yellow, red)),
            None => self.limits = Some((yellow, red)),
        }
        self
    }

    /// What a click on the last column opens.
    pub(super) fn link(mut self, title: &'static str, url: impl Into<String>) -> Self {
        if let Some(column) = self.columns.last_mut() {
            column.link = Some((title, url.into()));
        }
        self
    }

    /// The column that is sorted by, the most first.
    pub(super) fn sorted(mut self, title: &'static str) -> Self {
        self.sort_by = Some(title);
        self
    }

    pub(super) fn json(&self, id: u64, x: u64, y: u64) -> Value {
        let mut defaults = json!({ "unit": self.unit.id(), "custom": self.custom() });
        if matches!(self.kind, Kind::Lines) {
            defaults["min"] = json!(0);
        }
        if let Some(limits) = self.limits {
            defaults["thresholds"] = thresholds(limits);
        }
        let mut panel = json!({
            "id": id,
            "type": self.grafana(),
            "title": self.title,
            "description": self.description,
            "datasource": datasource(),
            "gridPos": { "h": self.height, "w": self.width, "x": x, "y": y },
            "fieldConfig": {
                "defaults": defaults,
                "overrides": self.columns.iter().map(Column::json).collect::<Vec<_>>(),
            },
            "options": self.options(),
            "targets": self.targets(),
        });
        let transformations = self.transformations();
        if !transformations.is_empty() {
            panel["transformations"] = Value::Array(transformations);
        }
        panel
    }

    fn grafana(&self) -> &'static str {
        match self.kind {
            Kind::Lines => "timeseries",
            Kind::Stat => "stat",
            Kind::Table | Kind::Matrix { .. } => "table",
            Kind::Timeline => "state-timeline",
            Kind::Graph => "nodeGraph",
        }
    }

    fn custom(&self) -> Value {
        match self.kind {
            Kind::Lines => {
                json!({ "drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": true })
            }
            Kind::Table => json!({ "filterable": true }),
            Kind::Matrix { .. } => json!({ "cellOptions": { "type": "color-background", "mode": "basic" } }),
            Kind::Timeline => json!({ "fillOpacity": 70, "lineWidth": 0 }),
            Kind::Stat | Kind::Graph => json!({}),
        }
    }

    fn options(&self) -> Value {
        match self.kind {
            Kind::Lines => json!({
                "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
                "tooltip": { "mode": "multi", "sort": "desc" },
            }),
            Kind::Stat => json!({
                "reduceOptions": { "calcs": ["lastNotNull"] },
                "colorMode": if self.limits.is_some() { "value" } else { "none" },
            }),
            Kind::Table | Kind::Matrix { .. } => {
                let sort = self.sort_by.map(|title| json!({ "displayName": title, "desc": true }));
                json!({ "showHeader": true, "cellHeight": "sm", "sortBy": Vec::from_iter(sort) })
            }
            Kind::Timeline => json!({ "mergeValues": true, "showValue": "never", "rowHeight": 0.8 }),
            Kind::Graph => {
                json!({ "nodes": { "mainStatUnit": self.unit.id() }, "edges": { "mainStatUnit": self.unit.id() } })
            }
        }
    }

    fn targets(&self) -> Vec<Value> {
        let at_once = !matches!(self.kind, Kind::Lines | Kind::Stat | Kind::Timeline);
        let target = |(index, (name, promql)): (usize, &(String, String))| {
            let mut target = json!({
                "refId": letter(index),
                "datasource": datasource(),
                "editorMode": "code",
                "expr": promql,
                "range": !at_once,
            });
            if at_once {
                target["instant"] = json!(true);
                target["format"] = json!("table");
            } else {
                target["legendFormat"] = json!(name);
            }
            target
        };
        self.queries.iter().enumerate().map(target).collect()
    }

    fn transformations(&self) -> Vec<Value> {
        match self.kind {
            Kind::Table => {
                // With a single query Grafana calls its value so.
                let one = self.queries.len() == 1;
                let from = |column: &Column| match &*column.from {
                    "Value #A" if one => "Value".to_owned(),
                    from => from.to_owned(),
                };
                let names: serde_json::Map<String, Value> =
                    self.columns.iter().map(|column| (from(column), json!(column.title))).collect();
                let order: serde_json::Map<String, Value> =
                    self.columns.iter().enumerate().map(|(i, column)| (from(column), json!(i))).collect();
                vec![
                    json!({ "id": "merge", "options": {} }),
                    json!({ "id": "organize", "options": {
                        "excludeByName": { "Time": true }, "renameByName": names, "indexByName": order } }),
                ]
            }
            Kind::Matrix { row, column } => vec![json!({ "id": "groupingToMatrix", "options": {
                "rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "null" } })],
            // The graph reads a field of this name, for which a display name will not do: the sum of the only number is one.
            Kind::Graph => vec![json!({ "id": "calculateField", "options": {
                "mode": "reduceRow", "reduce": { "reducer": "sum" }, "alias": "mainstat", "timeSeries": false } })],
            Kind::Lines | Kind::Stat | Kind::Timeline => Vec::new(),
        }
    }
}

impl Column {
    fn json(&self) -> Value {
        let mut properties = vec![json!({ "id": "unit", "value": self.unit.id() })];
        if let Some(limits) = self.limits {
            properties.push(
                json!({ "id": "custom.cellOptions", "value": { "type": "color-background", "mode": "basic" } }),
            );
            properties.push(json!({ "id": "thresholds", "value": thresholds(limits) }));
        }
        if matches!(self.unit, Unit::Share) {
            properties.push(json!({ "id": "decimals", "value": 2 }));
        }
        if let Some((title, url)) = &self.link {
            properties.push(json!({ "id": "links", "value": [{ "title": title, "url": url }] }));
        }
        json!({ "matcher": { "id": "byName", "options": self.title }, "properties": properties })
    }
}

/// The data source that the variable of this name selects.
pub(super) fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn thresholds((yellow, red): (f64, f64)) -> Value {
    json!({ "mode": "absolute", "steps": [
        { "color": "transparent", "value": null },
        { "color": "yellow", "value": yellow },
        { "color": "red", "value": red },
    ] })
}

/// Grafana's name of a query: A for the first.
fn letter(index: usize) -> char {
    u8::try_from(index).map_or('?', |index| char::from(b'A'.saturating_add(index)))
}
