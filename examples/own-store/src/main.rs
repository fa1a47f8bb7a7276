//! `own-store serve 127.0.0.1:7070` is the store, `own-store lead http://127.0.0.1:7070 jobs` a
//! candidate. Start several candidates, and stop the one that leads.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use leasehold::Elector;
use own_store::HttpMapLock;
use own_store::server::{Map, serve};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", address] => Ok(serve(TcpListener::bind(address).await?, Map::default()).await?),
        ["lead", server, lock] => lead(HttpMapLock::open(server, lock)?).await,
        _ => Err("usage: own-store serve ADDRESS | own-store lead SERVER LOCK".into()),
    }
}

async fn lead(lock: HttpMapLock) -> Result<(), Box<dyn Error>> {
    let elector = Elector::builder(Arc::new(lock)).build()?;
    let stop = elector.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.shutdown();
        }
    });
    elector
        .run(async |term| {
            while term.check().is_ok() {
                println!("working under token {}", term.token());
                tokio::select! {
                    _ = term.stopped() => return,
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
        })
        .await?;
    Ok(())
}
