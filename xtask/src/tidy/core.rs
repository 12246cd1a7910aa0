//! `agent/core` is pure: no clock, no file, no socket, no process, no thread, no runtime.

use super::{Files, Violation, rust};

const SOURCES: &str = "agent/core/src/";
const MANIFEST: &str = "agent/core/Cargo.toml";

/// What no code of the core may use; its tests may.
const OUTSIDE: &[&str] = &[
    "fs::",
    "process::",
    "thread::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Instant::now",
    "SystemTime",
    "tokio::",
    "aya::",
    "clap::",
    "hyper::",
    "kube::",
];

/// Crates that bring a runtime, a kernel interface or a command line.
const CRATES: &[&str] = &["aya", "clap", "hyper", "kube", "tokio"];

/// Nothing in the core reads the outside world: it gets the time and every input as arguments.
pub(super) fn is_pure(files: &Files) -> Vec<Violation> {
    let core = rust::without_tests(files).filter(|(path, _)| path.starts_with(SOURCES));
    rust::lines(core)
        .filter_map(|(path, line, code)| {
            let found = OUTSIDE.iter().find(|what| rust::names(code, what))?;
            let what = format!("uses `{found}`: the core gets the time and every input as arguments");
            Some(Violation::new(path, line, what))
        })
        .collect()
}

/// The core depends on no crate of [`CRATES`].
pub(super) fn has_no_runtime(files: &Files) -> Vec<Violation> {
    let manifest = files.get(MANIFEST).map_or("", String::as_str);
    let name = |line: &str| line.split(['.', ' ', '=']).next().is_some_and(|name| CRATES.contains(&name));
    let lines = (1..).zip(manifest.lines()).filter(|(_, line)| name(line));
    lines
        .map(|(number, line)| Violation::new(MANIFEST, number, format!("the core may not use `{line}`")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn reading_the_outside_world_is_found() {
        for code in
            ["use std::fs::File;", "let now = Instant::now();", "std::thread::spawn(f);", "use tokio::sync;"]
        {
            let violations = is_pure(&files(&[("agent/core/src/a.rs", &format!("// fs::\n{code}\n"))]));
            assert_eq!(violations.len(), 1, "{code}");
            assert_eq!(violations[0].line, 2);
            assert!(is_pure(&files(&[("agent/src/a.rs", code)])).is_empty());
        }
        assert!(is_pure(&files(&[("agent/core/src/a.rs", "use my_fs::x;\nlet now: Instant;\n")])).is_empty());
    }

    #[test]
    fn tests_may_do_it() {
        let inline = "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n    fs::read(x);\n}\n";
        assert!(is_pure(&files(&[("agent/core/src/a.rs", inline)])).is_empty());
        let apart = [
            ("agent/core/src/lib.rs", "#[cfg(test)]\npub(super) mod t;\n"),
            ("agent/core/src/t.rs", "fs::read(x);\n"),
            ("agent/core/src/t/u.rs", "fs::read(x);\n"),
            ("agent/core/src/tt.rs", "fs::read(x);\n"),
        ];
        let paths: Vec<String> =
            is_pure(&files(&apart)).into_iter().map(|violation| violation.path).collect();
        assert_eq!(paths, ["agent/core/src/tt.rs"]);
    }

    #[test]
    fn a_runtime_is_found_among_the_dependencies() {
        let manifest =
            "[dependencies]\nserde.workspace = true\ntokio.workspace = true\nkube = { version = \"1\" }\n";
        let lines: Vec<usize> = has_no_runtime(&files(&[(MANIFEST, manifest)]))
            .into_iter()
            .map(|violation| violation.line)
            .collect();
        assert_eq!(lines, [3, 4]);
        assert!(has_no_runtime(&files(&[(MANIFEST, "tokio-less = 1\n")])).is_empty());
    }
}
