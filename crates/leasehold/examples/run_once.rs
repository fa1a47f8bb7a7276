//! A job that one of several hosts runs: here two candidates in one process, and only one runs it
//! at a time.

#![allow(clippy::print_stdout, reason = "an example")]

use leasehold::{Elector, Error, Finished, Term};

async fn job(name: &str, term: Term) -> Result<u64, leasehold::Loss> {
    // Before every side effect; the resource refuses smaller tokens.
    let token = term.check()?;
    println!("{name} runs the job under token {token}");
    Ok(token)
}

/// Both want to; each gets its turn.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let url = format!("file:{}", directory.path().join("nightly.lock").display());
    let candidate = async |name: &'static str| -> Result<u64, Error> {
        let elector = Elector::builder(leasehold::connect(&url).await?).identity(name).build()?;
        match elector.run_once(async |term| job(name, term).await).await? {
            Finished::Done(Ok(token)) => Ok(token),
            Finished::Done(Err(loss)) | Finished::Lost(loss, _) => {
                panic!("somebody else may have started: {loss:?}")
            }
            other => panic!("nobody asked it to stop: {other:?}"),
        }
    };
    let (a, b) = futures_util::join!(candidate("node-a"), candidate("node-b"));
    assert_ne!(a?, b?, "two terms, two tokens");
    Ok(())
}
