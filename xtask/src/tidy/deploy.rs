//! What `deploy/` says elsewhere too: metrics, settings, permissions, paths and ports.

mod dashboard;
mod kubernetes;

use serde_json::Value;

use super::{Broken, Files};
use crate::image;

pub(super) use dashboard::dashboards;
pub(super) use kubernetes::{agents, permissions};

const CONTAINERFILE: &str = "deploy/Containerfile";

/// The image is what `cargo xtask image` puts together, started where it puts it, as the user of the manifest.
pub(super) fn image(files: &Files) -> Vec<Broken> {
    let Some(text) = files.get(CONTAINERFILE) else {
        return vec![Broken::new(CONTAINERFILE, 0, "there is no such file")];
    };
    let said: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty() && !line.starts_with("EXPOSE "))
        .collect();
    let wanted = [
        "FROM scratch".to_owned(),
        "COPY rootfs/ /".to_owned(),
        "USER 0:0".to_owned(),
        format!("ENTRYPOINT [\"{}\"]", image::PROGRAM),
        "CMD [\"agent\"]".to_owned(),
    ];
    if said == wanted {
        return Vec::new();
    }
    vec![Broken::new(CONTAINERFILE, 0, format!("says {said:?}, and not {wanted:?}"))]
}

/// The objects in a file of YAML.
fn objects(files: &Files, path: &str) -> Result<Vec<Value>, Broken> {
    let text = files.get(path).ok_or_else(|| Broken::new(path, 0, "there is no such file"))?;
    serde_saphyr::from_multiple(text).map_err(|error| Broken::new(path, 0, error.to_string()))
}

/// The text at a place in an object.
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
