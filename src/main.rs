//! The `pangate` program: the wiping allocator, then the command line. Nothing else.

use std::process::ExitCode;

/// Every freed block is wiped, so that no copy of a card outlives its request in freed memory (P1).
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    pangate::cli::main()
}
