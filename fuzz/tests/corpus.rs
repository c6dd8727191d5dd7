//! The targets on the stable toolchain: every kept file, and a bounded number of mutations of each.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time for the mutations of one target; all of them together stay far below twenty seconds.
const TARGET_TIME: Duration = Duration::from_millis(1_500);

/// Most mutations of one target.
const MUTATIONS_MAX: u64 = 200_000;

/// Longest mutated input, in bytes.
const INPUT_BYTES_MAX: usize = 4 << 10;

/// A small generator whose numbers are the same on every machine (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

/// Bytes that mean something to one of the readers.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"/",
    b"//",
    b"/../",
    b"%2e",
    b"%2F",
    b"%00",
    b"%",
    b";",
    b"*",
    b"*rest",
    b":p",
    b"chunked",
    b"Content-Length: 1\r\n",
    b"\x80",
    b"\\",
    b"0\r\n\r\n",
    b"- ",
];

fn mutate(numbers: &mut Numbers, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(data.len() + 1);
        match numbers.below(6) {
            0 if at < data.len() => data[at] = numbers.below(256) as u8,
            1 if at < data.len() => data[at] ^= 1 << numbers.below(8),
            2 => data.truncate(at),
            3 => drop(data.splice(at..at, WORDS[numbers.below(WORDS.len())].iter().copied())),
            4 => {
                let end = (at + numbers.below(8)).min(data.len());
                data.drain(at..end);
            }
            _ => {
                let other = &seeds[numbers.below(seeds.len())];
                let from = numbers.below(other.len() + 1);
                let end = (from + numbers.below(32)).min(other.len());
                drop(data.splice(at..at, other[from..end].iter().copied()));
            }
        }
    }
    data.truncate(INPUT_BYTES_MAX);
    data
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Names the input when the target panics, so that it can be kept.
fn run(name: &str, target: fn(&[u8]), data: &[u8], from: &str) {
    let result = std::panic::catch_unwind(|| target(data));
    assert!(result.is_ok(), "{name} fails for {from}: \"{}\"", data.escape_ascii());
}

#[test]
fn every_target_holds_for_its_corpus() {
    for (name, target) in weir_fuzz::TARGETS {
        let files = corpus(name);
        assert!(files.len() >= 12, "{name} has {} seeds", files.len());
        for (path, data) in files {
            run(name, target, &data, &path.display().to_string());
        }
    }
}

#[test]
fn every_target_holds_for_mutations_of_its_corpus() {
    for (name, target) in weir_fuzz::TARGETS {
        let seeds: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, data)| data).collect();
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        let start = Instant::now();
        let mut done = 0;
        while done < MUTATIONS_MAX && start.elapsed() < TARGET_TIME {
            let data = mutate(&mut numbers, &seeds);
            run(name, target, &data, &format!("mutation {done}"));
            done += 1;
        }
        println!("{name}: {done} mutations in {:?}", start.elapsed());
    }
}

#[test]
fn every_target_has_its_program_and_its_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut programs: Vec<String> = fs::read_dir(root.join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    programs.sort();
    let names: Vec<&str> = weir_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(programs, names);
}
