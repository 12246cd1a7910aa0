//! Answers of well-behaved and of other collectors.

use hyper::header::HeaderValue;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use proptest::prelude::*;
use prost::Message as _;

use super::*;

fn of(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Result<Accepted, Failure> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, HeaderValue::from_str(value).unwrap());
    }
    meaning(StatusCode::from_u16(status).unwrap(), &map, Some(body), 100)
}

fn partial(rejected_data_points: i64, error_message: &str) -> Vec<u8> {
    let error_message = error_message.to_owned();
    let partial_success = Some(ExportMetricsPartialSuccess { rejected_data_points, error_message });
    ExportMetricsServiceResponse { partial_success }.encode_to_vec()
}

#[test]
fn what_is_rejected_of_a_request_is_known() {
    let accepted =
        |rejected, message: &str| Accepted { rejected, message: message.to_owned(), is_malformed: false };
    assert_eq!(of(200, &[], &[]), Ok(accepted(0, "")));
    assert_eq!(of(200, &[], &partial(7, "too old")), Ok(accepted(7, "too old")));
    assert_eq!(of(200, &[], &partial(0, "soon to go")), Ok(accepted(0, "soon to go")), "a warning");
    for lie in [101, i64::MAX, -1] {
        assert_eq!(of(200, &[], &partial(lie, "")).unwrap().rejected, 100, "no more than there are");
    }
}

#[test]
fn statuses_are_sent_again_as_the_protocol_has_it() {
    for status in [429, 502, 503, 504] {
        assert_eq!(of(status, &[], &[]).unwrap_err().retry, Retry::After(None), "{status}");
    }
    for status in [201, 202, 204, 301, 302, 307, 308, 400, 401, 403, 404, 405, 408, 413, 500, 501, 505] {
        let failure = of(status, &[], &[]).unwrap_err();
        assert_eq!((failure.why, failure.retry), (Failed::Refused, Retry::Never), "{status}");
    }
    assert_eq!(of(429, &[], &[]).unwrap_err().why, Failed::Throttled);
    assert_eq!(of(503, &[], &[]).unwrap_err().why, Failed::Unavailable);
}

#[test]
fn the_server_says_when_to_come_again() {
    let after = |value: &str| of(503, &[("retry-after", value)], &[]).unwrap_err().retry;
    assert_eq!(after("7"), Retry::After(Some(Duration::from_secs(7))));
    assert_eq!(after("99999999999"), Retry::After(Some(MAX_AFTER)), "but not never");
    assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Retry::After(Some(Duration::ZERO)));
    let Retry::After(Some(wait)) = after("Tue, 19 Jan 2038 03:14:07 GMT") else { panic!() };
    assert_eq!(wait, MAX_AFTER);
    for garbage in ["", "-1", "soon", "1.5"] {
        assert_eq!(after(garbage), Retry::After(None), "{garbage}");
    }
    assert_eq!(of(400, &[("retry-after", "7")], &[]).unwrap_err().retry, Retry::Never);
}

#[test]
fn messages_of_strangers_are_short_and_withheld_where_they_may_be_secret() {
    // A google.rpc.Status: code 3, message.
    let mut status = vec![0x08, 3, 0x12, 9];
    status.extend_from_slice(b"no\nsuch x");
    assert_eq!(of(400, &[], &status).unwrap_err().message, "400: nosuch x");
    assert_eq!(of(404, &[], b"404 page not found\n").unwrap_err().message, "404: 404 page not found");
    assert_eq!(of(500, &[], &[]).unwrap_err().message, "500: no message");
    let long = of(500, &[], "é".repeat(100_000).as_bytes()).unwrap_err().message;
    assert!(long.chars().count() <= MAX_MESSAGE + 5, "{}", long.len());
    for secret in ["Bearer abc is not known", "eyJhbGciOi", "bad token abc"] {
        assert!(of(401, &[], secret.as_bytes()).unwrap_err().message.contains("withheld"), "{secret}");
    }
}

#[test]
fn a_body_that_is_none_of_the_protocol_is_counted_and_taken() {
    let malformed = Accepted { is_malformed: true, ..Accepted::default() };
    for body in
        [&b"<html>"[..], b"{\"partialSuccess\":{}}", &[0x0a, 0xff], &[0x80; 11], &[0x0a, 2, 0x08, 0x80]]
    {
        assert_eq!(of(200, &[], body), Ok(malformed.clone()), "{body:?}");
    }
    let unread = meaning(StatusCode::OK, &HeaderMap::new(), None, 100);
    assert_eq!(unread, Ok(malformed));
}

proptest! {
    #[test]
    fn no_body_does_harm(status in 100_u16..600, body: Vec<u8>, items: u64) {
        let status = StatusCode::from_u16(status).unwrap();
        match meaning(status, &HeaderMap::new(), Some(&body), items) {
            Ok(accepted) => prop_assert!(accepted.rejected <= items),
            Err(failure) => prop_assert!(failure.message.len() < 5 * MAX_MESSAGE),
        }
    }
}
