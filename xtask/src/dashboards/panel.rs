//! A panel: what it shows, how, and its place on the page.

mod json;

use serde_json::{Value, json};

/// The unit of the values of a panel or a column, by Grafana's id.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    Bytes,
    BytesPerSecond,
    ConnectionsPerSecond,
    Count,
    /// As it is: a size of packets, whether something is so.
    Number,
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
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "Bps",
            Self::ConnectionsPerSecond => "cps",
            Self::Count => "short",
            Self::Number => "none",
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
    /// Pixels, where it does not share what others leave.
    width: Option<u64>,
    /// Words in the place of 0 and 1.
    words: Option<[&'static str; 2]>,
}

impl Column {
    fn new(from: String, title: &'static str, unit: Unit) -> Self {
        Self { from, title, unit, limits: None, link: None, width: None, words: None }
    }
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
    /// What it says without data.
    nothing: Option<&'static str>,
    /// Whether names of lines stand beside them, one below the other.
    long_names: bool,
}

impl Panel {
    pub(super) fn new(kind: Kind, title: &'static str, unit: Unit, description: &'static str) -> Self {
        let (width, height) = match kind {
            Kind::Lines => (8, 8),
            Kind::Stat => (6, 3),
            Kind::Table | Kind::Matrix { .. } => (24, 10),
            Kind::Timeline => (24, 7),
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
            nothing: None,
            long_names: false,
        }
    }

    /// A panel of lines over time.
    pub(super) fn lines(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Kind::Lines, title, unit, description)
    }

    /// What the recording rules of `deploy/prometheus` have named as the place of loss, and its share.
    pub(super) fn explained(title: &'static str, description: &'static str, loss: String) -> Self {
        Self::table(title, Unit::Share, description)
            .value("Loss", Unit::Share, loss)
            .limits(0.002, 0.01)
            .width(90)
            .nothing("No loss that is explained, or the recording rules are not installed")
            .size(8, 6)
    }

    /// A table of what is now.
    pub(super) fn table(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Kind::Table, title, unit, description)
    }

    pub(super) fn size(mut self, width: u64, height: u64) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// What it says without data: what that means, where it is good news.
    pub(super) fn nothing(mut self, says: &'static str) -> Self {
        self.nothing = Some(says);
        self
    }

    /// Half of the page, with the names of lines beside them: names of both ends are too long to stand below.
    pub(super) fn long_names(mut self) -> Self {
        (self.width, self.long_names) = (12, true);
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
        self.columns.push(Column::new(from, title, unit));
        self
    }

    /// A column that shows a label.
    pub(super) fn label(mut self, label: &str, title: &'static str) -> Self {
        self.columns.push(Column::new(label.to_owned(), title, Unit::Text));
        self
    }

    /// How wide the last column is, in pixels.
    pub(super) fn width(mut self, pixels: u64) -> Self {
        if let Some(column) = self.columns.last_mut() {
            column.width = Some(pixels);
        }
        self
    }

    /// Words in the place of 0 and 1 in the last column: 0 is bad.
    pub(super) fn words(mut self, no: &'static str, yes: &'static str) -> Self {
        if let Some(column) = self.columns.last_mut() {
            column.words = Some([no, yes]);
        }
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
}

/// The data source that the variable of this name selects.
pub(super) fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// Grafana's name of a query: A for the first.
fn letter(index: usize) -> char {
    u8::try_from(index).map_or('?', |index| char::from(b'A'.saturating_add(index)))
}
