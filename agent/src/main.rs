//! Netcause: a node agent that finds out why the network is slow or failing.
//!
//! The modules stand in the order in which data flows: kernel → ingest → enrich → aggregate → expose.

mod app;
mod check;
mod cli;
mod client;
mod config;
mod edges;
mod expose;
mod kernel;
mod otlp;
mod probe;
mod record;
mod sources;
mod status;
mod telemetry;
mod terminal;
mod web;
mod why;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, FromArgMatches as _};

use app::AppError;
use cli::{AgentArguments, Cli, Command};
use config::Config;
use kernel::LoadError;

/// Exit codes, after sysexits(3).
mod exit {
    pub const OTHER: u8 = 1;
    /// Of `netcause why`.
    pub const FOUND: u8 = 2;
    /// Of `netcause status`.
    pub const IMPAIRED: u8 = 2;
    pub const USAGE: u8 = 64;
    pub const UNAVAILABLE: u8 = 69;
    pub const NOT_PERMITTED: u8 = 77;
}

fn main() -> ExitCode {
    let parsed =
        cli::command().try_get_matches_from(cli::arguments(std::env::args_os())).and_then(|matches| {
            let cli = Cli::from_arg_matches(&matches)?;
            Ok((cli, matches))
        });
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // The reader of a pipe may have closed it.
            let _ = error.print();
            if let Some(variable) = cli::blamed_variable(&error) {
                telemetry::say(format_args!("\nThe value comes from the environment variable {variable}."));
            }
            let is_wanted = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if is_wanted { ExitCode::SUCCESS } else { ExitCode::from(exit::USAGE) };
        }
    };
    match cli.command {
        Command::Agent(arguments) => agent(*arguments, &matches),
        Command::Edges(arguments) => match edges::run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(exit::UNAVAILABLE, &error),
        },
        Command::Why(arguments) => match why::run(&arguments) {
            Ok(true) => ExitCode::from(exit::FOUND),
            Ok(false) => ExitCode::SUCCESS,
            Err(error) => fail(exit::OTHER, &error),
        },
        Command::Status(arguments) => match status::run(&arguments) {
            Ok(true) => ExitCode::from(exit::IMPAIRED),
            Ok(false) => ExitCode::SUCCESS,
            Err(error) => fail(exit::OTHER, &error),
        },
        Command::Record(command) => match record::run(&command) {
            Ok(text) => {
                terminal::print(&text);
                ExitCode::SUCCESS
            }
            Err(error) => fail(exit::OTHER, &error),
        },
        Command::Check(arguments) => match check::run(arguments.output) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(exit::UNAVAILABLE),
            Err(error) => fail(load_code(&error), &error),
        },
    }
}

fn agent(arguments: AgentArguments, matches: &ArgMatches) -> ExitCode {
    let AgentArguments { config: file, print_config, settings } = arguments;
    let config = match Config::load(file.as_deref(), settings, |setting| cli::origin(matches, setting)) {
        Ok(config) => config,
        Err(error) => return fail(exit::USAGE, &error),
    };
    if print_config {
        return match serde_saphyr::to_string(&config) {
            Ok(text) => {
                let _ = io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Err(error) => fail(exit::OTHER, &error),
        };
    }
    if let Err(error) = telemetry::start(&config.log, config.log_format) {
        return fail(exit::USAGE, &error);
    }
    match app::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(AppError::Load(error)) => fail(load_code(&error), &error),
        Err(error @ (AppError::Names(_) | AppError::Web(_) | AppError::Otlp(_))) => fail(exit::USAGE, &error),
        Err(error @ AppError::NoProbe) => fail(exit::UNAVAILABLE, &error),
        Err(AppError::Other(error)) => fail(exit::OTHER, &format_args!("{error:#}")),
    }
}

fn load_code(error: &LoadError) -> u8 {
    match error {
        LoadError::NotBuilt => exit::OTHER,
        LoadError::NotPermitted(_) => exit::NOT_PERMITTED,
        LoadError::Btf(_) | LoadError::Object(_) => exit::UNAVAILABLE,
    }
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    telemetry::say(format_args!("netcause: {error}"));
    ExitCode::from(code)
}
