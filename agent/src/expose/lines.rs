//! Rewrites text line by line while it is written, so that no exposition is in memory as a whole beside its body.

use std::fmt;
use std::io::{self, Write};

/// What becomes of a line.
pub(super) trait Rewrite {
    /// Writes what becomes of a line, which comes without its end.
    fn line(&mut self, line: &str, to: &mut dyn Write) -> io::Result<()>;
}

/// Every line as it is.
pub(super) struct AsItIs;

impl Rewrite for AsItIs {
    fn line(&mut self, line: &str, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{line}")
    }
}

/// Takes text in pieces, and passes its lines on.
pub(super) struct Lines<'w, R> {
    rewrite: R,
    /// What has come of a line that has not ended.
    line: String,
    to: &'w mut dyn Write,
    result: io::Result<()>,
}

impl<'w, R: Rewrite> Lines<'w, R> {
    pub fn new(rewrite: R, to: &'w mut dyn Write) -> Self {
        Self { rewrite, line: String::new(), to, result: Ok(()) }
    }

    /// The end of the text; `written` says whether all of it came.
    pub fn end(mut self, written: fmt::Result) -> io::Result<()> {
        self.result?;
        written.map_err(io::Error::other)?;
        if self.line.is_empty() { Ok(()) } else { self.rewrite.line(&self.line, self.to) }
    }
}

impl<R: Rewrite> fmt::Write for Lines<'_, R> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((begin, more)) = rest.split_once('\n') {
            self.line.push_str(begin);
            self.result = self.rewrite.line(&self.line, self.to);
            self.line.clear();
            if self.result.is_err() {
                return Err(fmt::Error);
            }
            rest = more;
        }
        self.line.push_str(rest);
        Ok(())
    }
}

/// A whole text, rewritten.
#[cfg(test)]
pub(super) fn rewritten(text: &str, rewrite: impl Rewrite) -> String {
    let mut bytes = Vec::new();
    let mut lines = Lines::new(rewrite, &mut bytes);
    // In pieces that end anywhere.
    let mut written = Ok(());
    for piece in text.split_inclusive(['#', ' ', 'e']) {
        written = written.and(fmt::Write::write_str(&mut lines, piece));
    }
    lines.end(written).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that is full, in effect.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_passed_on_whole() {
        for text in ["", "a\n", "a e # b\n\nc\n"] {
            assert_eq!(rewritten(text, AsItIs), text);
        }
        assert_eq!(rewritten("a\nb", AsItIs), "a\nb\n");
    }

    #[test]
    fn the_error_of_the_writer_is_kept() {
        let mut full = Full;
        let mut lines = Lines::new(AsItIs, &mut full);
        let written = fmt::Write::write_str(&mut lines, "a\nb\n");
        assert_eq!(lines.end(written).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
