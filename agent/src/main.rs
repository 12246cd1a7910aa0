//! Netcause: a node agent that says why the network hurts.
//!
//! The modules stand in the order in which data flows: kernel → ingest → enrich → aggregate → expose.

mod app;
mod check;
mod cli;
mod config;
mod expose;
mod kernel;
mod probe;
mod sources;
mod telemetry;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use app::AppError;
use cli::{AgentArguments, Cli, Command};
use config::Config;
use kernel::LoadError;

/// Exit codes, after sysexits(3).
mod exit {
    pub const OTHER: u8 = 1;
    pub const USAGE: u8 = 64;
    pub const UNAVAILABLE: u8 = 69;
    pub const NOT_PERMITTED: u8 = 77;
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A reader that has gone away has seen enough.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(exit::USAGE) };
        }
    };
    match cli.command {
        Command::Agent(arguments) => agent(&arguments),
        Command::Check(arguments) => match check::run(arguments.output) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(exit::UNAVAILABLE),
            Err(error) => fail(load_code(&error), &error),
        },
    }
}

fn agent(arguments: &AgentArguments) -> ExitCode {
    let config = match Config::load(arguments) {
        Ok(config) => config,
        Err(error) => return fail(exit::USAGE, &error),
    };
    if arguments.print_config {
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
        Err(error @ AppError::Names(_)) => fail(exit::USAGE, &error),
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
    eprintln!("netcause: {error}");
    ExitCode::from(code)
}
