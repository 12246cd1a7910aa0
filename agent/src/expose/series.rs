//! The neutral model of an exposition: tables of metrics, rows with labels, and samples. Writers (text, protobuf) read it.
//!
//! A [`Table`] belongs to one kind of row and declares its metrics; rows come from [`rows`], which leaves no two with the
//! same labels, so that no two samples of one exposition have the same name and labels.

mod distribution;
mod metric;

use std::borrow::{Borrow, Cow};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

pub use distribution::{Distribution, Native, Scale};
pub use metric::{Kind, Loss, Metric};

/// A metric and where its values come from in a row of type `R`.
pub(super) struct Entry<R> {
    metric: Metric,
    read: fn(&R, &mut Samples<'_>),
}

/// The metrics of one kind of row.
pub(super) struct Table<R: 'static> {
    /// Labels that every sample begins with; each row has their values.
    pub labels: &'static [&'static str],
    /// True when counters and histograms without an event are left out.
    pub sparse: bool,
    /// The metrics, in the order of the exposition.
    pub metrics: &'static [Entry<R>],
}

pub(super) const fn counter<R>(
    name: &'static str,
    help: &'static str,
    read: fn(&R, &mut Samples<'_>),
) -> Entry<R> {
    entry(name, Kind::Counter, help, read)
}

pub(super) const fn gauge<R>(
    name: &'static str,
    help: &'static str,
    read: fn(&R, &mut Samples<'_>),
) -> Entry<R> {
    entry(name, Kind::Gauge, help, read)
}

pub(super) const fn histogram<R>(
    name: &'static str,
    help: &'static str,
    read: fn(&R, &mut Samples<'_>),
) -> Entry<R> {
    entry(name, Kind::Histogram, help, read)
}

pub(super) const fn info<R>(name: &'static str, help: &'static str) -> Entry<R> {
    entry(name, Kind::Info, help, |_, to| to.value(true))
}

const fn entry<R>(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    read: fn(&R, &mut Samples<'_>),
) -> Entry<R> {
    Entry { metric: Metric { name, kind, label: None, help, loss: None }, read }
}

impl<R> Entry<R> {
    /// With one more label, whose values [`Samples::by`] gives.
    pub(super) const fn by(mut self, label: &'static str) -> Self {
        self.metric.label = Some(label);
        self
    }

    /// Counts what was lost, in a few words.
    pub(super) const fn lost(mut self, what: &'static str) -> Self {
        self.metric.loss = Some(Loss { what, of: None });
        self
    }

    /// As [`Self::lost`], of one value of the metric's own label.
    pub(super) const fn lost_as(mut self, of: &'static str, what: &'static str) -> Self {
        self.metric.loss = Some(Loss { what, of: Some(of) });
        self
    }
}

/// The value of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A count.
    Unsigned(u64),
    /// A number that may be below zero.
    Signed(i64),
    /// A measure, as a rule in seconds.
    Real(f64),
    /// What a histogram holds.
    Distribution(Distribution<'a>),
}

impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Signed(value)
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Unsigned(value.into())
    }
}

/// Takes the samples of one metric of one row.
pub(super) struct Samples<'s> {
    leaves_zeros_out: bool,
    /// The kernel's tick (jiffy), in which some counters are kept.
    tick: Duration,
    take: &'s mut dyn FnMut(Option<&'static str>, Value<'_>),
}

impl Samples<'_> {
    /// The sample of a metric without a label of its own.
    pub fn value<'v>(&mut self, value: impl Into<Value<'v>>) {
        self.labelled(None, value.into());
    }

    /// One sample per value of the metric's own label. The values must differ.
    pub fn by(&mut self, values: &[&'static str], counts: &[u64]) {
        for (value, count) in values.iter().zip(counts) {
            self.labelled(Some(value), Value::Unsigned(*count));
        }
    }

    /// As [`Self::by`], of counts in ticks, shown in seconds.
    pub fn ticks_by(&mut self, values: &[&'static str], ticks: &[u64]) {
        self.seconds_by(values, ticks, 1.0 / self.tick.as_secs_f64());
    }

    /// As [`Self::by`], of times in a unit of which there are so many in a second, shown in seconds.
    pub fn seconds_by(&mut self, values: &[&'static str], times: &[u64], per_second: f64) {
        for (value, time) in values.iter().zip(times) {
            self.labelled(Some(value), Value::Real(*time as f64 / per_second));
        }
    }

    /// The sample of a histogram: observations per bin, not cumulative, and their sum.
    pub fn distribution(&mut self, scale: &'static Scale, counts: &[u64], sum: f64) {
        if !self.leaves_zeros_out || counts.iter().any(|count| *count != 0) {
            (self.take)(None, Value::Distribution(Distribution { scale, counts, sum }));
        }
    }

    fn labelled(&mut self, label: Option<&'static str>, value: Value<'_>) {
        let is_zero = matches!(value, Value::Unsigned(0)) || value == Value::Real(0.0);
        if !(self.leaves_zeros_out && is_zero) {
            (self.take)(label, value);
        }
    }
}

/// What is shown under one set of labels.
#[derive(Debug)]
struct Row<'a, D> {
    labels: Vec<Cow<'a, str>>,
    /// Of the labels: hashed once, since a row has many samples.
    hash: u64,
    data: D,
}

impl<'a, D> Row<'a, D> {
    fn new(labels: Vec<Cow<'a, str>>, data: D) -> Self {
        let mut hasher = DefaultHasher::new();
        labels.hash(&mut hasher);
        Self { labels, hash: hasher.finish(), data }
    }
}

/// Rows in the order of their labels, no two with the same.
#[derive(Debug)]
pub(super) struct Rows<'a, D> {
    all: Rc<[Row<'a, D>]>,
    range: Range<usize>,
    tick: Duration,
}

impl<'a, D> Rows<'a, D> {
    /// Sorts the rows. Those with equal labels become one: `merge` adds the second to the first.
    pub fn new(all: impl IntoIterator<Item = (Vec<Cow<'a, str>>, D)>, merge: impl Fn(&mut D, D)) -> Self {
        let mut all: Vec<_> = all.into_iter().map(|(labels, data)| Row::new(labels, data)).collect();
        all.sort_by(|one, other| one.labels.cmp(&other.labels));
        let mut rows: Vec<Row<'a, D>> = Vec::with_capacity(all.len());
        for row in all {
            match rows.last_mut() {
                Some(last) if last.labels == row.labels => merge(&mut last.data, row.data),
                _ => rows.push(row),
            }
        }
        let range = 0..rows.len();
        Self { all: rows.into(), range, tick: Duration::ZERO }
    }

    /// The one row of a table without labels.
    pub fn single(data: D) -> Self {
        Self::new([(Vec::new(), data)], last)
    }

    /// With the kernel's tick (jiffy), for counters that are kept in it.
    pub fn with_tick(self, tick: Duration) -> Self {
        Self { tick, ..self }
    }

    /// The rows whose first label has this value.
    pub fn having(&self, value: &str) -> Self {
        let first = |row: &Row<'a, D>| row.labels.first().map_or("", Cow::as_ref).cmp(value);
        let begin = self.all.partition_point(|row| first(row).is_lt());
        let end = self.all.partition_point(|row| first(row).is_le());
        Self { all: Rc::clone(&self.all), range: begin..end, tick: self.tick }
    }
}

/// Merges rows so that the later one stands: for gauges and facts.
pub(super) fn last<D>(row: &mut D, later: D) {
    *row = later;
}

/// Merges counts.
pub(super) fn sum(row: &mut u64, other: u64) {
    *row = row.wrapping_add(other);
}

/// A metric with all its samples.
pub struct Family<'a> {
    /// Labels of its table.
    labels: &'static [&'static str],
    /// Its declaration.
    pub metric: &'static Metric,
    each: Each<'a>,
}

