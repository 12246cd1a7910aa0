//! Recordings on disk: the agent keeps the last minutes of what its diagnosis was given, and commands read them again.
//!
//! A recording is a directory of segments, files of a few minutes each (their format: [`netcause_core::recording`]).

mod at;
mod commands;
mod directory;
mod keeper;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use at::At;
pub use directory::RecordingError;
pub use keeper::Keeper;
pub use reader::findings_at;
pub use writer::Limits;

use crate::cli::RecordCommand;

/// `netcause record`: what it says.
///
/// # Errors
///
/// When there is no recording, or a part of it cannot be read or written.
pub fn run(command: &RecordCommand) -> Result<String, RecordingError> {
    match command {
        RecordCommand::Show(arguments) => commands::show(&arguments.directory),
        RecordCommand::Trim(arguments) => commands::trim(arguments),
    }
}
