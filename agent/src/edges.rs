//! `netcause edges`: what a running agent sees between workloads right now, on a terminal.

mod table;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use crate::cli::{EdgesArguments, EdgesOutput};
use crate::client::{Client, ClientError};
use crate::expose::edges::{Answer, Query};
use crate::terminal::{self, Style};
use table::table;

/// How often `--watch` asks.
const INTERVAL: Duration = Duration::from_secs(2);
/// Puts the cursor into the upper left corner, and clears the screen below it (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// Asks, and prints, once or again and again.
///
/// # Errors
///
/// When the agent does not answer. Once it has, `--watch` goes on and shows the error meanwhile.
pub fn run(arguments: &EdgesArguments) -> Result<(), ClientError> {
    let EdgesArguments { watch, workload, sort, window, limit, url, access, output } = arguments;
    let client = Client::new(url, access)?;
    let query = Query { window: *window, sort: *sort, workload: workload.clone(), limit: *limit };
    let style = Style::of_output();
    // Once, it may be longer than the screen.
    let style = Style { height: style.height.filter(|_| *watch), ..style };
    let show = |body: &str| -> Result<String, ClientError> {
        if *output == EdgesOutput::Json {
            return Ok(format!("{body}\n"));
        }
        let answer: Answer = serde_json::from_str(body).map_err(|error| client.not_an_agent(&error))?;
        Ok(table(&answer, &style))
    };
    let mut has_answered = false;
    loop {
        let shown = client.get(&format!("/api/v1/edges?{query}")).and_then(|body| show(&body));
        let text = match shown {
            Err(error) if has_answered => format!("{error}\n"),
            shown => shown?,
        };
        has_answered = true;
        let clear = if *watch && io::stdout().is_terminal() { CLEAR } else { "" };
        let is_read = terminal::print(&format!("{clear}{text}"));
        if !watch || !is_read {
            return Ok(());
        }
        std::thread::sleep(INTERVAL);
    }
}
