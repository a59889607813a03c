//! Servers in network namespaces of their own, so that a test can cut them off from each other.
//!
//! ```text
//! test, Postgres ── front bridge ──┬─ place 0 ─┬── back bridge: what servers say to each other
//!                                  ├─ place 1 ─┤
//!                                  └─ place 2 ─┘   cut(2) takes place 2 off the back bridge; clients reach it still
//! ```
//! It takes a right that not every machine gives (CAP_NET_ADMIN and CAP_SYS_ADMIN), and `ip`: [`Network::try_new`].

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use super::guardian;

/// Bytes of addresses that are tried: 10.77.N.0/24 in front, 10.78.N.0/24 at the back.
const NUMBERS: std::ops::Range<u8> = 10..250;

pub struct Network {
    number: u8,
    places: u8,
}

/// Where a server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub namespace: String,
    /// By which clients reach it.
    pub front: Ipv4Addr,
    /// By which other servers reach it.
    pub back: Ipv4Addr,
}

impl Network {
    /// So many places, each joined to all others. The error is why this machine has none.
    pub fn try_new(places: usize) -> Result<Network, String> {
        let places = u8::try_from(places).expect("some places");
        let begin = (std::process::id() % NUMBERS.len() as u32) as u8;
        let mut reason = String::new();
        for step in 0..NUMBERS.len() as u8 {
            let number = NUMBERS.start + (begin + step) % NUMBERS.len() as u8;
            let network = Network { number, places };
            let front = network.bridge("f");
            match ip(&format!("link add {front} type bridge")) {
                Ok(()) => {
                    // From here on its end takes away what was made, and if it has none, the guardian.
                    network.parts().for_each(|(kind, name)| guardian::remove_network(kind, &name));
                    network.build()?;
                    return Ok(network);
                }
                Err(error) if error.contains("exists") => {
                    std::mem::forget(network);
                    reason = error;
                }
                Err(error) => {
                    std::mem::forget(network);
                    return Err(error);
                }
            }
        }
        Err(reason)
    }

    fn build(&self) -> Result<(), String> {
        let (front, back, number) = (self.bridge("f"), self.bridge("k"), self.number);
        let mut lines = vec![
            format!("link add {back} type bridge"),
            format!("addr add 10.77.{number}.1/24 dev {front}"),
            format!("link set {front} up"),
            format!("link set {back} up"),
        ];
        for place in 0..self.places {
            let Place { namespace, front: at_front, back: at_back } = self.place(place.into());
            lines.push(format!("netns add {namespace}"));
            for (letter, bridge, name, address) in [("f", &front, "front", at_front), ("k", &back, "back", at_back)] {
                let link = self.link(letter, place);
                lines.push(format!("link add {link} type veth peer name {name} netns {namespace}"));
                lines.push(format!("link set {link} master {bridge} up"));
                lines.push(format!("-n {namespace} addr add {address}/24 dev {name}"));
                lines.push(format!("-n {namespace} link set {name} up"));
            }
            lines.push(format!("-n {namespace} link set lo up"));
        }
        lines.iter().try_for_each(|line| ip(line))
    }

    pub fn place(&self, place: usize) -> Place {
        let (number, last) = (self.number, u8::try_from(place).expect("a place") + 10);
        Place {
            namespace: format!("bear{number}p{place}"),
            front: Ipv4Addr::new(10, 77, number, last),
            back: Ipv4Addr::new(10, 78, number, last),
        }
    }

    /// By which a server at a place reaches what listens on all addresses of this machine.
    pub fn here(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 1)
    }

    /// From now on no other place hears of this one, nor it of them: what is sent is lost, and nobody is told.
    #[track_caller]
    pub fn cut(&self, place: usize) {
        ip(&format!("link set {} nomaster", self.link("k", place as u8))).expect("it is joined");
    }

    #[track_caller]
    pub fn join(&self, place: usize) {
        ip(&format!("link set {} master {}", self.link("k", place as u8), self.bridge("k"))).expect("it is there");
    }

    /// All that it is made of, as `ip` names it.
    fn parts(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let of_place = |place: u8| {
            let namespace = ("netns", self.place(place.into()).namespace);
            [namespace, ("link", self.link("f", place)), ("link", self.link("k", place))]
        };
        let bridges = ["f", "k"].map(|letter| ("link", self.bridge(letter)));
        (0..self.places).flat_map(of_place).chain(bridges)
    }

    fn bridge(&self, letter: &str) -> String {
        format!("bear{letter}{}", self.number)
    }

    fn link(&self, letter: &str, place: u8) -> String {
        format!("bear{letter}{}p{place}", self.number)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for (kind, name) in self.parts() {
            // A link that a namespace took along is gone already.
            let _ = ip(&format!("{kind} del {name}"));
        }
    }
}

/// Runs `ip` with these words.
fn ip(line: &str) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(line.split(' ')).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("ip: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {line}: {}", said.trim())),
    }
}
