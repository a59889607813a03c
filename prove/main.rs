//! `prove [--json] CATALOG URL`: a catalog on trial. `make prove` builds and runs it.
//!
//! Environment: `MINUTES` (1; fractions are fine), `SEED` (by chance), `FEEDS` (`wal,outbox,off`), and what `tests/support` takes.
//! Exit status: 0, 1 where an answer was stale, 2 where it could not be tried.

#[path = "mod.rs"]
mod prove;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use prove::arguments::options;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let is_json = words.iter().any(|word| word == "--json");
    // Make passes what it was not told as an empty word.
    words.retain(|word| word != "--json" && !word.is_empty());
    let options = match options(&words, |name| std::env::var(name).ok()) {
        Ok(options) => options,
        Err(why) => return fail(&[why]),
    };
    choose_postgres(&options.url);
    eprintln!("seed {}", options.seed);
    // A server that does not do as it should ends this by a panic, whose message has been printed.
    let report = std::panic::catch_unwind(|| prove::prove(&options, progress()));
    match report {
        Err(_) => ExitCode::from(2),
        Ok(Err(trouble)) => fail(&trouble),
        Ok(Ok(report)) => {
            print!("{}", if is_json { report.to_json() + "\n" } else { report.to_text() });
            ExitCode::from(u8::from(report.is_stale()))
        }
    }
}

fn fail(lines: &[String]) -> ExitCode {
    lines.iter().for_each(|line| eprintln!("prove: {line}"));
    ExitCode::from(2)
}

/// The programs of the server's major version, where they are installed.
fn choose_postgres(url: &str) {
    const NAME: &str = "BEAR_TEST_POSTGRES_BIN";
    if std::env::var_os(NAME).is_some() {
        return;
    }
    let asked = std::process::Command::new("psql")
        .args(["-XAtq", "-d", url, "-c", "SHOW server_version_num"])
        .env("PGCONNECT_TIMEOUT", "10")
        .output();
    let version = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok());
    let folder = version.map(|version| format!("/usr/lib/postgresql/{}/bin", version / 10_000));
    if let Some(folder) = folder.filter(|folder| std::path::Path::new(folder).join("initdb").exists()) {
        std::env::set_var(NAME, folder);
    }
}

/// On a terminal one line that is written over; elsewhere a line now and then, so that who waits sees that it goes on.
fn progress() -> impl FnMut(&str) {
    const BETWEEN: Duration = Duration::from_secs(10);
    let is_terminal = std::io::stderr().is_terminal();
    let mut last: Option<Instant> = None;
    move |line: &str| {
        if is_terminal {
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        } else if last.is_none_or(|last| last.elapsed() > BETWEEN) || !line.contains(" s of ") {
            last = Some(Instant::now());
            eprintln!("{line}");
        }
    }
}
