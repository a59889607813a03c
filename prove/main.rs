//! `prove [--json] CATALOG URL`: a catalog on trial. `make prove` builds and runs it.
//!
//! Environment: `MINUTES` (1; fractions are fine), `SEED` (by chance), `FEEDS` (`wal,outbox,off`), and what `tests/support` takes.
//! Exit status: 0, 1 where an answer was stale, 2 where it could not be tried.

#[path = "mod.rs"]
mod prove;
#[path = "../tests/support/mod.rs"]
mod support;

use std::any::Any;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prove::arguments::options;
use support::server::QUIET;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let is_json = words.iter().any(|word| word == "--json");
    // Make passes what it was not told as an empty word.
    words.retain(|word| word != "--json" && !word.is_empty());
    let options = match options(&words, |name| std::env::var(name).ok()) {
        Ok(options) => options,
        Err(why) => return fail(&[why]),
    };
    eprintln!("seed {}", options.seed);
    // What starts the servers panics where one of them does not do as it should.
    std::panic::set_hook(Box::new(|panic| note(panic.payload())));
    QUIET.store(true, Ordering::Relaxed);
    let report = std::panic::catch_unwind(|| prove::prove(&options, progress()));
    match report {
        Err(_) => fail(&broken_off()),
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

/// What the first panic said: those that follow come of it.
static SAID: Mutex<Option<String>> = Mutex::new(None);

fn note(payload: &dyn Any) {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    said.get_or_insert_with(|| text.unwrap_or("nobody knows why").to_owned());
}

fn broken_off() -> Vec<String> {
    const LINES: usize = 12;
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
    let head = "it broke off: a server that it had started did not do as it should (was it killed, is a disk full?)";
    std::iter::once(head.to_owned()).chain(said.lines().take(LINES).map(str::to_owned)).collect()
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
