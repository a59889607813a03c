//! The `log` crate's records, written to the server's log. Works from every thread.

use log::{LevelFilter, Log, Metadata, Record};

use super::context::{write_log, Level};

struct ServerLog;

impl Log for ServerLog {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("bear") || metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            let level = match record.level() {
                log::Level::Error | log::Level::Warn => Level::Warning,
                log::Level::Info => Level::Notice,
                log::Level::Debug | log::Level::Trace => Level::Debug,
            };
            write_log(std::ptr::null_mut(), level, &format!("<bear> {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Sends `log` records to the server's log; a second load in one process finds it installed already.
pub fn install_logger() {
    if log::set_logger(&ServerLog).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}
