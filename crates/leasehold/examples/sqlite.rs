//! A fenced write: a database that remembers the highest token it has seen, and refuses smaller
//! ones.
//!
//! No lease can stop a write that is under way when its sender is frozen. The database can.

#![allow(clippy::print_stdout, reason = "an example")]

use std::error::Error;

use leasehold::{Elector, Fence, Stale, Token};
use rusqlite::{Connection, TransactionBehavior};

/// One row says which token was the highest.
const SCHEMA: &str = "
    CREATE TABLE fence (highest INTEGER NOT NULL);
    INSERT INTO fence VALUES (0);
    CREATE TABLE payments (what TEXT NOT NULL, token INTEGER NOT NULL);";

/// Compares the token and pays, in one transaction: between the two nobody else gets in.
fn pay(db: &mut Connection, token: Token, what: &str) -> Result<(), Box<dyn Error>> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let highest: i64 = transaction.query_row("SELECT highest FROM fence", (), |row| row.get(0))?;
    let mut fence = Fence::new(highest.try_into()?);
    fence.admit(token)?; // a transaction that is dropped is rolled back
    transaction.execute("UPDATE fence SET highest = ?1", [i64::try_from(fence.highest())?])?;
    let payment = (what, i64::try_from(token)?);
    transaction.execute("INSERT INTO payments VALUES (?1, ?2)", payment)?;
    Ok(transaction.commit()?)
}

/// A leader pays, another leads, and the first one's late payment is refused.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let url = format!("file:{}", directory.path().join("payments.lock").display());
    let database = directory.path().join("payments.sqlite");
    let candidate = async |name: &str| -> Result<Elector, leasehold::Error> {
        Elector::builder(leasehold::connect(&url).await?).identity(name).build()
    };
    let (a, b) = (candidate("node-a").await?, candidate("node-b").await?);
    // Each has a connection of its own, as on two hosts with a database server.
    let (mut of_a, mut of_b) = (Connection::open(&database)?, Connection::open(&database)?);
    of_a.execute_batch(SCHEMA)?;

    let held = a.campaign().await?;
    pay(&mut of_a, held.check()?, "salaries")?;
    let late = held.check()?; // node-a is about to pay the rent, and stands still here
    held.resign().await?;

    let held = b.campaign().await?;
    pay(&mut of_b, held.check()?, "rent")?;

    // node-a goes on: its check was long ago, and the rent is paid.
    let refused = pay(&mut of_a, late, "rent").expect_err("a late write must be refused");
    println!("refused: {refused}");
    assert!(refused.is::<Stale>(), "{refused}");
    let paid: i64 =
        of_b.query_row("SELECT count(*) FROM payments WHERE what = 'rent'", (), |row| row.get(0))?;
    assert_eq!(paid, 1, "the rent is paid once");
    held.resign().await?;
    Ok(())
}
