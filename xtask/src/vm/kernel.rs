//! Debian's cloud kernels: which are in the matrix, how they are fetched once into `target/vm/kernels/`.
//!
//! The suites that have them are not this machine's own, so apt gets a state of its own for each: sources, lists, cache.
//! The mirror is the one that this machine's apt uses.

use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{exec, tools::packages, workspace};

/// A kernel series of the matrix.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Series {
    /// Its name in the report and on the command line.
    pub name: &'static str,
    /// Debian's suites that have it.
    suites: &'static [&'static str],
    /// What follows `linux-image-` in the package's name, as an extended regular expression.
    versions: &'static str,
    /// A series that follows Debian's development: its absence is a note and no failure.
    pub optional: bool,
}

/// The matrix: the oldest supported kernel, those of Debian's stable releases, and the newest.
pub(crate) const MATRIX: &[Series] = &[
    Series {
        name: "5.10",
        suites: &["bullseye", "bullseye-security"],
        versions: r"5\.10\.[0-9].*",
        optional: false,
    },
    Series {
        name: "6.1",
        suites: &["bookworm", "bookworm-security"],
        versions: r"6\.1\.[0-9].*",
        optional: false,
    },
    Series {
        name: "6.12",
        suites: &["bookworm-backports", "bookworm-security"],
        versions: r"6\.12\.[0-9].*",
        optional: false,
    },
    Series { name: "newest", suites: &["sid"], versions: r"([7-9]|[1-9][0-9])\..*", optional: true },
];

/// A kernel on disk.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// The series' name.
    pub name: &'static str,
    /// The release, as `uname -r` prints it.
    pub release: String,
    /// The compressed kernel.
    pub image: PathBuf,
    /// The directory that holds `lib/modules/RELEASE`.
    pub tree: PathBuf,
}

/// Where a mirror keeps a suite, in the words of a sources list.
struct Mirrors {
    main: String,
    security: Option<String>,
}

impl Series {
    /// Whether `name` (`6.1`, `7.2`, `newest`) selects this series.
    pub(crate) fn is(&self, name: &str) -> bool {
        let major = name.split('.').next().and_then(|major| major.parse::<u32>().ok());
        self.name == name || (self.optional && major.is_some_and(|major| major >= 7))
    }

    /// The kernel if it was fetched before.
    pub(crate) fn cached(&self) -> Result<Option<Kernel>> {
        let tree = self.tree()?;
        let Ok(release) = fs::read_to_string(tree.join("release")) else { return Ok(None) };
        let release = release.trim().to_owned();
        let image = tree.join("vmlinuz");
        Ok(image.is_file().then_some(Kernel { name: self.name, release, image, tree }))
    }

    /// The kernel, fetched if necessary.
    ///
    /// # Errors
    ///
    /// When the mirror does not have it or cannot be reached.
    pub(crate) fn fetch(&self) -> Result<Kernel> {
        if let Some(kernel) = self.cached()? {
            return Ok(kernel);
        }
        self.download().with_context(|| format!("cannot get the kernel {}", self.name))?;
        self.cached()?.with_context(|| format!("the kernel {} was unpacked, but is incomplete", self.name))
    }

    fn tree(&self) -> Result<PathBuf> {
        Ok(workspace::vm_dir()?.join("kernels").join(self.name))
    }

    fn download(&self) -> Result<()> {
        let apt = Apt::new(self)?;
        apt.update()?;
        let image = apt.newest(self.versions)?;
        exec::say(format!("kernel {}: fetching {image}", self.name));
        let partial = self.tree()?.with_extension("partial");
        drop(fs::remove_dir_all(&partial));
        fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
        for package in std::iter::once(image.clone()).chain(apt.parts(&image)?) {
            let archive = apt.download(&package)?;
            exec::output(
                Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&partial),
                "unpacking a kernel",
            )?;
        }
        let release = image.trim_start_matches("linux-image-").to_owned();
        arrange(&partial, &release)?;
        let tree = self.tree()?;
        drop(fs::remove_dir_all(&tree));
        fs::rename(&partial, &tree)
            .with_context(|| format!("cannot move the kernel to {}", tree.display()))?;
        drop(fs::remove_dir_all(&apt.state));
        Ok(())
    }
}

