//! Who scrapes, and which view each scraper got last.
//!
//! A scraper is a client that sends `X-Prometheus-Scrape-Timeout-Seconds`, as Prometheus and what is made from it do. People
//! and scripts do not: they get everything as it is.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::header::{HeaderMap, USER_AGENT};

use super::births::ViewNumber;

/// The header that makes a client a scraper.
const TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// What proxies add. Behind one, scrapers share connections.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Scrapers that are known at a time; for more, the one that came longest ago is forgotten.
const MAX_SCRAPERS: usize = 32;
/// A scraper that did not come for so long is forgotten: Prometheus takes its series for ended by then
/// (`query.lookback-delta`).
const EXPIRY: Duration = Duration::from_secs(300);

/// Whether these are the headers of a scraper.
pub fn is_scraper(headers: &HeaderMap) -> bool {
    headers.contains_key(TIMEOUT)
}

/// What is known of the client of a request.
#[derive(Clone, Debug)]
pub struct Client {
    /// Hash of address, User-Agent, scrape timeout and X-Forwarded-For.
    key: u64,
    /// As long as the connection is open; dangling behind a proxy.
    connection: Weak<()>,
}

impl Client {
    /// The scraper that sent these headers over this connection; `None` when it is no scraper.
    pub fn scraper(peer: IpAddr, headers: &HeaderMap, connection: &Arc<()>) -> Option<Self> {
        let timeout = headers.get(TIMEOUT)?;
        let forwarded = headers.get(FORWARDED_FOR);
        let mut hasher = DefaultHasher::new();
        (peer, headers.get(USER_AGENT), timeout, forwarded).hash(&mut hasher);
        let connection = if forwarded.is_some() { Weak::new() } else { Arc::downgrade(connection) };
        Some(Self { key: hasher.finish(), connection })
    }
}

/// The scrapers that came lately. Times are since any one point.
#[derive(Debug, Default)]
pub struct Scrapers(Vec<Scraper>);

#[derive(Debug)]
struct Scraper {
    client: Client,
    seen: ViewNumber,
    /// When the last view that it got was read, and the one before.
    read: [Option<Duration>; 2],
    at: Duration,
}

impl Scrapers {
    /// The view that this scraper got last; `None` when it is not known.
    pub fn seen(&self, client: &Client, now: Duration) -> Option<ViewNumber> {
        self.find(client, now).and_then(|index| self.0.get(index)).map(|scraper| scraper.seen)
    }

    /// What was read by then every scraper has got twice: as 0 where it was new, and by value. `None` where that is not known of
    /// one.
    pub fn all_saw(&self, now: Duration) -> Option<Duration> {
        self.0.iter().filter(|scraper| scraper.is_current(now)).map(|scraper| scraper.read[1]).min().flatten()
    }

    /// A scraper got a view, which was read at a time by the kernel's `CLOCK_MONOTONIC`.
    pub fn saw(&mut self, client: Client, view: ViewNumber, read: Duration, now: Duration) {
        let place = self.find(&client, now);
        let mut scraper = Scraper { client, seen: view, read: [Some(read), None], at: now };
        match place.and_then(|index| self.0.get_mut(index)) {
            Some(known) => {
                scraper.read[1] = known.read[0];
                *known = scraper;
            }
            None => {
                self.0.retain(|known| known.is_current(now));
                if self.0.len() >= MAX_SCRAPERS
                    && let Some((oldest, _)) = self.0.iter().enumerate().min_by_key(|(_, known)| known.at)
                {
                    self.0.swap_remove(oldest);
                }
                self.0.push(scraper);
            }
        }
    }

    /// Two of one kind on one host differ by nothing but their connection, which Prometheus keeps. On a new connection it
    /// can be one of those whose connection has ended; with several of one interval it is the one that waited longest.
    fn find(&self, client: &Client, now: Duration) -> Option<usize> {
        let alike = |scraper: &Scraper| scraper.is_current(now) && scraper.client.key == client.key;
        let all = || self.0.iter().enumerate().filter(|(_, scraper)| alike(scraper));
        let same = all().find(|(_, scraper)| scraper.client.connection.ptr_eq(&client.connection));
        let ended = || all().filter(|(_, scraper)| scraper.client.connection.strong_count() == 0);
        same.or_else(|| ended().min_by_key(|(_, scraper)| scraper.at)).map(|(index, _)| index)
    }
}

