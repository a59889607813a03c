//! A connection that does nothing, beside one whose statement may end it: asked afterwards, it tells whether all connections
//! ended.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::core::jobs::suspects;

use crate::postgres::connect::client::Client;
use crate::postgres::connect::session::{connect, Access, ConnectError};
use crate::postgres::connect::settings::Settings;

/// What meets all connections has met this one, too, by then.
const SETTLING: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(1);

/// SQLSTATE of what all others are told where a backend has crashed.
const CRASH_SHUTDOWN: &str = "57P02";

pub(in crate::postgres) struct Witness(Client);

impl Witness {
    pub(in crate::postgres) fn connect(settings: &Arc<Settings>) -> Result<Witness, ConnectError> {
        Ok(Witness(connect(settings, Access::ReadWrite)?.0))
    }

    /// What has become of it.
    pub(in crate::postgres) fn ask(mut self) -> suspects::Witness {
        thread::sleep(SETTLING);
        self.0.set_deadline(Instant::now() + LIMIT);
        match self.0.simple_query("SELECT 1") {
            Ok(_) => suspects::Witness::Lives,
            Err(_) if self.0.farewell() == Some(CRASH_SHUTDOWN) => suspects::Witness::Crashed,
            Err(_) => suspects::Witness::Ended,
        }
    }
}
