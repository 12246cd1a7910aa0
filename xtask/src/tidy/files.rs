//! Names of files.

use super::Broken;

/// `foo.rs` with `foo/`, never `foo/mod.rs`.
pub(super) fn names(paths: &[String]) -> Vec<Broken> {
    let is_mod = |path: &&String| path.ends_with("/mod.rs");
    let broken = |path: &String| {
        let module = path.trim_end_matches("/mod.rs");
        Broken::new(path, 0, format!("a module with parts is {module}.rs beside {module}/"))
    };
    paths.iter().filter(is_mod).map(broken).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mod_rs_is_found() {
        let broken = names(&["a/src/x/mod.rs".to_owned(), "a/src/x.rs".to_owned()]);
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].path, "a/src/x/mod.rs");
    }
}
