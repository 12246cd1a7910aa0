//! A panel in the form that Grafana reads.

use serde_json::{Value, json};

use super::{Column, Kind, Panel, Unit, datasource, letter};

/// A gap of this many milliseconds in a line is a gap; a shorter one is a scrape that failed.
const GAP: u64 = 150_000;

impl Panel {
    pub(in super::super) fn json(&self, id: u64, x: u64, y: u64) -> Value {
        let mut defaults = json!({ "unit": self.unit.id(), "custom": self.custom() });
        if matches!(self.kind, Kind::Lines) {
            defaults["min"] = json!(0);
        }
        if let Some(limits) = self.limits {
            // A number without a colour could not be seen.
            defaults["thresholds"] =
                thresholds(if self.kind == Kind::Stat { "green" } else { "transparent" }, limits);
        }
        if self.kind == Kind::Timeline {
            defaults["thresholds"] = json!({ "mode": "absolute", "steps": [
                { "color": "transparent", "value": null }, { "color": "red", "value": 1 }] });
        }
        if let Some(nothing) = self.nothing {
            defaults["noValue"] = json!(nothing);
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
                "overrides": self.overrides(),
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

    fn overrides(&self) -> Vec<Value> {
        match self.kind {
            // An empty cell is empty, and does not say what a table without rows means. The second is what Grafana calls the column
            // with the names of rows.
            Kind::Matrix { row, column } => vec![
                json!({
                    "matcher": { "id": "byRegexp", "options": "/.*/" },
                    "properties": [{ "id": "noValue", "value": "" }, { "id": "decimals", "value": 2 }],
                }),
                json!({
                    "matcher": { "id": "byName", "options": format!("{row}\\{column}") },
                    "properties": [{ "id": "custom.width", "value": 200 }],
                }),
            ],
            _ => self.columns.iter().map(Column::json).collect(),
        }
    }

    fn custom(&self) -> Value {
        match self.kind {
            Kind::Lines => {
                let mut custom = json!({
                    "drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "spanNulls": GAP });
                if let Some((_, red)) = self.limits {
                    custom["thresholdsStyle"] = json!({ "mode": "dashed" });
                    // A few percent of a limit should look like little.
                    custom["axisSoftMax"] = json!(red);
                }
                custom
            }
            Kind::Table => json!({ "filterable": true }),
            Kind::Matrix { .. } => {
                json!({ "width": 92, "cellOptions": { "type": "color-background", "mode": "basic" } })
            }
            Kind::Timeline => json!({ "fillOpacity": 70, "lineWidth": 0 }),
            Kind::Stat | Kind::Graph => json!({}),
        }
    }

    fn options(&self) -> Value {
        match self.kind {
            Kind::Lines => json!({
                "legend": { "displayMode": "list", "placement": if self.long_names { "right" } else { "bottom" }, "showLegend": true },
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
            // By name, or a bad row and a bad column would be cells here and there: the answer is sorted by value, and columns and rows come
            // as they appear. Of the names of nodes the first part: the rest is the same for all, as a rule.
            Kind::Matrix { row, column } => vec![
                sorted_by(column),
                json!({ "id": "groupingToMatrix", "options": {
                    "rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "null" } }),
                sorted_by(&format!("{row}\\{column}")),
                json!({ "id": "renameByRegex", "options": { "regex": "^([^.]+)\\..*$", "renamePattern": "$1" } }),
            ],
            // The graph reads a field of this name, for which a display name will not do: the sum of the only number is one.
            Kind::Graph => vec![json!({ "id": "calculateField", "options": {
                "mode": "reduceRow", "reduce": { "reducer": "sum" }, "alias": "mainstat", "timeSeries": false } })],
            Kind::Lines | Kind::Stat | Kind::Timeline => Vec::new(),
        }
    }
}

fn sorted_by(field: &str) -> Value {
    json!({ "id": "sortBy", "options": { "fields": {}, "sort": [{ "field": field }] } })
}

impl Column {
    fn json(&self) -> Value {
        let mut properties =
            vec![json!({ "id": "unit", "value": self.unit.id() }), json!({ "id": "noValue", "value": "" })];
        if let Some(limits) = self.limits {
            properties.push(
                json!({ "id": "custom.cellOptions", "value": { "type": "color-background", "mode": "basic" } }),
            );
            properties.push(json!({ "id": "thresholds", "value": thresholds("transparent", limits) }));
        }
        if let Some([no, yes]) = self.words {
            let words = json!({ "0": { "text": no, "color": "red" }, "1": { "text": yes, "color": "text" } });
            properties.push(json!({ "id": "mappings", "value": [{ "type": "value", "options": words }] }));
            properties.push(json!({ "id": "custom.cellOptions", "value": { "type": "color-text" } }));
        }
        if let Some(width) = self.width {
            properties.push(json!({ "id": "custom.width", "value": width }));
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

/// Steps of colours: this one, yellow, red.
fn thresholds(first: &str, (yellow, red): (f64, f64)) -> Value {
    json!({ "mode": "absolute", "steps": [
        { "color": first, "value": null },
        { "color": "yellow", "value": yellow },
        { "color": "red", "value": red },
    ] })
}
