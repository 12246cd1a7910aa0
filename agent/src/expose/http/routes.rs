//! What is served: one table, from which requests are dispatched and the index, the error text and `--help` are made.

use std::fmt::Write as _;

use hyper::header::{ACCEPT, HeaderMap};
use serde::Serialize;

use super::Source;
use crate::expose::lately::Lately;
use crate::expose::prometheus::Format;
use crate::expose::query::BadQuery;
use crate::expose::snapshot::Snapshot;
use crate::expose::{dns, edges, events, findings, node, scrapers, status};
use crate::web::Guard;

/// The content type of plain answers.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// One path.
pub(super) struct Route {
    pub path: &'static str,
    /// One line for people.
    pub about: &'static str,
    pub answer: Answer,
}

/// What a route answers.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// Made from the view, with this content type.
    View(&'static str, Render),
    /// The exposition, in the format that the client asks for.
    Metrics,
    /// What was counted lately, by the query.
    Lately(Ask),
    /// Whether something works; an error is answered with 503.
    Health(fn(&dyn Source) -> Result<(), String>),
    /// The list of routes.
    Index,
}

/// All routes.
pub(super) static ROUTES: [Route; 10] = [
    Route {
        path: "/metrics",
        about: "metrics, as Prometheus text, OpenMetrics or protobuf as the client asks",
        answer: Answer::Metrics,
    },
    Route {
        path: "/api/v1/dns",
        about: "DNS by workload: servers, search domains, top names (JSON)",
        answer: Answer::View(JSON, |view| json(&dns::Body::from(view))),
    },
    Route {
        path: "/api/v1/edges",
        about: "rates of each pair in the last seconds or minutes; ?window= sort= workload= limit= (JSON)",
        answer: Answer::Lately(|text| {
            let query = edges::Query::parse(text)?;
            Ok(Box::new(move |lately| json(&edges::Answer::new(lately, &query))))
        }),
    },
    Route {
        path: "/api/v1/events",
        about: "the last failed connects, retransmissions and resets of each pair (JSON)",
        answer: Answer::View(JSON, |view| json(&events::Body::from(view))),
    },
    Route {
        path: "/api/v1/findings",
        about: "what is wrong: cause, side, owner, evidence and the next step of each; ?workload= (JSON)",
        answer: Answer::Lately(|text| {
            let query = findings::Query::parse(text)?;
            Ok(Box::new(move |lately| json(&findings::Answer::new(lately, &query))))
        }),
    },
    Route {
        path: "/api/v1/node",
        about: "other nodes, listening ports, devices and protocols in the last seconds or minutes; ?window= (JSON)",
        answer: Answer::Lately(|text| {
            let window = node::window(text)?;
            Ok(Box::new(move |lately| json(&node::Answer::new(lately, window))))
        }),
    },
    Route {
        path: "/api/v1/status",
        about: "what is down, with the reason; what was lost; how full tables are (JSON)",
        answer: Answer::View(JSON, |view| json(&status::Answer::new(view))),
    },
    Route { path: "/livez", about: "200 while the process runs", answer: Answer::Health(|_| Ok(())) },
    Route {
        path: "/readyz",
        about: "200 while the agent observes the node",
        answer: Answer::Health(|source| source.ready()),
    },
    Route { path: "/", about: "this list", answer: Answer::Index },
];

impl Route {
    /// The route of a path.
    pub fn of(path: &str) -> Option<&'static Self> {
        ROUTES.iter().find(|route| route.path == path)
    }

    /// What a path asks of its reader; one that is not served asks as much as `/metrics`.
    pub fn guard(path: &str) -> Guard {
        match Self::of(path) {
            Some(Self { answer: Answer::Health(_), .. }) => Guard::Nothing,
            _ if path.starts_with("/api/") => Guard::Token,
            _ => Guard::Password,
        }
    }
}

/// Makes a body from what was counted lately.
pub(super) type RenderLately = Box<dyn FnOnce(&Lately) -> Result<String, String> + Send>;

/// What to make of a query.
pub(super) type Ask = fn(&str) -> Result<RenderLately, BadQuery>;

/// Makes a body from the view.
pub(super) type Render = fn(&Snapshot) -> Result<String, String>;

pub(super) fn json(body: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(body).map_err(|error| error.to_string())
}

/// One line per route.
#[must_use]
pub fn endpoints() -> String {
    let width = ROUTES.iter().map(|route| route.path.len()).max().unwrap_or_default();
    let mut list = String::new();
    for Route { path, about, .. } in &ROUTES {
        // Writing to a string cannot fail.
        let _ = writeln!(list, "  {path:width$}  {about}");
    }
    list
}

