//! What a server wrote to its append-only file: commands, and the units that MULTI and EXEC make of them.

use std::fmt;
use std::io;
use std::path::Path;

use super::wire::{read_reply, Reply};

/// One command as it was written or replicated.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Command(pub Vec<Vec<u8>>);

impl Command {
    /// In capitals.
    pub fn name(&self) -> String {
        self.text(0).to_ascii_uppercase()
    }

    /// An argument, bytes that are no UTF-8 replaced; empty where there is none.
    pub fn text(&self, index: usize) -> String {
        self.0.get(index).map(|arg| String::from_utf8_lossy(arg).into_owned()).unwrap_or_default()
    }

    /// The arguments after the name.
    pub fn args(&self) -> &[Vec<u8>] {
        self.0.get(1..).unwrap_or_default()
    }

    pub(crate) fn from_reply(reply: Reply) -> io::Result<Command> {
        match reply {
            Reply::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Reply::Bulk(bytes) => Ok(bytes),
                    other => Err(io::Error::other(format!("not an argument: {other:?}"))),
                })
                .collect::<io::Result<_>>()
                .map(Command),
            other => Err(io::Error::other(format!("not a command: {other:?}"))),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.0.iter().enumerate() {
            let blank = if index == 0 { "" } else { " " };
            write!(f, "{blank}{}", arg.escape_ascii())?;
        }
        Ok(())
    }
}

/// Commands that take effect together: what stood between MULTI and EXEC, or one command alone.
pub type Unit = Vec<Command>;

/// Groups commands into units; SELECT, which only precedes others, is left out.
pub fn units(commands: impl IntoIterator<Item = Command>) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut open: Option<Unit> = None;
    for command in commands {
        match (command.name().as_str(), &mut open) {
            ("MULTI", _) => open = Some(Unit::new()),
            ("EXEC", _) => units.extend(open.take()),
            ("SELECT", _) => {}
            (_, Some(unit)) => unit.push(command),
            (_, None) => units.push(vec![command]),
        }
    }
    assert!(open.is_none(), "MULTI without EXEC: {open:?}");
    units
}

/// The commands of the append-only files that the manifest in `folder` names, oldest first.
pub fn read(folder: &Path) -> Vec<Command> {
    let manifest = std::fs::read_to_string(folder.join("appendonly.aof.manifest")).expect("an AOF manifest");
    let mut commands = Vec::new();
    for line in manifest.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let ["file", file, "seq", _, "type", kind, ..] = fields[..] else { panic!("manifest line {line:?}") };
        if kind == "h" {
            continue; // history, to be removed
        }
        let bytes = std::fs::read(folder.join(file)).expect("a file that the manifest names");
        commands.extend(parse(&bytes).unwrap_or_else(|error| panic!("{file}: {error}")));
    }
    commands
}

/// The commands of one file; a command that is not wholly written yet is left out.
fn parse(bytes: &[u8]) -> io::Result<Vec<Command>> {
    let mut rest = bytes;
    let mut commands = Vec::new();
    while !rest.is_empty() {
        match read_reply(&mut rest) {
            Ok(reply) => commands.push(Command::from_reply(reply)?),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(commands)
}
