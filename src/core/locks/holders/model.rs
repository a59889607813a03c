//! Against a plain list: who holds what, and who waits, in the order in which they came.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// Somebody comes, who waits where he must.
    Take {
        name: usize,
        us: u64,
    },
    /// Somebody comes who does not wait.
    Try {
        name: usize,
        us: u64,
    },
    /// By a token that was handed out.
    Release {
        name: usize,
        token: Index,
    },
    Extend {
        name: usize,
        token: Index,
        us: u64,
    },
    Pass {
        us: u64,
    },
    /// One of those that wait has gone.
    Leave {
        who: Index,
    },
    /// What a tick does.
    Serve,
    /// Another hand deletes a key, or puts something else there.
    Delete {
        name: usize,
    },
    Spoil {
        name: usize,
    },
    /// A load: nothing but the keys, and who waits, is left.
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let (name, us) = (0_usize..3, 1_u64..60);
    prop_oneof![
        5 => (name.clone(), us.clone()).prop_map(|(name, us)| Step::Take { name, us }),
        2 => (name.clone(), us.clone()).prop_map(|(name, us)| Step::Try { name, us }),
        4 => (name.clone(), any::<Index>()).prop_map(|(name, token)| Step::Release { name, token }),
        2 => (name.clone(), any::<Index>(), us.clone()).prop_map(|(name, token, us)| Step::Extend { name, token, us }),
        3 => us.prop_map(|us| Step::Pass { us }),
        2 => any::<Index>().prop_map(|who| Step::Leave { who }),
        4 => Just(Step::Serve),
        1 => name.clone().prop_map(|name| Step::Delete { name }),
        1 => name.prop_map(|name| Step::Spoil { name }),
        1 => Just(Step::Forget),
    ]
}

/// What the server does with the policy: keys are looked at, tokens drawn, and keys written.
#[derive(Default)]
struct Server {
    locks: Locks,
    keys: BTreeMap<Name, Found>,
    now_us: u64,
    token: u64,
}

impl Server {
    fn look(&mut self, name: &Name) -> bool {
        if self.locks.is_unread(name) {
            let found = match self.keys.get(name) {
                Some(Found::Held(hold)) if hold.until_us <= self.now_us => Found::Nothing,
                found => found.copied().unwrap_or(Found::Nothing),
            };
            self.locks.found(name, found);
        }
        self.keys.get(name) != Some(&Found::Strange)
    }

    fn grant(&mut self, name: &Name, us: u64) -> u64 {
        self.token += 1;
        let hold = Hold { token: self.token, until_us: self.now_us + us, ms: us };
        self.keys.insert(name.clone(), Found::Held(hold));
        self.locks.hold(name, hold);
        self.token
    }

    /// Who came first of those that wait for something that may be had.
    fn serve(&mut self, asked: &BTreeMap<Ticket, u64>) -> Vec<(Ticket, u64)> {
        while let Some((name, hold)) = self.locks.end_next(self.now_us) {
            if self.keys.get(&name) == Some(&Found::Held(hold)) {
                self.keys.remove(&name);
            }
        }
        let mut served = Vec::new();
        while let Some((name, ticket)) = self.locks.next_due() {
            self.look(&name);
            if self.locks.next_due() == Some((name.clone(), ticket)) && !self.locks.is_unread(&name) {
                let token = self.grant(&name, asked[&ticket]);
                self.locks.leave(ticket);
                served.push((ticket, token));
            }
        }
        served
    }
}

#[derive(Default)]
struct List {
    /// Name, token, until.
    held: Vec<(usize, u64, u64)>,
    /// Ticket, name.
    waiting: Vec<(Ticket, usize)>,
    spoilt: Vec<usize>,
}

impl List {
    fn holder(&self, name: usize, now_us: u64) -> Option<u64> {
        let holds = |(of, _, until): &&(usize, u64, u64)| *of == name && *until > now_us;
        self.held.iter().find(holds).map(|(_, token, _)| *token)
    }

    fn is_free(&self, name: usize, now_us: u64) -> bool {
        self.holder(name, now_us).is_none() && !self.spoilt.contains(&name)
    }

