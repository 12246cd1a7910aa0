//! Simulated scrapers of rows of counters, which add up growth as `increase()` does: from the second sample on, and from zero
//! when a value falls. Each gets a series that is new to it as 0 first.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use crate::seen::Seen;

/// A scraper that comes first while the agent is younger than this gets all series as 0.
const YOUNG: Duration = Duration::from_secs(70);

/// A counter of a row.
type Series<K> = (K, usize);

/// Rows as they are shown.
pub(crate) type Rows<K> = BTreeMap<K, Vec<u64>>;

/// All scrapers, and since when there is each series.
pub(crate) struct Scrapers<K> {
    scrapers: Vec<Scraper<K>>,
    /// The times of views.
    views: Vec<Duration>,
    /// By series: the first view with it since it was absent from one, the first reading, and the last one of each.
    births: HashMap<Series<K>, [usize; 4]>,
    readings: usize,
    /// A series ended and began within one interval of a scraper, which cannot see that.
    pub has_unseen_restart: bool,
}

struct Scraper<K> {
    interval: u64,
    offset: u64,
    /// The view that it saw last, the times of the last two, and the reading.
    seen: Option<usize>,
    times: [Option<Duration>; 2],
    reading: usize,
    last: HashMap<Series<K>, u64>,
    increase: Vec<u64>,
    /// What had been counted when it came first, if it got that.
    base: Vec<u64>,
}

impl<K: Clone + Debug + Eq + Hash + Ord> Scrapers<K> {
    /// Each scrapes at this interval, at this second of it.
    pub fn new(phases: &[(u64, u64)]) -> Self {
        let scraper = |(interval, offset): &(u64, u64)| Scraper {
            interval: *interval,
            offset: *offset % *interval,
            seen: None,
            times: [None; 2],
            reading: 0,
            last: HashMap::new(),
            increase: Vec::new(),
            base: Vec::new(),
        };
        Self {
            scrapers: phases.iter().map(scraper).collect(),
            views: vec![Duration::ZERO],
            births: HashMap::new(),
            readings: 0,
            has_unseen_restart: false,
        }
    }

    /// Whether any scrapes in this second.
    pub fn is_due(&self, second: u64) -> bool {
        self.scrapers.iter().any(|scraper| scraper.is_due(second))
    }

    /// The tables were read, and these rows would be shown.
    pub fn read(&mut self, rows: &Rows<K>) {
        self.readings += 1;
        for series in series(rows).map(|(series, _)| series) {
            let birth = self.births.entry(series).or_insert([0, self.readings, 0, self.readings]);
            if birth[3] + 1 < self.readings {
                birth[1] = self.readings;
            }
            birth[3] = self.readings;
        }
    }

    /// These rows are shown to those that scrape in this second, or to all; `counted` is what has really happened. To be called
    /// after [`Self::read`].
    pub fn view(&mut self, rows: &Rows<K>, now: Duration, second: Option<u64>, counted: &[u64]) -> Seen {
        self.views.push(now);
        let view = self.views.len() - 1;
        for series in series(rows).map(|(series, _)| series) {
            let Some(birth) = self.births.get_mut(&series) else { panic!("{series:?} was not read") };
            if birth[2] + 1 < view || birth[0] == 0 {
                birth[0] = view;
            }
            birth[2] = view;
        }
        let mut by_any = None;
        for scraper in &mut self.scrapers {
            if second.is_some_and(|second| !scraper.is_due(second)) {
                continue;
            }
            let seen = scraper.seen.unwrap_or(if now < YOUNG { 0 } else { view });
            if scraper.seen.is_none() {
                scraper.base = if now < YOUNG { vec![0; counted.len()] } else { counted.to_vec() };
                scraper.increase = vec![0; counted.len()];
            }
            by_any = by_any.max(Some(self.views[seen].min(now)));
            let mut samples = HashMap::new();
            for (series, value) in series(rows) {
                let [first, began, ..] = self.births[&series];
                let value = if first > seen { 0 } else { value };
                if let Some(before) = scraper.last.get(&series) {
                    let has_restarted = began > scraper.reading;
                    self.has_unseen_restart |= has_restarted && value > 0 && value >= *before;
                    assert!(
                        value >= *before || has_restarted || first > seen,
                        "{series:?}: {before} to {value}"
                    );
                    let growth = if value < *before { value } else { value - before };
                    scraper.increase[series.1] += growth;
                }
                samples.insert(series, value);
            }
            for (word, (increase, (base, counted))) in
                scraper.increase.iter().zip(scraper.base.iter().zip(counted)).enumerate()
            {
                assert!(*increase <= counted - base, "{word}: {increase} of {counted} - {base}");
            }
            // A series that is absent has ended.
            scraper.last = samples;
            scraper.seen = Some(view);
            scraper.reading = self.readings;
            scraper.times = [scraper.times[1], Some(now)];
        }
        let by_all = self.scrapers.iter().map(|scraper| scraper.times[0]).min().flatten();
        Seen { by_any, by_all }
    }

    /// Fails unless every scraper has added up all that was counted while it was there.
    pub fn expect_all(&self, counted: &[u64]) {
        for scraper in self.scrapers.iter().filter(|scraper| scraper.seen.is_some()) {
            for (word, (increase, (base, counted))) in
                scraper.increase.iter().zip(scraper.base.iter().zip(counted)).enumerate()
            {
                let interval = scraper.interval;
                assert_eq!(
                    *increase,
                    counted - base,
                    "{word}, of the one every {interval} s: {counted} - {base}"
                );
            }
        }
    }
}

impl<K> Scraper<K> {
    fn is_due(&self, second: u64) -> bool {
        second % self.interval == self.offset
    }
}

fn series<K: Clone>(rows: &Rows<K>) -> impl Iterator<Item = (Series<K>, u64)> {
    rows.iter().flat_map(|(key, words)| {
        let shown = words.iter().enumerate().filter(|(_, value)| **value != 0);
        shown.map(|(word, value)| ((key.clone(), word), *value))
    })
}
