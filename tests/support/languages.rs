//! How the book's programs are run: what they import is brought in once, in the versions that `tests/workers/` pins, into the
//! folder of what was built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::markdown::root;

/// Python, in a folder, with what was brought in.
pub fn python(folder: &Path) -> Command {
    static ENVIRONMENT: OnceLock<PathBuf> = OnceLock::new();
    let environment = ENVIRONMENT.get_or_init(|| {
        brought("python", "requirements.txt", |target| {
            run(Command::new("python3").args(["-m", "venv"]).arg(target));
            let pip = target.join("bin/pip");
            run(Command::new(pip).args(["install", "--quiet", "-r"]).arg(pinned("requirements.txt")));
        })
    });
    let mut command = Command::new(environment.join("bin/python"));
    command.current_dir(folder);
    command
}

/// Node, the same.
pub fn node(folder: &Path) -> Command {
    static MODULES: OnceLock<PathBuf> = OnceLock::new();
    let modules = MODULES.get_or_init(|| {
        brought("node", "package-lock.json", |target| {
            for file in ["package.json", "package-lock.json"] {
                std::fs::copy(pinned(file), target.join(file)).expect("a copy");
            }
            let words = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
            run(Command::new("npm").args(words).current_dir(target));
        })
    });
    // Where an import looks for what it does not find beside the file.
    let link = folder.join("node_modules");
    std::os::unix::fs::symlink(modules.join("node_modules"), &link).or_else(already_there).expect("a link");
    let mut command = Command::new("node");
    command.current_dir(folder);
    command
}

fn already_there(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    }
}

fn pinned(file: &str) -> PathBuf {
    root().join("tests/workers").join(file)
}

/// The folder of this name, filled anew where what is pinned has changed since.
fn brought(name: &str, lock: &str, bring: impl Fn(&Path)) -> PathBuf {
    // Cargo names the folder to tests alone; an example brings nothing.
    let folder = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let target = folder.join("workers").join(name);
    let pinned = std::fs::read(pinned(lock)).expect("what is pinned");
    let mark = target.join("brought");
    if std::fs::read(&mark).ok().as_ref() != Some(&pinned) {
        let _ = std::fs::remove_dir_all(&target);
        std::fs::create_dir_all(&target).expect("a folder");
        bring(&target);
        std::fs::write(&mark, &pinned).expect("the mark");
    }
    target
}

#[track_caller]
fn run(command: &mut Command) {
    let hint = "the book's programs need python3 with venv, node with npm (`scripts/setup.sh test` installs them), and the network";
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {hint}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}\n{}\n{hint}", output.status, String::from_utf8_lossy(&said));
}
