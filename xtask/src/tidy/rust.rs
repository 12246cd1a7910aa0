//! Habits of Rust source: length, seams, where unsafe may be.

use super::{Broken, Files};

/// Longer files are usually two ideas; said, and no failure.
const LONG: usize = 400;
/// Longer files fail.
const TOO_LONG: usize = 500;

/// Where the agent may name `aya`: everything else works on plain types.
const AYA: &[&str] = &["agent/src/kernel"];
/// Where `unsafe` may be. Each block still proves itself to clippy.
const UNSAFE: &[&str] = &["agent-ebpf/", "agent-common/src/", "agent/src/kernel", "tests/"];

/// Files that are long.
pub(super) fn long(files: &Files) -> Vec<Broken> {
    by_length(files, LONG, TOO_LONG)
}

/// Files that are too long.
pub(super) fn too_long(files: &Files) -> Vec<Broken> {
    by_length(files, TOO_LONG, usize::MAX)
}

fn by_length(files: &Files, above: usize, to: usize) -> Vec<Broken> {
    let length = |(path, text): (&String, &String)| {
        let lines = text.lines().count();
        (lines > above && lines <= to)
            .then(|| Broken::new(path, 0, format!("{lines} lines: about {LONG} are enough for one idea")))
    };
    sources(files).filter_map(length).collect()
}

/// Only the agent's kernel side names `aya`.
pub(super) fn seams(files: &Files) -> Vec<Broken> {
    let agent = sources(files).filter(|(path, _)| path.starts_with("agent/src/"));
    let outside = agent.filter(|(path, _)| !AYA.iter().any(|place| path.starts_with(place)));
    lines(outside)
        .filter(|(_, _, code)| names(code, "aya::") || names(code, "use aya;"))
        .map(|(path, line, _)| Broken::new(path, line, format!("names aya; only {} do", AYA.join("*, "))))
        .collect()
}

/// `unsafe` has an address.
pub(super) fn unsafe_places(files: &Files) -> Vec<Broken> {
    let outside = sources(files).filter(|(path, _)| !UNSAFE.iter().any(|place| path.starts_with(place)));
    let is_unsafe = |code: &str| {
        ["{", "fn", "impl", "extern", "trait"].iter().any(|what| names(code, &["unsafe", what].join(" ")))
    };
    lines(outside)
        .filter(|(_, _, code)| is_unsafe(code))
        .map(|(path, line, _)| Broken::new(path, line, format!("unsafe is only in {}", UNSAFE.join(", "))))
        .collect()
}

fn sources(files: &Files) -> impl Iterator<Item = (&String, &String)> {
    files.iter().filter(|(path, _)| path.ends_with(".rs"))
}

/// Path, line number and code of each line that is not a comment.
fn lines<'a>(
    files: impl Iterator<Item = (&'a String, &'a String)>,
) -> impl Iterator<Item = (&'a str, usize, &'a str)> {
    files.flat_map(|(path, text)| {
        let code = |(number, line): (usize, &'a str)| {
            let code = line.split("//").next().unwrap_or_default();
            (path.as_str(), number + 1, code)
        };
        text.lines().enumerate().map(code)
    })
}

/// Whether a line has this text, and not as the end of a longer name or in a string.
fn names(code: &str, what: &str) -> bool {
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
    fn aya_stays_behind_its_seam() {
        let source = "// aya::Ebpf\nuse aya::Ebpf;\nuse my_aya::X;\nlet s = \"aya::\";\n";
        assert_eq!(seams(&file("agent/src/expose.rs", source)).len(), 1);
        assert!(seams(&file("agent/src/kernel/load.rs", source)).is_empty());
        assert!(seams(&file("tests/src/main.rs", source)).is_empty());
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