/// Passes every sample on.
type Each<'a> = Box<dyn Fn(&mut dyn FnMut(&Sample<'_>)) + 'a>;

impl Family<'_> {
    /// The names of all its labels.
    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        self.labels.iter().copied().chain(self.metric.label)
    }

    /// Passes every sample on.
    pub fn each(&self, mut to: impl FnMut(&Sample<'_>)) {
        (self.each)(&mut to);
    }
}

/// Stands for the name and the labels of a sample. Two may be equal by chance, once in some 10^11 agents at the limit of
/// 10 000 series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleId(u64);

/// One sample.
pub struct Sample<'s> {
    metric: &'static str,
    names: &'static [&'static str],
    values: &'s [Cow<'s, str>],
    /// Of `values`.
    hash: u64,
    own: Option<(&'static str, &'static str)>,
    /// What it says.
    pub value: Value<'s>,
}

impl Sample<'_> {
    /// Names and values of its labels.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let values = self.values.iter().map(Cow::as_ref);
        self.names.iter().copied().zip(values).chain(self.own)
    }

    /// A number for the metric with these labels, the same in every view; one for all series of a histogram.
    #[must_use]
    pub fn id(&self) -> SampleId {
        let mut hasher = DefaultHasher::new();
        (self.hash, self.metric, self.own).hash(&mut hasher);
        SampleId(hasher.finish())
    }
}

impl<R> Table<R> {
    /// The families of these rows.
    pub(super) fn families<'a, D: Borrow<R> + 'a>(
        &'static self,
        rows: &Rows<'a, D>,
    ) -> impl Iterator<Item = Family<'a>> + use<'a, R, D> {
        let Self { labels: names, sparse, metrics } = self;
        let Rows { all, range, tick } = rows;
        let (all, range, tick) = (Rc::clone(all), range.clone(), *tick);
        metrics.iter().map(move |Entry { metric, read }| {
            let (rows, range) = (Rc::clone(&all), range.clone());
            let leaves_zeros_out = *sparse && metric.kind != Kind::Gauge;
            let each = move |to: &mut dyn FnMut(&Sample<'_>)| {
                for Row { labels, hash, data } in rows.get(range.clone()).unwrap_or_default() {
                    let take = &mut |own: Option<&'static str>, value: Value<'_>| {
                        let own = metric.label.zip(own);
                        to(&Sample { metric: metric.name, names, values: labels, hash: *hash, own, value });
                    };
                    read(data.borrow(), &mut Samples { leaves_zeros_out, tick, take });
                }
            };
            Family { labels: names, metric, each: Box::new(each) }
        })
    }

    /// How many time series a row has.
    pub(super) fn series(&self, row: &R) -> usize {
        let mut series = 0;
        for Entry { metric, read } in self.metrics {
            let take = &mut |_: Option<&'static str>, value: Value<'_>| {
                series += match value {
                    Value::Distribution(distribution) => distribution.series(),
                    _ => 1,
                };
            };
            // Any tick will do: what matters is whether there are any.
            let tick = Duration::from_secs(1);
            let leaves_zeros_out = self.sparse && metric.kind != Kind::Gauge;
            read(row, &mut Samples { leaves_zeros_out, tick, take });
        }
        series
    }
}
