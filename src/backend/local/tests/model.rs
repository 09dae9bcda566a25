//! Random histories, with crashes of every kind, against a map.

use proptest::prelude::*;

use super::sim_image::Dice;
use super::workload::{Content, Rig, assert_same, change, flush_index};
use super::*;

/// A store and what it must hold.
struct Machine {
    rig: Rig,
    backend: Option<LocalBackend>,
    reader: LocalBackend,
    /// After each batch since the last sync: a power cut leaves one of them.
    history: Vec<Content>,
}

impl Machine {
    fn new() -> Self {
        let rig = Rig::new();
        Self {
            backend: Some(rig.open().unwrap()),
            reader: rig.reader().unwrap(),
            history: vec![Content::new()],
            rig,
        }
    }

    fn store(&self) -> &LocalBackend {
        self.backend.as_ref().unwrap()
    }

    fn now(&self) -> &Content {
        self.history.last().unwrap()
    }

    fn synced(&mut self) {
        self.history.drain(..self.history.len() - 1);
    }

    fn apply(&mut self, batch: Vec<Operation>, durability: Durability) {
        let mut next = self.now().clone();
        let expected = batch.iter().try_for_each(|operation| {
            let key = std::str::from_utf8(operation.key()).unwrap();
            let fits = match operation {
                Operation::Put { mode, .. } => *mode == Mode::Replace || !next.contains_key(key),
                Operation::Delete { .. } => next.contains_key(key),
            };
            change(&mut next, std::slice::from_ref(operation));
            fits.then_some(())
        });
        let applied = self.store().apply(batch, durability);
        assert_eq!(applied.is_ok(), expected.is_some(), "{applied:?}");
        if applied.is_ok() {
            self.history.push(next);
            if durability == Durability::Synced {
                self.synced();
            }
        }
    }

    /// Goes on with what is left when the process is gone, and the power as well if `power`.
    fn crash(&mut self, power: bool, dice: &mut Dice) {
        let index = Some(self.rig.disk.index()).filter(|_| dice.below(2) == 0);
        let mut image = self.rig.disk.image();
        if power {
            image = image.torn(dice);
        }
        let next = Rig::of(image, index.as_ref());
        self.rig.disk.turn_off();
        self.backend = Some(next.open().unwrap());
        self.reader = next.reader().unwrap();
        self.rig = next;
        let held = content(self.store());
        let least = if power { 0 } else { self.history.len() - 1 };
        assert!(self.history[least..].contains(&held), "{:?}", held.keys());
        self.history = vec![held];
    }

    fn check(&self) {
        assert_same(&content(self.store()), self.now(), "the writer");
        self.reader.refresh().unwrap();
        assert_same(&content(&self.reader), self.now(), "a reader");
    }
}

fn create(key: &str, bytes: &[u8]) -> Operation {
    match put(key, bytes) {
        Operation::Put {
            key, bytes, facts, ..
        } => Operation::Put {
            key,
            bytes,
            facts,
            mode: Mode::Create,
        },
        delete @ Operation::Delete { .. } => delete,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40 * super::power_cut::seeds() as u32,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_gives_what_a_map_gives(
        steps in proptest::collection::vec((0u8..24, 0u8..12, 0usize..700, any::<u64>()), 1..60)
    ) {
        let mut machine = Machine::new();
        for (n, (action, key, length, seed)) in steps.into_iter().enumerate() {
            let mut dice = Dice(seed);
            let name = |k: u8| format!("k{}", k % 12);
            let bytes = vec![n as u8; length];
            let durability = match dice.below(2) {
                0 => Durability::Synced,
                _ => Durability::Written,
            };
            match action {
                0..=6 => machine.apply(vec![put(&name(key), &bytes)], durability),
                7 => machine.apply(vec![create(&name(key), &bytes)], durability),
                8..=10 => machine.apply(vec![delete(&name(key))], durability),
                11..=13 => {
                    let batch = vec![
                        put(&name(key + 1), &bytes),
                        put(&name(key), &bytes[..length / 3]),
                        delete(&name(key + 1)),
                        put(&name(key + 2), b""),
                    ];
                    machine.apply(batch, durability);
                }
                14 => {
                    machine.store().flush().unwrap();
                    machine.synced();
                }
                15 => flush_index(machine.store()),
                16 => drop(machine.store().compact(&mut |_, _| ()).unwrap()),
                17 => {
                    drop(machine.backend.take());
                    machine.synced();
                    machine.backend = Some(machine.rig.open().unwrap());
                }
                18 | 19 => machine.crash(false, &mut dice),
                20 | 21 => machine.crash(true, &mut dice),
                _ => machine.check(),
            }
        }
        machine.check();
    }
}
