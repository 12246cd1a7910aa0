//! What is wrong with a panel whoever looks at it, by its place and its data.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::answers::{Answers, Filled, panels, targets, text};

/// Lines of a panel that somebody can tell apart. The ten largest at each moment are more over an hour.
const MOST_LINES: usize = 30;
/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;
/// Pixels of a row of the grid, and of what is above it.
const ROW: u64 = 38;
const HEADER: u64 = 60;

/// The height of a dashboard in pixels.
pub(super) fn height(dashboard: &Value) -> u64 {
    let bottom = |panel: &Value| place(panel).map_or(0, |[_, y, _, height]| y + height);
    let list = dashboard.get("panels").and_then(Value::as_array);
    list.into_iter().flatten().map(bottom).max().unwrap_or(0) * ROW + HEADER
}

/// The place of a panel: from the left, from the top, its width and its height.
fn place(panel: &Value) -> Option<[u64; 4]> {
    let place = panel.get("gridPos")?;
    let part = |name| place.get(name).and_then(Value::as_u64);
    Some([part("x")?, part("y")?, part("w")?, part("h")?])
}

/// Panels that are beyond the edge, or lie on others.
pub(super) fn grid(dashboard: &Value) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut taken = BTreeSet::new();
    for panel in dashboard.get("panels").and_then(Value::as_array).context("no panels")? {
        let title = text(panel, "title");
        let [left, top, width, height] = place(panel).with_context(|| format!("{title} has no place"))?;
        if left + width > COLUMNS || width == 0 || height == 0 {
            wrong.push(format!("{title}: {width} wide at {left}, {height} high"));
        }
        let cells = (left..left + width).flat_map(|x| (top..top + height).map(move |y| (x, y)));
        let new = cells.filter(|cell| taken.insert(*cell)).count();
        if (new as u64) < width * height {
            wrong.push(format!("{title}: lies on another panel"));
        }
    }
    Ok(wrong)
}

/// What is wrong with the panels, one a line.
pub(super) fn panels_of(filled: &Filled, answers: &Answers) -> Vec<String> {
    let mut wrong = Vec::new();
    for panel in panels(&filled.dashboard) {
        let title = text(panel, "title");
        let id = panel.get("id").and_then(Value::as_u64).unwrap_or_default();
        let of_panel = answers.get(&id).map_or(&[][..], Vec::as_slice);
        let mut problems = described(panel);
        problems.extend(data(panel, of_panel));
        wrong.extend(problems.into_iter().map(|problem| format!("{title}: {problem}")));
    }
    wrong
}

/// What every panel has.
fn described(panel: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if text(panel, "title").is_empty() || text(panel, "description").is_empty() {
        wrong.push("without a title or a description".to_owned());
    }
    if panel.pointer("/fieldConfig/defaults/unit").and_then(Value::as_str).is_none() {
        wrong.push("without a unit".to_owned());
    }
    wrong
}

fn data(panel: &Value, answers: &[Vec<Value>]) -> Vec<String> {
    let mut wrong = Vec::new();
    let all: Vec<&Value> = answers.iter().flatten().collect();
    if all.is_empty() && panel.pointer("/fieldConfig/defaults/noValue").is_none() {
        wrong.push("no data, and nothing that says what this means".to_owned());
    }
    if text(panel, "type") == "table" {
        wrong.extend(table(panel, answers));
        return wrong;
    }
    if text(panel, "type") == "nodeGraph" {
        return wrong;
    }
    if text(panel, "type") == "timeseries" && all.len() > MOST_LINES {
        wrong.push(format!("{} lines", all.len()));
    }
    let unit = panel.pointer("/fieldConfig/defaults/unit").and_then(Value::as_str).unwrap_or_default();
    let mut names = BTreeSet::new();
    for (target, series) in
        targets(panel).zip(answers).flat_map(|(target, all)| all.iter().map(move |one| (target, one)))
    {
        let name = named(text(target, "legendFormat"), &series["metric"]);
        wrong.extend(name_of_line(&name));
        if !names.insert(name.clone()) {
            wrong.push(format!("two lines are called “{name}”"));
        }
        let values = series.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let values: Vec<f64> = values.iter().filter_map(|sample| sample.get(1)?.as_f64()).collect();
        if values.is_empty() {
            wrong.push(format!("no number in “{name}”"));
        }
        wrong.extend(
            values.iter().find_map(|value| absurd(*value, unit)).map(|what| format!("“{name}”: {what}")),
        );
    }
    wrong
}

