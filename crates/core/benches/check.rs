//! How long `check()` takes: it belongs before every side effect.

use std::sync::Arc;

use leasehold_core::{Elector, MemoryLock, Term};

fn main() {
    divan::main();
}

fn term() -> (tokio::runtime::Runtime, leasehold_core::Held, Term) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let held = runtime.block_on(async {
        let elector = Elector::builder(Arc::new(MemoryLock::new("bench"))).build().expect("valid");
        elector.campaign().await.expect("the memory lock is free")
    });
    let term = held.term();
    (runtime, held, term)
}

#[divan::bench(sample_count = 100, sample_size = 1000)]
fn check(bencher: divan::Bencher<'_, '_>) {
    let (_runtime, _held, term) = term();
    bencher.bench(|| term.check());
}
