//! Standard output: what it is, how it may look, and text for it.

use std::io::{self, IsTerminal as _, Write as _};

const PLAIN: &str = "\x1b[0m";

/// How a part of a text stands out: SGR of ECMA-48.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// What is read first.
    Bold,
    /// What is over.
    Dim,
    /// What is wrong.
    Red,
    /// What may be wrong.
    Yellow,
}

impl Look {
    const fn code(self) -> &'static str {
        match self {
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Red => "\x1b[31m",
            Self::Yellow => "\x1b[33m",
        }
    }
}

/// How text may look. The default is that of a file: no colours, of any width and height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal; `None` without one.
    pub width: Option<usize>,
    /// Its lines.
    pub height: Option<usize>,
    /// Whether it may have colours.
    pub has_colours: bool,
}

impl Style {
    /// Size and colours of the terminal at standard output; colours unless it has none or <https://no-color.org> says otherwise.
    #[must_use]
    pub fn of_output() -> Self {
        if !io::stdout().is_terminal() {
            return Self::default();
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        let is_set = |variable: &str| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            width: size.map(|size| size.ws_col.into()),
            height: size.map(|size| size.ws_row.into()),
            has_colours: !is_set("NO_COLOR") && !is_dumb,
        }
    }

    /// The text, standing out where there are colours.
    #[must_use]
    pub fn paint(self, look: Look, text: &str) -> String {
        if self.has_colours { format!("{}{text}{PLAIN}", look.code()) } else { text.to_owned() }
    }
}

/// A time, in the unit that says enough.
#[must_use]
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Writes to standard output; false when the reader of a pipe has closed it.
pub fn print(text: &str) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_text_stays_as_it_is() {
        assert_eq!(Style::default().paint(Look::Red, "down"), "down");
        let style = Style { has_colours: true, ..Style::default() };
        assert_eq!(style.paint(Look::Red, "down"), "\x1b[31mdown\x1b[0m");
    }
}