impl Scraper {
    fn is_current(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) < EXPIRY
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hyper::header::HeaderValue;

    use super::*;

    fn client(connection: &Arc<()>, forwarded: Option<&'static str>) -> Client {
        let mut headers = HeaderMap::new();
        headers.insert(TIMEOUT, HeaderValue::from_static("10"));
        headers.insert(USER_AGENT, HeaderValue::from_static("Prometheus/3.0"));
        if let Some(address) = forwarded {
            headers.insert(FORWARDED_FOR, HeaderValue::from_static(address));
        }
        Client::scraper(Ipv4Addr::LOCALHOST.into(), &headers, connection).unwrap()
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn view(number: u32) -> ViewNumber {
        ViewNumber::of(number)
    }

    #[test]
    fn two_on_one_host_differ_by_their_connections() {
        let (one, other) = (Arc::new(()), Arc::new(()));
        let mut scrapers = Scrapers::default();
        scrapers.saw(client(&one, None), view(1), at(0), at(0));
        assert_eq!(scrapers.seen(&client(&other, None), at(5)), None, "the other's connection is open");
        scrapers.saw(client(&other, None), view(2), at(5), at(5));
        assert_eq!(scrapers.seen(&client(&one, None), at(10)), Some(view(1)));
        assert_eq!(scrapers.seen(&client(&other, None), at(10)), Some(view(2)));
    }

    #[test]
    fn a_new_connection_is_of_the_one_that_waited_longest() {
        let [one, other, new] = [(); 3].map(|()| Arc::new(()));
        let mut scrapers = Scrapers::default();
        scrapers.saw(client(&one, None), view(1), at(0), at(0));
        scrapers.saw(client(&other, None), view(2), at(7), at(7));
        drop(other);
        assert_eq!(scrapers.seen(&client(&new, None), at(15)), Some(view(2)), "the first is connected");
        drop(one);
        assert_eq!(scrapers.seen(&client(&new, None), at(15)), Some(view(1)));
        scrapers.saw(client(&new, None), view(3), at(15), at(15));
        let newer = Arc::new(());
        assert_eq!(scrapers.seen(&client(&newer, None), at(22)), Some(view(2)));
    }

    #[test]
    fn behind_a_proxy_the_forwarded_address_counts() {
        let shared = Arc::new(());
        let mut scrapers = Scrapers::default();
        scrapers.saw(client(&shared, Some("10.0.0.1")), view(1), at(0), at(0));
        scrapers.saw(client(&shared, Some("10.0.0.2")), view(2), at(1), at(1));
        let another = Arc::new(());
        assert_eq!(scrapers.seen(&client(&another, Some("10.0.0.1")), at(2)), Some(view(1)));
        assert_eq!(scrapers.seen(&client(&another, Some("10.0.0.2")), at(2)), Some(view(2)));
        assert_eq!(scrapers.seen(&client(&another, Some("10.0.0.3")), at(2)), None);
    }

    #[test]
    fn scrapers_expire_and_are_bounded() {
        let open: Vec<_> = (0..MAX_SCRAPERS + 8).map(|_| Arc::new(())).collect();
        let mut scrapers = Scrapers::default();
        for (seconds, connection) in (0..).zip(&open) {
            scrapers.saw(client(connection, None), view(1), at(seconds), at(seconds));
        }
        assert_eq!(scrapers.0.len(), MAX_SCRAPERS);
        assert_eq!(scrapers.seen(&client(&open[0], None), at(50)), None, "the oldest made room");
        assert_eq!(scrapers.seen(&client(&open[20], None), at(50)), Some(view(1)));
        assert_eq!(scrapers.seen(&client(&open[20], None), at(320)), None, "it did not come for 300 s");
    }

    #[test]
    fn people_are_no_scrapers() {
        let connection = Arc::new(());
        assert!(Client::scraper(Ipv4Addr::LOCALHOST.into(), &HeaderMap::new(), &connection).is_none());
    }
}
