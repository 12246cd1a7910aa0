use super::*;

fn load(text: &str, arguments: AgentArguments) -> Result<Config, ConfigError> {
    let name = format!("netcause-config-{}-{:?}.yaml", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, text).unwrap();
    let result = Config::load(&AgentArguments { config: Some(path.clone()), ..arguments });
    fs::remove_file(path).unwrap();
    result
}

fn complaint(text: &str) -> String {
    load(text, AgentArguments::default()).unwrap_err().to_string()
}

#[test]
fn flags_are_stronger_than_the_file_and_the_file_than_defaults() {
    let arguments = AgentArguments { max_flows: Some(100), ..Default::default() };
    let config = load("max_flows: 50\nmax_sockets: 60\n", arguments).unwrap();
    assert_eq!((config.max_flows, config.max_sockets), (100, 60));
    assert_eq!(config.event_ring_bytes, limits::DEFAULT_EVENT_RING_BYTES);
}

#[test]
fn unknown_keys_and_impossible_values_are_named() {
    assert!(complaint("max_flow: 50\n").contains("max_flow"));
    assert!(complaint("max_flows: many\n").contains("many"), "{}", complaint("max_flows: many\n"));
    assert!(complaint("max_flows: 0\n").starts_with("max_flows: 0 is not between"));
    assert!(complaint("event_ring_bytes: 5000\n").contains("4096 and 8192"));
    assert!(complaint("log: 'netcause=loud'\n").starts_with("log: `netcause=loud`"));
    assert!(complaint("- a\n- b\n").contains("configuration file"));
}

#[test]
fn an_empty_file_is_the_defaults_and_the_printed_config_reads_back() {
    let config = load("# nothing\n\n", AgentArguments::default()).unwrap();
    let printed = serde_saphyr::to_string(&config).unwrap();
    assert_eq!(load(&printed, AgentArguments::default()).unwrap(), config);
}
