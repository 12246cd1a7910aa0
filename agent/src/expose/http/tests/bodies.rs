//! How bodies are made: in pieces.

use std::io::{self, Write};

use super::*;
use crate::expose::exposed::Exposed;
use crate::expose::prometheus::{self, Format};

/// Takes an exposition of twenty thousand series.
fn write_exposition(format: Format, to: &mut dyn Write) {
    let view = Arc::new(large());
    let mut exposed = Exposed::default();
    let seen = exposed.show(&view, None, Duration::ZERO).seen;
    prometheus::write(&view, format, exposed.reader(seen), to).unwrap();
}

/// Notes how much is written at once, and in all.
#[derive(Default)]
struct Pieces {
    longest: usize,
    total: usize,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.longest = self.longest.max(bytes.len());
        self.total += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_exposition_is_written_in_pieces() {
    for format in
        [Format::Prometheus, Format::OpenMetrics { created: false }, Format::OpenMetrics { created: true }]
    {
        let mut pieces = Pieces::default();
        write_exposition(format, &mut pieces);
        assert!(pieces.total > 2 << 20, "{format:?}: {}", pieces.total);
        assert!(pieces.longest <= 64 << 10, "{format:?}: {}", pieces.longest);
    }
}
