//! The command line of the software HSM. Kept out: everything but reading arguments, printing, and exit codes.

mod cli;

use std::process::ExitCode;

/// Wipes every freed heap block, so that no key stays behind where a buffer grew or a library let go.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    cli::run()
}
