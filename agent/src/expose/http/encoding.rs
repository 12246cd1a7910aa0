//! Content codings: gzip for clients that accept it, as Prometheus does.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{ACCEPT_ENCODING, HeaderMap};

/// The bytes of a body, compressed or as they are written.
pub(super) fn encode(
    gzip: bool,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let result = if gzip {
        let mut encoder = GzEncoder::new(&mut bytes, Compression::fast());
        write(&mut encoder).and_then(|()| encoder.finish().map(drop))
    } else {
        write(&mut bytes)
    };
    result.map(|()| bytes).map_err(|error| format!("cannot write the body: {error}"))
}

/// The same of a text, of which no copy is made.
pub(super) fn encode_text(gzip: bool, text: String) -> Result<Vec<u8>, String> {
    if gzip { encode(true, |to| to.write_all(text.as_bytes())) } else { Ok(text.into_bytes()) }
}

/// Whether a client accepts gzip (RFC 9110 §12.5.3). One that says nothing gets no coding.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut any = None;
    for coding in values.flat_map(|value| value.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        let is_accepted = quality.is_ok_and(|quality| quality > 0.0);
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            return is_accepted;
        }
        if name == "*" {
            any = Some(is_accepted);
        }
    }
    any.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn gzip_is_for_those_who_accept_it() {
        let accepts = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
            accepts_gzip(&headers)
        };
        for value in ["gzip", "deflate, gzip;q=0.5", "GZIP", "*", "br, *;q=0.1", "gzip ; q=1"] {
            assert!(accepts(value), "{value}");
        }
        for value in ["", "identity", "gzip;q=0", "gzip;q=0, *", "*;q=0", "br", "gzip;q=x"] {
            assert!(!accepts(value), "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn what_is_compressed_can_be_read_again() {
        let text = "netcause_a_total{b=\"c\"} 1\n".repeat(1000);
        let compressed = encode(true, |to| to.write_all(text.as_bytes())).unwrap();
        assert!(compressed.len() * 20 < text.len(), "{}", compressed.len());
        let mut again = String::new();
        GzDecoder::new(compressed.as_slice()).read_to_string(&mut again).unwrap();
        assert_eq!(again, text);
        assert_eq!(encode(false, |to| to.write_all(text.as_bytes())).unwrap(), text.into_bytes());
    }
}