/// The format of `/metrics` for a client: the one that it prefers (RFC 9110 §12.5.1), of those that it likes alike protobuf
/// before OpenMetrics before plain text; plain text when it says nothing, so that browsers and curl show it.
///
/// Starts of series are a part of protobuf. In OpenMetrics (`_created`) no scraper gets them: a Prometheus that does not read
/// them as such would store them as series of their own, nearly as many again.
pub(super) fn negotiate(headers: &HeaderMap) -> Format {
    let (mut open_metrics, mut plain, mut protobuf) = (0.0_f32, 0.0_f32, 0.0_f32);
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality =
            parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok()).unwrap_or(1.0);
        let is = |parameter: &str| range.replace([' ', '"'], "").to_ascii_lowercase().contains(parameter);
        match kind.as_str() {
            "application/openmetrics-text" => open_metrics = open_metrics.max(quality),
            "application/vnd.google.protobuf"
                if is(";proto=io.prometheus.client.metricfamily") && is(";encoding=delimited") =>
            {
                protobuf = protobuf.max(quality);
            }
            "text/plain" | "text/*" | "*/*" => plain = plain.max(quality),
            _ => {}
        }
    }
    if protobuf > 0.0 && protobuf >= open_metrics.max(plain) {
        Format::Protobuf
    } else if open_metrics > 0.0 && open_metrics >= plain {
        Format::OpenMetrics { created: !scrapers::is_scraper(headers) }
    } else {
        Format::Prometheus
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const PLAIN: Format = Format::Prometheus;
    const CREATED: Format = Format::OpenMetrics { created: true };
    const NOT_CREATED: Format = Format::OpenMetrics { created: false };

    fn negotiated(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
        negotiate(&headers)
    }

    /// As sent by Prometheus 2.42.
    const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
        q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

    #[test]
    fn the_client_gets_the_format_it_prefers() {
        assert_eq!(negotiated(PROMETHEUS), CREATED);
        assert_eq!(negotiated("text/plain;version=0.0.4"), PLAIN);
        assert_eq!(negotiated("application/openmetrics-text;q=0.2, text/plain;q=0.9"), PLAIN);
        assert_eq!(negotiated("application/openmetrics-text;q=0"), PLAIN);
        assert_eq!(negotiated("*/*"), PLAIN);
        assert_eq!(negotiated("application/openmetrics-text;q=abc"), CREATED);
        assert_eq!(negotiate(&HeaderMap::new()), PLAIN);
    }

    #[test]
    fn a_prometheus_gets_starts_where_it_does_not_store_them() {
        let scraped = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-prometheus-scrape-timeout-seconds", HeaderValue::from_static("10"));
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            negotiate(&headers)
        };
        assert_eq!(scraped(PROMETHEUS), NOT_CREATED);
        // With created-timestamp-zero-ingestion or native-histograms.
        let protobuf =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        assert_eq!(scraped(&format!("{protobuf},{PROMETHEUS}")), Format::Protobuf);
        // As Prometheus 3 asks: what it likes best has the highest quality.
        let last =
            format!("application/openmetrics-text;version=1.0.0;q=0.6,{protobuf};q=0.5,text/plain;q=0.4");
        assert_eq!(scraped(&last), NOT_CREATED, "it asks for protobuf, and stores no starts");
        let first = format!("{protobuf};q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.2");
        assert_eq!(scraped(&first), Format::Protobuf);
        assert_eq!(scraped(&format!("{protobuf};q=0,text/plain;q=0.5")), PLAIN);
        assert_eq!(scraped("application/vnd.google.protobuf;encoding=text,text/plain;q=0.5"), PLAIN);
        assert_eq!(scraped("application/vnd.google.protobuf"), PLAIN, "which message is not said");
        assert_eq!(scraped("text/plain"), PLAIN);
    }

    #[test]
    fn health_alone_is_for_everyone() {
        for (path, guard) in [
            ("/livez", Guard::Nothing),
            ("/readyz", Guard::Nothing),
            ("/metrics", Guard::Password),
            ("/", Guard::Password),
            ("/livez/", Guard::Password),
            ("/api/v1/findings", Guard::Token),
            ("/api/v1/none", Guard::Token),
        ] {
            assert_eq!(Route::guard(path), guard, "{path}");
        }
        let of_api =
            ROUTES.iter().filter(|route| matches!(route.answer, Answer::Lately(_) | Answer::View(..)));
        assert!(of_api.clone().count() > 5);
        assert!(of_api.clone().all(|route| Route::guard(route.path) == Guard::Token));
    }

    #[test]
    fn every_route_is_listed_and_found() {
        for route in &ROUTES {
            assert!(endpoints().contains(&format!("  {}", route.path)));
            assert!(Route::of(route.path).is_some_and(|found| found.about == route.about), "{}", route.path);
        }
    }
}
