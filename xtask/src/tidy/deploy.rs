//! Lints on `deploy/`: metrics, settings, permissions, paths and ports agree with the code.

mod chart;
mod dashboard;
mod kubernetes;
mod names;
mod rules;
mod unit;

use serde_json::Value;

use super::{Files, Violation};
use crate::ship;

pub(super) use chart::chart;
pub(super) use dashboard::dashboards;
pub(super) use kubernetes::{agents, permissions};
pub(super) use rules::rules;
pub(super) use unit::unit;

const CONTAINERFILE: &str = "deploy/Containerfile";

/// The Containerfile copies what `cargo xtask image` assembles, and starts it as the manifest's user.
pub(super) fn image(files: &Files) -> Vec<Violation> {
    let Some(text) = files.get(CONTAINERFILE) else {
        return vec![Violation::new(CONTAINERFILE, 0, "this file is missing")];
    };
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty() && !line.starts_with("EXPOSE "))
        .collect();
    let wanted = [
        "FROM scratch".to_owned(),
        "COPY rootfs/ /".to_owned(),
        "USER 0:0".to_owned(),
        format!("ENTRYPOINT [\"{}\"]", ship::PROGRAM),
        "CMD [\"agent\"]".to_owned(),
    ];
    if lines == wanted {
        return Vec::new();
    }
    vec![Violation::new(CONTAINERFILE, 0, format!("has {lines:?} instead of {wanted:?}"))]
}

/// The objects in a YAML file.
fn objects(files: &Files, path: &str) -> Result<Vec<Value>, Violation> {
    let text = files.get(path).ok_or_else(|| Violation::new(path, 0, "this file is missing"))?;
    serde_saphyr::from_multiple(text).map_err(|error| Violation::new(path, 0, error.to_string()))
}

/// The text at a JSON pointer; empty where there is none.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_starts_something_else_is_found() {
        let with = |entry: &str| {
            let text = format!(
                "# x\nFROM scratch\nCOPY rootfs/ /\nUSER 0:0\nEXPOSE 1\nENTRYPOINT [\"{entry}\"]\nCMD [\"agent\"]\n"
            );
            image(&Files::from([(CONTAINERFILE.to_owned(), text)]))
        };
        assert!(with("/usr/bin/netcause").is_empty());
        assert_eq!(with("/netcause").len(), 1);
        assert_eq!(image(&Files::new()).len(), 1);
    }
}
