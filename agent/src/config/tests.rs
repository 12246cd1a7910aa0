use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use clap::{Arg, Args as _, Command, FromArgMatches as _};
use netcause_common::limits;

use super::*;

static FILES: AtomicU32 = AtomicU32::new(0);

/// The flags of all settings, as in the command line.
fn flags() -> Command {
    Settings::augment_args(Command::new("test")).mut_args(with_details)
}

fn parse(arguments: &[&str]) -> Settings {
    let matches = flags().no_binary_name(true).get_matches_from(arguments);
    Settings::from_arg_matches(&matches).unwrap()
}

fn load(text: &str, arguments: &[&str]) -> Result<Config, ConfigError> {
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("netcause-config-{}-{number}.yaml", std::process::id()));
    fs::write(&path, text).unwrap();
    let result = Config::load(Some(&path), parse(arguments), |_| None);
    fs::remove_file(path).unwrap();
    result
}

fn complaint(text: &str) -> String {
    load(text, &[]).unwrap_err().to_string()
}

/// A value for a setting that is allowed and not the default.
fn other_value(setting: &Arg) -> String {
    // Of each type one, and some that YAML reads as something else unless they are quoted.
    let some = ["true", "3", "8192", "192.0.2.0/24,2001:db8::/32", "127.0.0.1:1", "a: b # c"];
    let possible = setting.get_possible_values();
    let possible = possible.iter().map(|value| value.get_name());
    let name = setting.get_id().as_str();
    let default = Config::default().values()[name].clone();
    let is_other = |value: &&str| {
        let flag = format!("{}={value}", flag(name));
        let Ok(matches) = flags().no_binary_name(true).try_get_matches_from([flag]) else { return false };
        let config = Config::merge(Settings::from_arg_matches(&matches).unwrap(), Settings::default());
        config.find_problem().is_none() && config.values()[name] != default
    };
    let value = possible.chain(some).find(is_other).map(str::to_owned);
    value.unwrap_or_else(|| panic!("the list above needs a value for {name}"))
}

#[test]
fn every_setting_has_help_a_flag_a_variable_and_a_key() {
    let settings: Vec<Arg> = flags().get_arguments().cloned().collect();
    let names: Vec<&str> = settings.iter().map(|setting| setting.get_id().as_str()).collect();
    let values = Config::default().values();
    assert_eq!(names.len(), values.len());
    for setting in &settings {
        let name = setting.get_id().as_str();
        assert!(values.contains_key(name), "{name}");
        assert!(setting.get_help().is_some_and(|help| help.to_string().len() > 20), "{name} lacks help");
        assert_eq!(setting.get_long().map(|long| format!("--{long}")), Some(flag(name)));
        assert_eq!(setting.get_env().and_then(|name| name.to_str()), Some(variable(name).as_str()));
        assert!(setting.get_value_names().is_some_and(|names| names[0] != *name.to_uppercase()), "{name}");
        assert!(setting.get_help_heading().is_some(), "{name}");
    }
}

#[test]
fn defaults_are_allowed() {
    assert_eq!(Config::default().find_problem(), None);
}

#[test]
fn former_names_are_not_names_of_today_and_their_successors_are() {
    let values = Config::default().values();
    for (old, new) in settings::RENAMED {
        assert!(!values.contains_key(old), "{old}");
        assert!(values.contains_key(new), "{new}");
    }
}

#[test]
fn flags_are_stronger_than_the_file_and_the_file_than_defaults() {
    let config = load("max_tcp_flows: 50\nmax_sockets: 60\n", &["--max-tcp-flows=100"]).unwrap();
    assert_eq!((config.max_tcp_flows, config.max_sockets), (100, 60));
    assert_eq!(config.event_ring_bytes, Config::default().event_ring_bytes);
}