/// Arranges an unpacked kernel as `vmlinuz`, `lib/modules/RELEASE` with its index, and, written last, `release`.
fn arrange(tree: &Path, release: &str) -> Result<()> {
    // Newer packages have everything below usr/.
    let find = |places: [String; 2]| {
        let found = places.iter().map(|place| tree.join(place)).find(|place| place.exists());
        found.with_context(|| format!("the package of {release} has none of {}", places.join(", ")))
    };
    let vmlinuz = find([format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz")])?;
    fs::copy(&vmlinuz, tree.join("vmlinuz")).context("cannot copy the kernel")?;
    let modules = find([format!("lib/modules/{release}"), format!("usr/lib/modules/{release}")])?;
    let place = tree.join("lib/modules").join(release);
    if modules != place {
        fs::create_dir_all(tree.join("lib/modules")).context("cannot arrange the modules")?;
        fs::rename(&modules, &place).context("cannot arrange the modules")?;
    }
    depmod(tree, release)?;
    fs::write(tree.join("release"), release).context("cannot write the kernel's release")
}

/// Writes the index of a module tree.
pub(super) fn depmod(tree: &Path, release: &str) -> Result<()> {
    let Some(depmod) = exec::find_on_path("depmod") else { bail!("depmod is not installed (package kmod)") };
    exec::output(Command::new(depmod).arg("-b").arg(tree).arg(release), "indexing the kernel's modules")
        .map(drop)
}

/// apt with a state of its own.
struct Apt {
    name: &'static str,
    state: PathBuf,
}

impl Apt {
    fn new(series: &Series) -> Result<Self> {
        let mirrors = mirrors()?;
        let state = workspace::vm_dir()?.join("apt").join(series.name);
        for directory in ["lists/partial", "cache/archives/partial", "download"] {
            let path = state.join(directory);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let mut sources = String::new();
        for suite in series.suites {
            let security = suite.ends_with("-security");
            let Some(uri) =
                (if security { mirrors.security.as_deref() } else { Some(mirrors.main.as_str()) })
            else {
                continue;
            };
            sources.push_str(&format!("deb {uri} {suite} main\n"));
        }
        let list = state.join("sources.list");
        fs::write(&list, sources).with_context(|| format!("cannot write {}", list.display()))?;
        Ok(Self { name: series.name, state })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |name: &str, value: &str| {
            command.args(["-o", &format!("{name}={value}")]);
        };
        let path = |part: &str| self.state.join(part).display().to_string();
        option("Dir::Etc::SourceList", &path("sources.list"));
        option("Dir::Etc::SourceParts", "-");
        option("Dir::State::Lists", &path("lists"));
        option("Dir::Cache", &path("cache"));
        // The lists of old suites are past their date and no longer renewed.
        option("Acquire::Check-Valid-Until", "false");
        option("Acquire::Languages", "none");
        for index in ["DEP-11", "DEP-11-icons", "DEP-11-icons-small", "DEP-11-icons-hidpi", "Contents-deb"] {
            option(&format!("Acquire::IndexTargets::deb::{index}::DefaultEnabled"), "false");
        }
        option("APT::Architecture", "amd64");
        // The user that apt switches to may have no access to this directory.
        option("APT::Sandbox::User", "root");
        option("Acquire::Retries", "3");
        command.env("LC_ALL", "C").current_dir(self.state.join("download"));
        command
    }

    fn update(&self) -> Result<()> {
        let log = self.state.join("update.log");
        let what = format!("kernel {}: reading the lists of the mirror", self.name);
        exec::quietly(self.command("apt-get").arg("update"), &what, &log)
    }

    /// The newest signed image package of these versions.
    fn newest(&self, versions: &str) -> Result<String> {
        let pattern = format!("^linux-image-{versions}-cloud-amd64$");
        let found = exec::output(
            self.command("apt-cache").args(["search", "--names-only", &pattern]),
            "searching the mirror's lists",
        )?;
        let names = found.lines().filter_map(|line| line.split_whitespace().next());
        match names.max_by(|a, b| natural(a, b)) {
            Some(name) => Ok(name.to_owned()),
            None => {
                bail!("the mirror of this machine's apt has no package like {pattern} in {}", self.sources())
            }
        }
    }

    fn sources(&self) -> String {
        fs::read_to_string(self.state.join("sources.list")).unwrap_or_default().trim().replace('\n', "; ")
    }

    /// The packages that hold the kernel and its modules where the image package itself is empty (Debian 14).
    fn parts(&self, image: &str) -> Result<Vec<String>> {
        let depends =
            exec::output(self.command("apt-cache").args(["depends", image]), "reading dependencies")?;
        let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let is_part = |name: &&str| name.starts_with("linux-binary-") || name.starts_with("linux-modules-");
        Ok(names.filter(is_part).map(str::to_owned).collect())
    }

    fn download(&self, package: &str) -> Result<PathBuf> {
        let log = self.state.join("download.log");
        let what = format!("kernel {}: downloading {package}", self.name);
        exec::quietly(self.command("apt-get").args(["download", package]), &what, &log)?;
        let directory = self.state.join("download");
        let prefix = format!("{package}_");
        let entries =
            fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
        files
            .find(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
            .with_context(|| format!("apt-get downloaded no {package}"))
    }
}

/// The mirrors that this machine's apt uses for Debian.
fn mirrors() -> Result<Mirrors> {
    if !exec::on_path("apt-get") {
        bail!(
            "the kernels of the matrix come from Debian's mirrors, and this machine has no apt-get: use --no-vm"
        );
    }
    let list = || {
        exec::output(
            Command::new("apt-get").args([
                "indextargets",
                "--format",
                "$(LABEL) $(REPO_URI) $(ORIGIN)",
                "Created-By: Packages",
            ]),
            "asking apt for its mirrors",
        )
    };
    let mut found = parse_mirrors(&list()?);
    if found.is_none() && exec::is_root() {
        // apt lists only mirrors whose package lists it has.
        packages::update()?;
        found = parse_mirrors(&list()?);
    }
    found.context(
        "apt knows no mirror of Debian here: the kernels of the matrix come from one. Run `apt-get update` first, \
         or leave the VMs out with --no-vm",
    )
}

fn parse_mirrors(listing: &str) -> Option<Mirrors> {
    let uri = |label: &str| {
        listing.lines().find_map(|line| {
            let mut words = line.split(' ');
            let found = words.next() == Some(label);
            let uri = words.next()?;
            (found && words.next() == Some("Debian")).then(|| uri.to_owned())
        })
    };
    Some(Mirrors { main: uri("Debian")?, security: uri("Debian-Security") })
}

/// Orders names with the numbers in them as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (number_a, rest_a) = leading_number(a);
        let (number_b, rest_b) = leading_number(b);
        let order = match (number_a, number_b) {
            (Some(x), Some(y)) => x.cmp(&y),
            _ => a.chars().next().cmp(&b.chars().next()),
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = if number_a.is_some() { (rest_a, rest_b) } else { (after_char(a), after_char(b)) };
    }
    a.len().cmp(&b.len())
}

fn leading_number(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    (number.parse().ok(), rest)
}

fn after_char(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_the_highest_number() {
        let mut names =
            ["6.12.117+deb12-cloud", "6.12.90+deb12.1-cloud", "6.12.9+deb12-cloud", "6.12.90+deb12-cloud"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            ["6.12.9+deb12-cloud", "6.12.90+deb12-cloud", "6.12.90+deb12.1-cloud", "6.12.117+deb12-cloud"]
        );
    }

    #[test]
    fn mirrors_are_those_of_this_machine() {
        let listing = "Other uri-0 Else\nDebian uri-1/debian/ Debian\nDebian-Security uri-2/ Debian\n";
        let mirrors = parse_mirrors(listing).unwrap();
        assert_eq!((mirrors.main.as_str(), mirrors.security.as_deref()), ("uri-1/debian/", Some("uri-2/")));
        assert!(parse_mirrors("Ubuntu uri Ubuntu\n").is_none());
    }

    #[test]
    fn a_series_is_selected_by_its_name() {
        let of = |name: &str| MATRIX.iter().find(|series| series.is(name)).map(|series| series.name);
        assert_eq!(of("6.1"), Some("6.1"));
        assert_eq!(of("6.12"), Some("6.12"));
        assert_eq!(of("7.2"), Some("newest"));
        assert_eq!(of("4.19"), None);
    }
}
