//! The programs of a trial: which of those that are installed suit the server that the schema comes from.
//!
//! Rows and changes are of a Postgres of the same major version where there is one; pg_dump reads servers of its own version and of
//! older ones, so that it may come from elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the folder of programs, before all others.
const NAMED: &str = "BEAR_TEST_POSTGRES_BIN";

#[derive(Debug)]
pub struct Programs {
    /// The folder of `initdb` and `postgres`, and their version.
    pub server: PathBuf,
    pub major: u32,
    pub pg_dump: PathBuf,
    pub pg_restore: PathBuf,
}

/// Where to look.
pub struct Places {
    named: Option<PathBuf>,
    /// Of folders that are called like major versions, as Debian's are.
    versions: PathBuf,
    others: Vec<PathBuf>,
}

impl Places {
    pub fn of_this_machine() -> Places {
        let configured = Command::new("pg_config").arg("--bindir").output().ok();
        let configured = configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        let path = std::env::var_os("PATH").unwrap_or_default();
        Places {
            named: std::env::var_os(NAMED).filter(|named| !named.is_empty()).map(PathBuf::from),
            versions: "/usr/lib/postgresql".into(),
            others: configured.into_iter().chain(std::env::split_paths(&path)).collect(),
        }
    }

    /// Any psql will do: it asks what any server answers.
    pub fn psql(&self) -> Result<PathBuf, String> {
        let found = self.folders(None).into_iter().map(|folder| folder.join("psql")).find(|program| program.exists());
        found.ok_or_else(|| missing("psql", "postgresql-client"))
    }

    /// Those for the schema of a server of this major version.
    pub fn programs(&self, theirs: u32) -> Result<Programs, String> {
        let server = self.server(theirs)?;
        let major = version(&server.join("postgres"))?;
        let mut found = None;
        for folder in std::iter::once(server.clone()).chain(self.folders(Some(theirs))) {
            let (pg_dump, pg_restore) = (folder.join("pg_dump"), folder.join("pg_restore"));
            if !pg_dump.exists() || !pg_restore.exists() {
                continue;
            }
            let own = version(&pg_dump)?;
            if own >= theirs {
                return Ok(Programs { server, major, pg_dump, pg_restore });
            }
            found = found.max(Some(own));
        }
        Err(match found {
            None => missing("pg_dump", &format!("postgresql-client-{theirs}")),
            Some(own) => format!(
                "pg_dump here is of Postgres {own}, and the server is Postgres {theirs}: install postgresql-{theirs}, or name its folder of programs by {NAMED}"
            ),
        })
    }

    fn server(&self, theirs: u32) -> Result<PathBuf, String> {
        let lacks = |folder: &Path| ["initdb", "postgres"].into_iter().find(|name| !folder.join(name).exists());
        if let Some(named) = &self.named {
            return match lacks(named) {
                None => Ok(named.clone()),
                Some(name) => Err(format!(
                    "{NAMED} names {}, where there is no {name}: it has to be the folder of a Postgres server's programs",
                    named.display()
                )),
            };
        }
        let found = self.folders(Some(theirs)).into_iter().find(|folder| lacks(folder).is_none());
        found.ok_or_else(|| missing("a Postgres server", &format!("postgresql-{theirs}")))
    }

    /// Best first: the one that is named, the version that is wanted, then the newest.
    fn folders(&self, wanted: Option<u32>) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.versions).into_iter().flatten().flatten();
        let mut versions: Vec<(u32, PathBuf)> = entries
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
            .collect();
        versions.sort_by_key(|(version, _)| std::cmp::Reverse((Some(*version) == wanted, *version)));
        let versions = versions.into_iter().map(|(_, folder)| folder);
        self.named.iter().cloned().chain(versions).chain(self.others.iter().cloned()).collect()
    }
}

fn missing(what: &str, package: &str) -> String {
    format!("{what} is not installed here: install {package}, or name the folder of its programs by {NAMED}")
}