/// A table whose columns have no title of ours, no number, or an absurd one.
fn table(panel: &Value, answers: &[Vec<Value>]) -> Vec<String> {
    let mut wrong = Vec::new();
    let organized = panel.pointer("/transformations/1/options/renameByName");
    let ids: Vec<&str> = targets(panel).map(|target| text(target, "refId")).collect();
    let unit = |index: usize| -> &str {
        let overrides = panel.pointer("/fieldConfig/overrides").and_then(Value::as_array);
        let field = match ids[..] {
            [_] => "Value".to_owned(),
            _ => format!("Value #{}", ids.get(index).unwrap_or(&"")),
        };
        let title = organized.and_then(|names| names.get(&field)).and_then(Value::as_str);
        let is_it = |one: &&Value| one.pointer("/matcher/options").and_then(Value::as_str) == title;
        let property = overrides.into_iter().flatten().find(is_it);
        let property = property.and_then(|one| one.pointer("/properties/0/value")).and_then(Value::as_str);
        property
            .or_else(|| panel.pointer("/fieldConfig/defaults/unit").and_then(Value::as_str))
            .unwrap_or_default()
    };
    let mut fields = BTreeSet::new();
    for (index, rows) in answers.iter().enumerate() {
        for row in rows {
            fields.extend(row["metric"].as_object().into_iter().flat_map(|labels| labels.keys().cloned()));
            match row["value"].as_f64() {
                Some(value) => wrong
                    .extend(absurd(value, unit(index)).map(|what| format!("{what} in {}", row["metric"]))),
                None => wrong.push(format!("no number in {}", row["metric"])),
            }
        }
    }
    if let Some(names) = organized {
        let unnamed = fields.iter().filter(|field| names.get(field).is_none());
        wrong.extend(unnamed.map(|field| format!("the column {field} has no title")));
    }
    wrong
}

/// The name of a line: its labels in the place of their names. One that it does not have is nothing.
fn named(legend: &str, labels: &Value) -> String {
    let mut name = String::new();
    let mut rest = legend;
    while let Some((before, after)) = rest.split_once("{{") {
        let (label, after) = after.split_once("}}").unwrap_or((after, ""));
        name.push_str(before);
        name.push_str(text(labels, label.trim()));
        rest = after;
    }
    name.push_str(rest);
    name
}

/// A name that lacks what belongs on one side of an arrow or behind a colon.
fn name_of_line(name: &str) -> Option<String> {
    let squeezed = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let lacks = squeezed.is_empty()
        || squeezed.starts_with(['→', ':'])
        || squeezed.ends_with(['→', ':'])
        || [": →", "→ :"].iter().any(|gap| squeezed.contains(gap));
    lacks.then(|| format!("the name “{name}” lacks a part"))
}

/// A value that cannot be: negative, or larger than anything with this unit.
fn absurd(value: f64, unit: &str) -> Option<String> {
    let most = match unit {
        // Five CPUs that all wait; shares of what is counted at different moments may be a little above 1.
        "percentunit" => 5.0,
        // A week.
        "s" => 604_800.0,
        "Bps" => 1e12,
        "cps" | "ops" | "pps" | "reqps" => 1e9,
        "short" | "none" | "bytes" => 1e15,
        _ => return Some(format!("{value} with the unit “{unit}”")),
    };
    (!(0.0..=most).contains(&value)).then(|| format!("{value} with the unit {unit}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn panels_on_each_other_are_found() {
        let panel =
            |x: u64, y: u64, w: u64| json!({ "title": x, "gridPos": { "x": x, "y": y, "w": w, "h": 2 } });
        let of = |panels: &[Value]| grid(&json!({ "panels": panels })).unwrap().len();
        assert_eq!(of(&[panel(0, 0, 12), panel(12, 0, 12), panel(0, 2, 24)]), 0);
        assert_eq!(of(&[panel(0, 0, 12), panel(11, 1, 12)]), 1);
        assert_eq!(of(&[panel(12, 0, 13)]), 1);
    }

    #[test]
    fn names_without_a_part_are_found() {
        let labels = json!({ "a": "web", "port": "80" });
        assert_eq!(named("{{a}} → {{ b }}:{{port}}", &labels), "web → :80");
        assert!(name_of_line("web → :80").is_some() && name_of_line("web →").is_some());
        assert!(name_of_line("").is_some() && name_of_line("web → db:80").is_none());
    }

    #[test]
    fn absurd_values_are_found() {
        for (value, unit) in
            [(-0.1, "pps"), (1e12, "s"), (f64::NAN, "short"), (7.0, "percentunit"), (1.0, "ms")]
        {
            assert!(absurd(value, unit).is_some(), "{value} {unit}");
        }
        assert!(absurd(0.0, "s").is_none() && absurd(1.001, "percentunit").is_none());
    }

    #[test]
    fn lines_without_numbers_and_with_one_name_are_found() {
        let panel = json!({ "type": "timeseries", "title": "t", "description": "d", "fieldConfig": { "defaults": { "unit": "pps" } },
            "targets": [{ "legendFormat": "{{a}}" }] });
        let line = |a: &str, value: Value| json!({ "metric": { "a": a }, "values": [[1, value]] });
        let of = |lines: Vec<Value>| data(&panel, &[lines]);
        assert_eq!(of(vec![line("x", json!(1)), line("y", json!(0))]), Vec::<String>::new());
        assert_eq!(of(vec![]), ["no data, and nothing that says what this means"]);
        assert_eq!(of(vec![line("x", Value::Null)]), ["no number in “x”"]);
        assert_eq!(of(vec![line("x", json!(1)), line("x", json!(1))]), ["two lines are called “x”"]);
        assert_eq!(of(vec![line("x", json!(-1))]), ["“x”: -1 with the unit pps"]);
    }
}
