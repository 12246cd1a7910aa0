//! What the package says of itself (deb-control(5)).

use anyhow::Result;

use crate::{
    linked::Library,
    ship::{VERSION, architecture},
};

/// The control file.
pub(super) fn text(depends: &str, kibibytes: usize) -> Result<String> {
    Ok(format!(
        "Package: netcause\n\
         Version: {VERSION}\n\
         Architecture: {}\n\
         Maintainer: The authors of Netcause <maintainers@netcause.invalid>\n\
         Installed-Size: {kibibytes}\n\
         Depends: {depends}\n\
         Recommends: init-system-helpers\n\
         Section: net\n\
         Priority: optional\n\
         Description: node agent that says why the network is slow or failing\n \
         Counts with eBPF what the kernel knows of TCP, UDP and DNS, per pair of\n \
         workloads, and serves it as Prometheus metrics; names causes of faults with\n \
         their evidence. Needs Linux 5.10 or later with BTF.\n",
        architecture()?
    ))
}

/// The packages of the libraries, the C library in the version that the program's symbols ask for.
pub(super) fn depends(libraries: &[Library], program: &[u8]) -> String {
    let one = |library: &Library| match (library.package.as_str(), c_library(program)) {
        ("libc6", Some((major, minor))) => format!("libc6 (>= {major}.{minor})"),
        (package, _) => package.to_owned(),
    };
    libraries.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The newest version among those of the C library's symbols in a program (`GLIBC_2.34`).
fn c_library(program: &[u8]) -> Option<(u32, u32)> {
    const PREFIX: &[u8] = b"GLIBC_";
    let version = |at: usize| {
        let rest = &program[at + PREFIX.len()..];
        let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
        let mut numbers = std::str::from_utf8(&rest[..end]).ok()?.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let starts = program.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    starts.filter_map(|(at, _)| version(at)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_counts() {
        let program = b"..GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0GLIBC_";
        assert_eq!(c_library(program), Some((2, 34)));
        assert_eq!(c_library(b"nothing"), None);
        let library =
            |package: &str| Library { package: package.into(), version: "1".into(), paths: Vec::new() };
        assert_eq!(depends(&[library("libc6"), library("libgcc-s1")], program), "libc6 (>= 2.34), libgcc-s1");
    }

    /// Lines of a description begin with a space, and none is empty (deb-control(5)).
    #[test]
    fn the_control_file_is_well_formed() {
        let text = text("libc6", 7).unwrap();
        assert!(text.lines().all(|line| line.starts_with(' ') || line.contains(": ")), "{text}");
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
    }
}