    fn hold(&mut self, name: usize, token: u64, until_us: u64) {
        self.held.retain(|(of, ..)| *of != name);
        self.held.push((name, token, until_us));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn locks_go_as_a_plain_list_says(steps in prop::collection::vec(step(), 1..80)) {
        let names: [Name; 3] = ["a", "b", "ab"].map(|text| Arc::from(text.as_bytes()));
        let (mut server, mut list, mut asked) = (Server::default(), List::default(), BTreeMap::new());
        for (ticket, step) in (0..).zip(steps) {
            let now_us = server.now_us;
            match step.clone() {
                Step::Take { name, us } | Step::Try { name, us } => {
                    let waits = matches!(step, Step::Take { .. });
                    let is_ours = server.look(&names[name]);
                    prop_assert_eq!(is_ours, !list.spoilt.contains(&name));
                    if !is_ours {
                        continue;
                    }
                    let is_had = server.locks.may_take(&names[name], now_us);
                    let is_first = !list.waiting.iter().any(|(_, of)| *of == name);
                    prop_assert_eq!(is_had, is_first && list.is_free(name, now_us), "{:?}", step);
                    if is_had {
                        let token = server.grant(&names[name], us);
                        list.hold(name, token, now_us + us);
                    } else if waits {
                        server.locks.wait(&names[name], ticket);
                        asked.insert(ticket, us);
                        list.waiting.push((ticket, name));
                    }
                }
                Step::Release { name, token } => {
                    let token = 1 + token.index(server.token as usize + 1) as u64;
                    server.look(&names[name]);
                    let is_his = server.locks.release(&names[name], token, now_us);
                    prop_assert_eq!(is_his, list.holder(name, now_us) == Some(token));
                    if is_his {
                        server.keys.remove(&names[name]);
                        list.held.retain(|(of, ..)| *of != name);
                    }
                }
                Step::Extend { name, token, us } => {
                    let token = 1 + token.index(server.token as usize + 1) as u64;
                    let to = Hold { token, until_us: now_us + us, ms: us };
                    server.look(&names[name]);
                    let is_his = server.locks.extend(&names[name], to, now_us);
                    prop_assert_eq!(is_his, list.holder(name, now_us) == Some(token));
                    if is_his {
                        server.keys.insert(names[name].clone(), Found::Held(to));
                        list.hold(name, token, now_us + us);
                    }
                }
                Step::Pass { us } => server.now_us += us,
                Step::Leave { who } if !list.waiting.is_empty() => {
                    let (gone, _) = list.waiting.remove(who.index(list.waiting.len()));
                    server.locks.leave(gone);
                    server.locks.leave(gone);
                }
                Step::Leave { .. } => {}
                Step::Serve => {
                    let mut expected = Vec::new();
                    for name in 0..3 {
                        let first = list.waiting.iter().position(|(_, of)| *of == name);
                        if let Some(at) = first.filter(|_| list.is_free(name, now_us)) {
                            expected.push(list.waiting.remove(at));
                        }
                    }
                    let served = server.serve(&asked);
                    prop_assert_eq!(served.len(), expected.len());
                    for (ticket, name) in expected {
                        let token = served.iter().find(|(of, _)| *of == ticket).map(|(_, token)| *token);
                        prop_assert!(token.is_some(), "{} was served in his place", ticket);
                        list.hold(name, token.unwrap_or(0), now_us + asked[&ticket]);
                    }
                }
                Step::Delete { name } => {
                    server.keys.remove(&names[name]);
                    server.locks.touched(&names[name]);
                    list.held.retain(|(of, ..)| *of != name);
                    list.spoilt.retain(|of| *of != name);
                }
                Step::Spoil { name } => {
                    server.keys.insert(names[name].clone(), Found::Strange);
                    server.locks.touched(&names[name]);
                    list.held.retain(|(of, ..)| *of != name);
                    list.spoilt.push(name);
                }
                Step::Forget => drop(server.locks.forget_all()),
            }
            prop_assert_eq!(server.locks.waiting_len(), list.waiting.len());
            for (at, name) in names.iter().enumerate() {
                server.look(name);
                let token = server.locks.held(name, server.now_us).map(|hold| hold.token);
                prop_assert_eq!(token, list.holder(at, server.now_us));
            }
        }
        list.waiting.iter().for_each(|(ticket, _)| server.locks.leave(*ticket));
        server.now_us += 1_000;
        server.serve(&asked);
        prop_assert!(server.locks.locks.is_empty() && server.locks.ends.is_empty() && server.locks.due.is_empty());
    }
}
