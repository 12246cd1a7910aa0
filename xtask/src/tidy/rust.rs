//! Lints on Rust source: length, the only user of aya, where `unsafe` may be.

use std::collections::BTreeSet;

use super::{Files, Violation};

/// Longer files are usually two ideas: a note, no violation.
const LONG: usize = 400;
/// Longer files are violations.
const TOO_LONG: usize = 500;

/// Where the agent may use `aya`; everything else works on plain types.
const AYA: &[&str] = &["agent/src/kernel"];
/// Where `unsafe` may be; clippy asks for the SAFETY comment.
const UNSAFE: &[&str] = &["agent-ebpf/", "agent-common/src/", "agent/src/kernel", "tests/"];

/// Files that are long.
pub(super) fn long(files: &Files) -> Vec<Violation> {
    by_length(files, LONG, TOO_LONG)
}

/// Files that are too long.
pub(super) fn too_long(files: &Files) -> Vec<Violation> {
    by_length(files, TOO_LONG, usize::MAX)
}

fn by_length(files: &Files, above: usize, to: usize) -> Vec<Violation> {
    let length = |(path, text): (&str, &str)| {
        let lines = text.lines().count();
        (lines > above && lines <= to).then(|| {
            Violation::new(path, 0, format!("{lines} lines: one idea takes about {LONG}, split the file"))
        })
    };
    sources(files).filter_map(length).collect()
}

/// Of the daemon only `kernel` uses `aya`.
pub(super) fn aya_users(files: &Files) -> Vec<Violation> {
    let agent = sources(files).filter(|(path, _)| path.starts_with("agent/src/"));
    let outside = agent.filter(|(path, _)| !AYA.iter().any(|place| path.starts_with(place)));
    lines(outside)
        .filter(|(_, _, code)| names(code, "aya::") || names(code, "use aya;"))
        .map(|(path, line, _)| Violation::new(path, line, format!("uses aya; only {} may", AYA.join(", "))))
        .collect()
}

/// `unsafe` is in few directories.
pub(super) fn unsafe_places(files: &Files) -> Vec<Violation> {
    let outside = sources(files).filter(|(path, _)| !UNSAFE.iter().any(|place| path.starts_with(place)));
    let is_unsafe = |code: &str| {
        ["{", "fn", "impl", "extern", "trait"].iter().any(|what| names(code, &["unsafe", what].join(" ")))
    };
    lines(outside)
        .filter(|(_, _, code)| is_unsafe(code))
        .map(|(path, line, _)| {
            Violation::new(path, line, format!("`unsafe` may only be in {}", UNSAFE.join(", ")))
        })
        .collect()
}

/// Path and text of each file of Rust.
pub(super) fn sources(files: &Files) -> impl Iterator<Item = (&str, &str)> {
    let rust = files.iter().filter(|(path, _)| path.ends_with(".rs"));
    rust.map(|(path, text)| (path.as_str(), text.as_str()))
}

/// Path and text of each file of Rust, without modules that are declared for tests only.
pub(super) fn without_tests(files: &Files) -> impl Iterator<Item = (&str, &str)> {
    let tests: BTreeSet<String> = sources(files).flat_map(|(path, text)| test_modules(path, text)).collect();
    let is_test = move |path: &str| tests.iter().any(|module| is_in(path, module));
    let code = sources(files).filter(move |(path, _)| !is_test(path));
    code.map(|(path, text)| (path, before_tests(text)))
}

/// The paths, without `.rs`, of the modules that a file declares for tests only.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let file = path.trim_end_matches(".rs");
    let directory = ["/lib", "/main"].iter().find_map(|root| file.strip_suffix(root)).unwrap_or(file);
    let lines = text.lines().map(str::trim);
    lines
        .clone()
        .zip(lines.skip(1))
        .filter(|(attribute, _)| *attribute == "#[cfg(test)]")
        .filter_map(|(_, line)| line.strip_suffix(';')?.split_once("mod "))
        .map(|(_, name)| format!("{directory}/{name}"))
        .collect()
}

/// Whether a file is this module or below it.
fn is_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// A file without its inline test module, which stands at the end.
fn before_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod tests {").map_or(text, |end| &text[..end])
}

/// Path, line number and code of each line that is not a comment.
pub(super) fn lines<'a>(
    files: impl Iterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = (&'a str, usize, &'a str)> {
    files.flat_map(|(path, text)| {
        let code = move |(number, line): (usize, &'a str)| {
            (path, number + 1, line.split("//").next().unwrap_or_default())
        };
        text.lines().enumerate().map(code)
    })
}

/// Whether a line has this text, and not as the end of a longer name or in a string.
pub(super) fn names(code: &str, what: &str) -> bool {
    code.match_indices(what).any(|(at, _)| {
        let before = &code[..at];
        let in_string = before.matches('"').count() % 2 == 1;
        let in_name = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        !in_string && !in_name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Files {
        Files::from([(path.to_owned(), text.to_owned())])
    }

    #[test]
    fn only_the_kernel_module_uses_aya() {
        let source = "// aya::Ebpf\nuse aya::Ebpf;\nuse my_aya::X;\nlet s = \"aya::\";\n";
        assert_eq!(aya_users(&file("agent/src/expose.rs", source)).len(), 1);
        assert!(aya_users(&file("agent/src/kernel/load.rs", source)).is_empty());
        assert!(aya_users(&file("tests/src/main.rs", source)).is_empty());
    }

    #[test]
    fn unsafe_stays_in_its_places() {
        let source = "#[expect(unsafe_code)]\nunsafe { f() }\n";
        assert_eq!(unsafe_places(&file("xtask/src/x.rs", source))[0].line, 2);
        assert!(unsafe_places(&file("agent/src/kernel.rs", source)).is_empty());
    }

    #[test]
    fn length_has_two_limits() {
        assert_eq!(long(&file("a.rs", &"x\n".repeat(450))).len(), 1);
        assert!(too_long(&file("a.rs", &"x\n".repeat(450))).is_empty());
        assert_eq!(too_long(&file("a.rs", &"x\n".repeat(501))).len(), 1);
    }
}
