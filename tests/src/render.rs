//! Draws the dashboards from the answers of a real Prometheus, because no Grafana can be had where the tests run: a page of HTML each,
//! and a picture of it by a real browser where there is one.
//!
//! `page/` draws what Grafana's panels would, with its sizes, units, legends, thresholds and transformations. What is wrong with a panel whoever
//! looks at it is found without eyes: what has no data or absurd data in the answers (`judge`), what does not fit in the browser.

mod answers;
mod browser;
mod judge;

use std::{
    collections::BTreeMap,
    fs,
    net::ToSocketAddrs as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::lab::promql::Api;

pub(crate) use answers::{Choice, Took};

/// The dashboards, by the names of their files.
pub(crate) const DASHBOARDS: [(&str, &str); 5] = [
    ("incident", include_str!("../../deploy/grafana/incident.json")),
    ("edges", include_str!("../../deploy/grafana/edges.json")),
    ("dns", include_str!("../../deploy/grafana/dns.json")),
    ("nodes", include_str!("../../deploy/grafana/nodes.json")),
    ("agents", include_str!("../../deploy/grafana/agents.json")),
];

const HTML: &str = include_str!("render/page/page.html");
const STYLE: &str = include_str!("render/page/page.css");
const SCRIPTS: [&str; 5] = [
    include_str!("render/page/units.js"),
    include_str!("render/page/lines.js"),
    include_str!("render/page/tables.js"),
    include_str!("render/page/graph.js"),
    include_str!("render/page/page.js"),
];

/// `netcause-lab render`
#[derive(Args)]
pub(crate) struct Render {
    /// A Prometheus that scrapes agents, without TLS and password
    #[arg(long, value_name = "HOST:PORT")]
    prometheus: String,
    /// Where pages and pictures go
    #[arg(long, value_name = "DIRECTORY")]
    to: PathBuf,
    /// How far back
    #[arg(long, value_name = "MINUTES", default_value_t = 60.0)]
    minutes: f64,
    /// How long ago the end of that is
    #[arg(long, value_name = "MINUTES", default_value_t = 0.0)]
    ago: f64,
    /// What a variable of the dashboards is, where it is not all or its default (repeat for more)
    #[arg(long = "variable", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// The time of rates, four times the interval of scrapes
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    rate_interval: String,
}

impl Render {
    pub(crate) fn run(self) -> Result<()> {
        let at = self.prometheus.to_socket_addrs().with_context(|| format!("finding {}", self.prometheus))?;
        let at = at.into_iter().next().with_context(|| format!("{} has no address", self.prometheus))?;
        let mut variables = BTreeMap::new();
        for given in &self.variables {
            let Some((name, value)) = given.split_once('=') else { bail!("{given} is not NAME=VALUE") };
            variables.insert(name.to_owned(), value.to_owned());
        }
        let choice = Choice {
            variables,
            rate_interval: self.rate_interval,
            seconds: (self.minutes * 60.0).max(60.0),
            until: now()? - self.ago * 60.0,
            prefix: String::new(),
        };
        let drawn =
            all(Api { at }, &choice, &self.to).with_context(|| format!("asking Prometheus at {at}"))?;
        drawn.problems.iter().for_each(|problem| println!("{problem}"));
        println!("{}", drawn.summary);
        drawn.print_slowest();
        Ok(())
    }
}

/// Queries that are printed of the slowest.
const SLOWEST: usize = 12;

/// What came of drawing the dashboards.
pub(crate) struct Drawn {
    /// What is wrong, one panel a line.
    pub(crate) problems: Vec<String>,
    /// Where the pictures are, or why there are none.
    pub(crate) summary: String,
    /// How long each query took, by dashboard.
    pub(crate) took: Vec<(&'static str, Took)>,
}

impl Drawn {
    fn print_slowest(mut self) {
        self.took.sort_by(|(_, a), (_, b)| b.seconds.total_cmp(&a.seconds));
        let all: f64 = self.took.iter().map(|(_, took)| took.seconds).sum();
        println!("{} queries took {all:.1} s; the slowest:", self.took.len());
        for (dashboard, Took { seconds, title, is_instant }) in self.took.iter().take(SLOWEST) {
            let what = if *is_instant { "at one time" } else { "a line" };
            println!("{seconds:9.3} s  {dashboard}: {title}, {what}");
        }
    }
}

/// Draws all dashboards into a directory.
pub(crate) fn all(api: Api, choice: &Choice, to: &Path) -> Result<Drawn> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    let browser = browser::find();
    let (mut problems, mut took) = (Vec::new(), Vec::new());
    for (name, json) in DASHBOARDS {
        let dashboard: Value = serde_json::from_str(json).with_context(|| format!("reading {name}.json"))?;
        let filled = choice.fill_in(api, &dashboard)?;
        let (asked, of_dashboard) = answers::ask(api, &filled, choice)?;
        took.extend(of_dashboard.into_iter().map(|took| (name, took)));
        let mut wrong = judge::grid(&dashboard)?;
        wrong.extend(judge::panels_of(&filled, &asked));
        let page = json!({
            "dashboard": filled.dashboard, "answers": asked, "variables": filled.variables,
            "range": { "from": choice.until - choice.seconds, "to": choice.until, "step": choice.step() },
        });
        let file = to.join(format!("{name}.html"));
        fs::write(&file, html(&page)).with_context(|| format!("writing {}", file.display()))?;
        if let Some(browser) = &browser {
            wrong.extend(browser::picture(browser, &file, judge::height(&dashboard))?);
        }
        problems.extend(wrong.into_iter().map(|problem| format!("{name}: {problem}")));
    }
    let pages = to.display();
    let summary = match browser {
        Some(_) => format!("pages and pictures are in {pages}"),
        None => format!("pages are in {pages}; no pictures: {} is not on the search path", browser::PROGRAM),
    };
    Ok(Drawn { problems, summary, took })
}

/// What all queries of one panel of a dashboard are answered with: series, or samples.
pub(crate) fn answers_of(api: Api, choice: &Choice, dashboard: &str, title: &str) -> Result<Vec<Value>> {
    let found = DASHBOARDS.iter().find(|(name, _)| *name == dashboard);
    let (_, json) = found.with_context(|| format!("no dashboard {dashboard}"))?;
    let mut dashboard: Value = serde_json::from_str(json).context("reading the dashboard")?;
    if let Some(panels) = dashboard.get_mut("panels").and_then(Value::as_array_mut) {
        panels.retain(|panel| panel["title"] == title);
        ensure!(panels.len() == 1, "{} panels are called {title}", panels.len());
    }
    let filled = choice.fill_in(api, &dashboard)?;
    let (answers, _) = answers::ask(api, &filled, choice)?;
    Ok(answers.into_values().flatten().flatten().collect())
}

/// Seconds since 1970.
pub(crate) fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// A page that needs nothing else.
fn html(page: &Value) -> String {
    // No text of the data ends the script.
    let page = page.to_string().replace('<', "\\u003c");
    HTML.replace("/*STYLE*/", STYLE).replace("/*SCRIPT*/", &SCRIPTS.join("\n")).replace("/*PAGE*/", &page)
}
