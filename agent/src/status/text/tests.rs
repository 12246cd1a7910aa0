use super::*;
use crate::expose::tables::tests::full;

fn impaired() -> Answer {
    Answer::new(&full())
}

fn well() -> Answer {
    let mut status = impaired();
    status.probes.retain(|probe| probe.up);
    status.node_readers.retain(|reader| reader.up);
    status.name_sources.retain(|source| source.up);
    status.lost.clear();
    Answer { impaired: Vec::new(), findings_active: 0, ..status }
}

#[test]
fn what_is_well_takes_a_line_each() {
    assert_eq!(
        answer(&well(), Style::default()),
        "netcause 0.1.0 on node-17, Linux 6.1.0-50-cloud-amd64, running for 2 h\n\
         all well\n\
         probes    1 of 1 run: tcp_state\n\
         readers   1 of 1 work: softnet\n\
         names     file up\n\
         lost      nothing\n\
         tables    series 75/10000, tcp_flows 3/16384\n\
         sweep     1.2 s ago, in 30 ms: 17 open connections\n\
         findings  none is active\n"
    );
}

#[test]
fn what_is_wrong_comes_first_with_its_reason() {
    let text = answer(&impaired(), Style::default());
    for line in [
        "impaired: probes, node_readers, name_sources, lost\n",
        "\nprobes    tcp_reset down (kernel_feature_missing): this kernel has no tracepoint x; what it counts\n          \
         1 of 2 run: tcp_state\n",
        "\nreaders   pressure down (kernel_feature_missing): /proc/pressure/cpu: no such file; no netcause_node_",
        "\nnames     api pod down (unreachable), last contact 1.5 s ago, failures: 3: the server is away\n          file up\n",
        "\n          5 events (ring), details of sockets (map), starts (skipped) (probe=tcp_reset where=ring)\n",
        " 4 log lines that could not be written\n",
        " 4 ended pairs and places under other in windows (of=edges, of=listeners, of=node, of=peer_nodes)\n",
        "\nfindings  1 active: netcause why\n",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
}

#[test]
fn a_table_that_is_nearly_full_has_a_line_of_its_own() {
    let mut status = well();
    status.tables[0].fullness.entries = 16_000;
    let text = answer(&status, Style::default());
    let lines = "tables    tcp_flows 16000/16384: 98 % full\n          series 75/10000\n";
    assert!(text.contains(lines), "{text}");
}

#[test]
fn a_terminal_is_not_left() {
    let mut status = impaired();
    status.probes[1].message = Some("a line\nand another one ".repeat(20));
    let probe = |name: &str| {
        let well = Answer::new(&full());
        let mut probe = well.probes.into_iter().next().unwrap();
        probe.probe = name.to_owned();
        probe
    };
    status.probes.extend((0..20).map(|number| probe(&format!("probe_number_{number}"))));
    let text = answer(&status, Style { width: Some(60), ..Style::default() });
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    assert!(text.contains("probe_number_19\n") && text.contains('…'), "{text}");
    assert!(!text.contains('\x1b'));
    let whole = answer(&status, Style::default());
    assert!(whole.contains("and another one a line and another one"), "{whole}");
    let coloured = answer(&status, Style { has_colours: true, ..Style::default() });
    assert!(
        coloured.contains("\x1b[31mimpaired: ") && coloured.contains("\x1b[31mtcp_reset down"),
        "{coloured}"
    );
}

#[test]
fn the_command_reads_what_the_agent_writes() {
    let body = serde_json::to_string(&impaired()).unwrap();
    let read: Answer = serde_json::from_str(&body).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), body);
}
