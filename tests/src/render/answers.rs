//! What the queries of a dashboard are answered with, after its variables were filled in.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

use crate::lab::promql::Api;

/// What whoever looks at a dashboard has chosen.
pub(crate) struct Choice {
    /// Values of variables, as regular expressions where the dashboard allows several; those that are not here are all, or their default.
    pub(crate) variables: BTreeMap<String, String>,
    /// What Grafana would put for `$__rate_interval`.
    pub(crate) rate_interval: String,
    /// The seconds that are shown, and the end of them in seconds since 1970.
    pub(crate) seconds: f64,
    pub(crate) until: f64,
    /// What all names of the lab begin with, which nobody needs to see.
    pub(crate) prefix: String,
}

/// A dashboard without variables in its queries.
pub(super) struct Filled {
    pub(super) dashboard: Value,
    /// What they were.
    pub(super) variables: BTreeMap<String, String>,
}

/// The answers to all queries of a dashboard: by the number of the panel, in the order of its queries.
pub(super) type Answers = BTreeMap<u64, Vec<Vec<Value>>>;

/// How long Prometheus took for a query.
pub(crate) struct Took {
    pub(crate) seconds: f64,
    /// The panel.
    pub(crate) title: String,
    /// At one time, and not at [`POINTS`].
    pub(crate) is_instant: bool,
}

/// Points in time of a line.
const POINTS: f64 = 240.0;

impl Choice {
    /// Seconds between two points.
    pub(super) fn step(&self) -> f64 {
        (self.seconds / POINTS).ceil().max(1.0)
    }

    /// Fills in the variables of all queries.
    pub(super) fn fill_in(&self, api: Api, dashboard: &Value) -> Result<Filled> {
        let mut variables = BTreeMap::new();
        let list = dashboard.pointer("/templating/list").and_then(Value::as_array);
        for variable in list.context("a dashboard without variables")? {
            let name = text(variable, "name");
            let value = match self.variables.get(name) {
                Some(given) => given.clone(),
                None => self.value_of(api, variable, &variables)?,
            };
            variables.insert(name.to_owned(), value);
        }
        let mut dashboard = dashboard.clone();
        let panels = dashboard.get_mut("panels").and_then(Value::as_array_mut);
        for panel in panels.context("a dashboard without panels")? {
            let targets = panel.get_mut("targets").and_then(Value::as_array_mut);
            for target in targets.into_iter().flatten() {
                let query = self.filled(text(target, "expr"), &variables);
                // Of label_replace.
                ensure!(!query.replace("\"$1\"", "").contains('$'), "an unknown variable: {query}");
                target["expr"] = json!(query);
            }
        }
        Ok(Filled { dashboard, variables })
    }

    /// The value that a variable has when the dashboard is opened.
    fn value_of(&self, api: Api, variable: &Value, others: &BTreeMap<String, String>) -> Result<String> {
        if variable.get("includeAll").is_some_and(|all| all == true) {
            return Ok(text(variable, "allValue").to_owned());
        }
        let query = variable.pointer("/query/query").and_then(Value::as_str);
        let Some(query) = query.filter(|_| text(variable, "type") == "query") else {
            let default = variable.pointer("/current/value").and_then(Value::as_str);
            return Ok(default.unwrap_or_default().to_owned());
        };
        let promql = query.strip_prefix("query_result(").and_then(|rest| rest.strip_suffix(')'));
        let promql = promql.with_context(|| format!("cannot ask for {query}"))?;
        let (promql, until) = (self.filled(promql, others), self.until.to_string());
        let series = api.results("query", &[("query", &promql), ("time", &until)])?;
        let name = text(variable, "name");
        let first = series.first().with_context(|| format!("no value for the variable {name}"))?;
        Ok(text(&first["metric"], name).to_owned())
    }

    fn filled(&self, query: &str, variables: &BTreeMap<String, String>) -> String {
        let query = query.replace("$__rate_interval", &self.rate_interval);
        variables.iter().rev().fold(query, |query, (name, value)| {
            query.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
        })
    }
}

/// Puts all queries of a dashboard.
pub(super) fn ask(api: Api, filled: &Filled, choice: &Choice) -> Result<(Answers, Vec<Took>)> {
    let now = choice.until;
    let (from, to, step) = ((now - choice.seconds).to_string(), now.to_string(), choice.step().to_string());
    let (mut answers, mut took) = (Answers::new(), Vec::new());
    for panel in panels(&filled.dashboard) {
        let mut of_panel = Vec::new();
        for target in targets(panel) {
            let (query, began) = (text(target, "expr"), Instant::now());
            let answer = match target.get("instant") {
                Some(_) => api.results("query", &[("query", query), ("time", &to)]),
                None => api.results(
                    "query_range",
                    &[("query", query), ("start", &from), ("end", &to), ("step", &step)],
                ),
            };
            let answer = answer.with_context(|| format!("the panel {}", text(panel, "title")))?;
            took.push(Took {
                seconds: began.elapsed().as_secs_f64(),
                title: text(panel, "title").to_owned(),
                is_instant: target.get("instant").is_some(),
            });
            of_panel.push(answer.into_iter().map(|series| numbers(series, &choice.prefix)).collect());
        }
        answers
            .insert(panel.get("id").and_then(Value::as_u64).context("a panel without a number")?, of_panel);
    }
    Ok((answers, took))
}

/// The panels of a dashboard that show something.
pub(super) fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let list = dashboard.get("panels").and_then(Value::as_array);
    list.into_iter().flatten().filter(|panel| text(panel, "type") != "row")
}

/// The queries of a panel.
pub(super) fn targets(panel: &Value) -> impl Iterator<Item = &Value> {
    panel.get("targets").and_then(Value::as_array).into_iter().flatten()
}

/// A field that is text.
pub(super) fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A series with numbers in the place of their text; JSON has none for those that are not finite.
fn numbers(mut series: Value, prefix: &str) -> Value {
    let number = |value: &Value| json!(value.as_str().and_then(|text| text.parse::<f64>().ok()));
    let sample = |sample: &Value| json!([sample[0], number(&sample[1])]);
    let mut made = Map::new();
    let mut labels = series["metric"].take();
    for label in labels.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(text) = label.as_str().filter(|_| !prefix.is_empty()) {
            *label = json!(text.replace(prefix, ""));
        }
    }
    made.insert("metric".to_owned(), labels);
    match series.get("values").and_then(Value::as_array) {
        Some(values) => made.insert("values".to_owned(), values.iter().map(sample).collect()),
        None => made.insert("value".to_owned(), number(&series["value"][1])),
    };
    Value::Object(made)
}
