//! The memory of a running process, searched as an intruder who became root would search it.
#![expect(clippy::indexing_slicing, reason = "a search that goes wrong must fail the test")]

use super::needles::Needles;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// One mapping of a process.
struct Region {
    start: u64,
    end: u64,
    name: String,
}

/// Every place in the process's memory where a needle stands, as `needle in mapping+offset`.
pub fn search(pid: u32, needles: &Needles) -> Vec<String> {
    let memory = File::open(format!("/proc/{pid}/mem"))
        .unwrap_or_else(|error| panic!("/proc/{pid}/mem: {error}; {WHAT_TO_DO}"));
    let mut found = Vec::new();
    let mut read = 0;
    for region in regions(pid) {
        let mut at = region.start;
        while at < region.end {
            let wanted = usize::try_from(region.end - at).unwrap_or(PIECE).min(PIECE + needles.longest());
            let mut piece = vec![0; wanted];
            // A mapping may go away between the list and the look.
            let Ok(got) = memory.read_at(&mut piece, at) else { break };
            read += got;
            for hit in needles.find(&piece[..got]) {
                let place = at - region.start + u64::try_from(hit.offset).unwrap_or(0);
                let line =
                    format!("{} in {}+{place:#x} of {:#x}", hit.name, region.name, region.end - region.start);
                if !found.contains(&line) {
                    found.push(line);
                }
            }
            if got <= PIECE {
                break;
            }
            at += PIECE as u64;
        }
    }
    assert!(read > PIECE, "only {read} bytes of memory could be read; {WHAT_TO_DO}");
    found
}

const WHAT_TO_DO: &str = "reading another process's memory needs root and CAP_SYS_PTRACE: run the tests as root, \
                          in a container with --cap-add SYS_PTRACE";

/// What the process can have written: everything readable but the unchanged pages of programs and libraries.
fn regions(pid: u32) -> Vec<Region> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))
        .unwrap_or_else(|error| panic!("/proc/{pid}/maps: {error}; {WHAT_TO_DO}"));
    maps.lines().filter_map(region).collect()
}

fn region(line: &str) -> Option<Region> {
    let mut words = line.split_whitespace();
    let (range, permissions) = (words.next()?, words.next()?);
    let name = words.nth(3).unwrap_or("[anonymous]");
    let (start, end) = range.split_once('-')?;
    let of_a_program = name.starts_with('/') && !permissions.contains('w');
    let of_the_kernel = ["[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]"].contains(&name);
    if !permissions.starts_with('r') || of_a_program || of_the_kernel {
        return None;
    }
    let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16));
    Some(Region { start: start.ok()?, end: end.ok()?, name: name.to_owned() })
}