fn version(program: &Path) -> Result<u32, String> {
    let name = program.display();
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(|error| format!("{name} cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |word: &str| word.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    text.split_whitespace().find_map(number).ok_or_else(|| format!("{name} says '{}', and no version", text.trim()))
}

/// Is there a Redis to load the module into, and a module?
pub fn check_redis(server: &Path, module: &Path) -> Result<(), String> {
    if let Err(error) = Command::new(server).arg("--version").output() {
        return Err(format!(
            "{} cannot be run: {error}; install redis-server, or name one by BEAR_TEST_SERVER",
            server.display()
        ));
    }
    match module.exists() {
        true => Ok(()),
        false => Err(format!(
            "there is no module {}: scripts/build.sh builds it, and BEAR_TEST_MODULE names it",
            module.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A machine with programs that say their version: `14: initdb postgres psql`, a folder a line; `path` is one of PATH, `named` the one
    /// that is named.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn with(lines: &[&str]) -> Machine {
            let root = tempfile::tempdir().unwrap();
            for line in lines {
                let (folder, programs) = line.split_once(": ").unwrap();
                let (folder, version) = folder.split_once('=').unwrap_or((folder, folder));
                let folder = Machine::folder(root.path(), folder);
                std::fs::create_dir_all(&folder).unwrap();
                for program in programs.split_whitespace() {
                    let file = folder.join(program);
                    std::fs::write(
                        &file,
                        format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}.3 (of somebody)'\n"),
                    )
                    .unwrap();
                    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
                }
            }
            Machine(root)
        }

        fn folder(root: &Path, name: &str) -> PathBuf {
            match name.parse::<u32>() {
                Ok(_) => root.join("versions").join(name).join("bin"),
                Err(_) => root.join(name),
            }
        }

        fn places(&self) -> Places {
            let named = Machine::folder(self.0.path(), "named");
            Places {
                named: named.exists().then_some(named),
                versions: self.0.path().join("versions"),
                others: vec![self.0.path().join("path")],
            }
        }

        /// `server/dump`, by their folders.
        fn chosen(&self, theirs: u32) -> Result<String, String> {
            let found = self.places().programs(theirs)?;
            let name = |path: &Path| {
                let path = path.strip_prefix(self.0.path()).unwrap().display().to_string();
                path.trim_start_matches("versions/").trim_end_matches("/bin").to_owned()
            };
            Ok(format!("{} {} {}", name(&found.server), found.major, name(found.pg_dump.parent().unwrap())))
        }
    }

    const ALL: &str = "initdb postgres psql pg_dump pg_restore";

    #[test]
    fn the_same_major_version_is_taken_where_it_is_installed() {
        let all = |version: &str| format!("{version}: {ALL}");
        for (lines, theirs, expected) in [
            (vec![all("13"), all("15"), all("16")], 15, "15 15 15"),
            (vec![all("13"), all("15"), all("16")], 14, "16 16 16"),
            (vec![all("9"), all("10")], 9, "9 9 9"),
            // Its server alone: what dumps it may be newer.
            (vec!["14: initdb postgres".to_owned(), all("16")], 14, "14 14 16"),
            (vec!["14: initdb postgres".to_owned(), format!("path=17: {ALL}")], 14, "14 14 path"),
            (vec![format!("named=14: {ALL}"), all("15")], 14, "named 14 named"),
            (vec!["named=14: initdb postgres".to_owned(), all("15")], 15, "named 14 15"),
            (vec![format!("path=16: {ALL}")], 16, "path 16 path"),
        ] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(Machine::with(&lines).chosen(theirs).as_deref(), Ok(expected), "{lines:?} for {theirs}");
        }
    }

    #[test]
    fn what_is_missing_is_said_with_what_would_help() {
        for (lines, theirs, expected) in [
            (&[][..], 16, "a Postgres server is not installed here: install postgresql-16"),
            (&["15: psql pg_dump pg_restore"], 15, "a Postgres server is not installed here: install postgresql-15"),
            (&["15: initdb postgres psql"], 15, "pg_dump is not installed here: install postgresql-client-15"),
            (
                &["15: initdb postgres psql pg_dump pg_restore"],
                16,
                "pg_dump here is of Postgres 15, and the server is Postgres 16",
            ),
            (&["named: psql"], 15, "where there is no initdb"),
        ] {
            let said = Machine::with(lines).chosen(theirs).expect_err("something is missing");
            assert!(said.contains(expected), "{said}");
        }
        let said = Machine::with(&["15: initdb"]).places().psql().expect_err("psql is missing");
        assert!(said.starts_with("psql is not installed here: install postgresql-client,"), "{said}");
        let said = check_redis(Path::new("/no/redis-server"), Path::new("/")).expect_err("it is missing");
        assert!(said.contains("/no/redis-server cannot be run") && said.contains("BEAR_TEST_SERVER"), "{said}");
        let said = check_redis(Path::new("true"), Path::new("/no/libbear.so")).expect_err("it is missing");
        assert!(said.contains("no module /no/libbear.so"), "{said}");
    }
}