#[test]
fn unknown_keys_and_values_that_are_not_allowed_are_named() {
    assert!(complaint("max_flow: 50\n").contains("max_flow"));
    assert!(complaint("max_tcp_flows: many\n").contains("many"));
    assert!(
        complaint("max_tcp_flows: 0\n").starts_with("max_tcp_flows: 0 is not between 3 and 4194304 (in the")
    );
    assert!(complaint("event_ring_bytes: 5000\n").contains("4096 and 8192"));
    assert!(complaint("sweep_cpu_percent: 0\n").starts_with("sweep_cpu_percent: 0.0 is not above 0"));
    assert!(complaint("dns_ports: [53, 0]\n").starts_with("dns_ports: 53,0 has a port 0"));
    assert!(complaint("log: 'netcause=loud'\n").starts_with("log: `netcause=loud`"));
    assert!(complaint("- a\n- b\n").contains("configuration file"));
    let networks = "10.0.0.0/8, ".repeat(limits::NETWORKS as usize + 1);
    let problem = complaint(&format!("known_networks: [{networks}]\n"));
    assert!(problem.starts_with("known_networks: a list of 1025 is longer than"), "{problem}");
}

#[test]
fn former_names_are_refused_with_their_successor() {
    let problem = complaint("older_connections: rest\n");
    assert!(
        problem.starts_with("older_connections is now called preexisting_connections (in the"),
        "{problem}"
    );
}

#[test]
fn a_value_is_traced_to_where_it_was_given() {
    let origin = |_: &str| Some(Origin::Flag("--max-sockets".to_owned()));
    let error = Config::load(None, parse(&["--max-sockets=0"]), origin).unwrap_err();
    let text = error.to_string();
    assert_eq!(text, "max_sockets: 0 is not between 1 and 16777216 (from the flag --max-sockets)");
}

#[test]
fn an_empty_file_is_the_defaults_but_for_the_host_name() {
    let config = load("# nothing\n\n", &[]).unwrap();
    assert_eq!(config, Config { node_name: Some(host_name()), ..Config::default() });
}

#[test]
fn the_printed_settings_are_a_file_with_the_same_result() {
    let others = flags()
        .get_arguments()
        .map(|setting| format!("{}={}", flag(setting.get_id().as_str()), other_value(setting)))
        .collect::<Vec<String>>();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    for arguments in [&[][..], &others] {
        let config = load("", arguments).unwrap();
        let printed = serde_saphyr::to_string(&config).unwrap();
        assert_eq!(load(&printed, &[]).unwrap(), config, "{printed}");
    }
    let (defaults, changed) = (Config::default().values(), load("", &others).unwrap().values());
    assert!(changed.iter().all(|(name, value)| defaults[name] != *value));
}

/// docs/config.md, as it follows from the settings.
fn reference() -> String {
    let mut text = String::from(
        "# Configuration\n\nMade by `cargo xtask docs` from `agent/src/config/settings.rs`.\n\n\
         Each setting has a key in the configuration file (YAML), an environment variable and a flag. Flags override the \
         environment, which overrides the file. `--config FILE` or `NETCAUSE_CONFIG` names the file.\n\n\
         `netcause agent --print-config` prints the resulting settings as a configuration file. Unknown keys and values \
         that are not allowed are errors with exit code 64; the message names the key, the value, what is allowed, and \
         where the value was given.\n",
    );
    let (values, mut section) = (Config::default().values(), String::new());
    for setting in Settings::augment_args(Command::new("docs")).get_arguments() {
        let name = setting.get_id().as_str();
        let heading = setting.get_help_heading().unwrap();
        if section != heading {
            write!(text, "\n## {heading}\n\n| key | environment, flag | default | allowed | meaning |\n")
                .unwrap();
            text.push_str("|---|---|---|---|---|\n");
            heading.clone_into(&mut section);
        }
        let code = |text: String| format!("`{text}`");
        let default = help::text(&values[name]).map(code).unwrap_or_default();
        let names = setting.get_possible_values();
        let allowed = match settings::allowed(name) {
            Some(allowed) => allowed,
            None if !names.is_empty() => {
                names.iter().map(|value| format!("`{}`", value.get_name())).collect::<Vec<_>>().join(", ")
            }
            None => setting.get_value_names().unwrap()[0].to_string(),
        };
        let help = setting.get_help().unwrap().to_string().replace('\n', " ");
        let (variable, flag) = (variable(name), flag(name));
        writeln!(text, "| `{name}` | `{variable}` `{flag}` | {default} | {allowed} | {help} |").unwrap();
    }
    text
}

#[test]
fn docs_config_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
    if env::var_os("NETCAUSE_BLESS").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference(), "docs/config.md is not what the settings say: run `cargo xtask docs`");
}
