//! Lints on files: their names, and those that every visitor looks for.

use super::{Files, Violation};

const LICENSE: &str = "LICENSE";
/// The length of the Apache License 2.0 as its authors publish it, in bytes.
const LICENSE_BYTES: usize = 11_358;
/// Passages of it: its name, its last section, the end of its terms.
const LICENSE_PASSAGES: [&str; 3] = [
    "Apache License\n                           Version 2.0, January 2004",
    "9. Accepting Warranty or Additional Liability.",
    "END OF TERMS AND CONDITIONS",
];
const SECURITY: &str = "SECURITY.md";

/// `foo.rs` with `foo/`, never `foo/mod.rs`.
pub(super) fn names(paths: &[String]) -> Vec<Violation> {
    let is_mod = |path: &&String| path.ends_with("/mod.rs");
    let violation = |path: &String| {
        let module = path.trim_end_matches("/mod.rs");
        Violation::new(path, 0, format!("rename it: a module with submodules is {module}.rs and {module}/"))
    };
    paths.iter().filter(is_mod).map(violation).collect()
}

/// LICENSE is the Apache License 2.0, as the manifests say, and SECURITY.md exists.
pub(super) fn documents(files: &Files) -> Vec<Violation> {
    let mut violations = Vec::new();
    let license = files.get(LICENSE).map_or("", String::as_str);
    if license.len() != LICENSE_BYTES || !LICENSE_PASSAGES.iter().all(|passage| license.contains(passage)) {
        violations.push(Violation::new(LICENSE, 0, "is not the text of the Apache License 2.0"));
    }
    if !files.contains_key(SECURITY) {
        violations.push(Violation::new(SECURITY, 0, "this file is missing"));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_license_is_found() {
        let license = std::fs::read_to_string(crate::workspace::root().unwrap().join(LICENSE)).unwrap();
        let with = |license: &str| {
            let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
            documents(&Files::from([file(LICENSE, license), file(SECURITY, "x")]))
        };
        assert!(with(&license).is_empty());
        assert_eq!(with(&license.replace("2.0, January", "2.1, January")).len(), 1);
        assert_eq!(with(&license[1..]).len(), 1);
        assert_eq!(documents(&Files::new()).len(), 2);
    }

    #[test]
    fn mod_rs_is_found() {
        let violations = names(&["a/src/x/mod.rs".to_owned(), "a/src/x.rs".to_owned()]);
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].path, "a/src/x/mod.rs");
    }
}
