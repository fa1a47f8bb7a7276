//! What each fault of the proxy does to real connections.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use leasehold_conformance::proxy::{Direction, Fault, Protocol, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough to say that nothing comes.
const SILENCE: Duration = Duration::from_millis(200);

/// Long enough for anything that comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that says back what it hears, and counts the bytes.
async fn echo() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let counted = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    counted.fetch_add(count, Ordering::SeqCst);
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, heard)
}

struct Scene {
    proxy: Proxy,
    heard: Arc<AtomicUsize>,
}

impl Scene {
    async fn new() -> Self {
        let (server, heard) = echo().await;
        Self { proxy: Proxy::start(server, Protocol::Bytes).unwrap(), heard }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address()).await.unwrap()
    }

    async fn heard(&self, count: usize) {
        let heard = async {
            while self.heard.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, heard).await.expect("the server hears it");
    }
}

async fn says(stream: &mut TcpStream, word: &[u8]) {
    stream.write_all(word).await.unwrap();
    hears(stream, word).await;
}

async fn hears(stream: &mut TcpStream, word: &[u8]) {
    let mut heard = vec![0; word.len()];
    timeout(PATIENCE, stream.read_exact(&mut heard)).await.expect("an answer comes").unwrap();
    assert_eq!(heard, word);
}

async fn hears_nothing(stream: &mut TcpStream) {
    assert!(timeout(SILENCE, stream.read_u8()).await.is_err(), "nothing comes");
}

#[tokio::test]
async fn refusing_ends_connections_and_takes_none_until_it_is_lifted() {
    let scene = Scene::new().await;
    let mut old = scene.connect().await;
    says(&mut old, b"hello").await;
    let refuse = scene.proxy.fault(Fault::Refuse);
    let ended = timeout(PATIENCE, old.read_u8()).await.expect("it ends");
    assert!(ended.is_err());
    let refused = async {
        while TcpStream::connect(scene.proxy.address()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("connections are refused");
    refuse.lift();
    let mut new = loop {
        if let Ok(stream) = TcpStream::connect(scene.proxy.address()).await {
            break stream;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    says(&mut new, b"again").await;
}

#[tokio::test]
async fn a_black_hole_loses_for_good_and_half_open_strikes_the_connections_of_the_moment() {
    let scene = Scene::new().await;
    for fault in [Fault::Blackhole, Fault::HalfOpen] {
        let mut old = scene.connect().await;
        says(&mut old, b"hello").await;
        let before = scene.heard.load(Ordering::SeqCst);
        let lost = scene.proxy.fault(fault);
        old.write_all(b"lost").await.unwrap();
        hears_nothing(&mut old).await;
        let mut new = scene.connect().await;
        if fault == Fault::HalfOpen {
            says(&mut new, b"new").await;
            assert_eq!(scene.heard.load(Ordering::SeqCst), before + 3);
        } else {
            new.write_all(b"new").await.unwrap();
            hears_nothing(&mut new).await;
            assert_eq!(scene.heard.load(Ordering::SeqCst), before);
        }
        lost.lift();
        old.write_all(b"still lost").await.unwrap();
        hears_nothing(&mut old).await;
        says(&mut scene.connect().await, b"fresh").await;
    }
}

#[tokio::test]
async fn what_is_held_arrives_when_the_fault_is_lifted_although_its_sender_is_gone() {
    let scene = Scene::new().await;
    let mut stream = scene.connect().await;
    says(&mut stream, b"hello").await;
    let held = scene.proxy.fault(Fault::Hold(Direction::Requests));
    stream.write_all(b"zombie").await.unwrap();
    drop(stream);
    tokio::time::sleep(SILENCE).await;
    assert_eq!(scene.heard.load(Ordering::SeqCst), 5);
    held.lift();
    scene.heard(11).await;
    let mut stream = scene.connect().await;
    let held = scene.proxy.fault(Fault::Hold(Direction::Replies));
    stream.write_all(b"answer").await.unwrap();
    scene.heard(17).await;
    hears_nothing(&mut stream).await;
    held.lift();
    hears(&mut stream, b"answer").await;
}

#[tokio::test]
async fn delays_and_cuts_are_for_one_direction_and_to_the_byte() {
    let scene = Scene::new().await;
    let mut stream = scene.connect().await;
    for direction in [Direction::Requests, Direction::Replies] {
        let late = scene.proxy.fault(Fault::Delay(direction, 2 * SILENCE));
        stream.write_all(b"late").await.unwrap();
        hears_nothing(&mut stream).await;
        hears(&mut stream, b"late").await;
        late.lift();
    }
    says(&mut stream, b"soon").await;
    let before = scene.heard.load(Ordering::SeqCst);
    let cut = scene.proxy.fault(Fault::CutAfter(Direction::Requests, 5));
    says(&mut stream, b"abc").await;
    stream.write_all(b"defg").await.unwrap();
    scene.heard(before + 5).await;
    let end = async { while stream.read_u8().await.is_ok() {} };
    timeout(PATIENCE, end).await.expect("it is reset");
    assert_eq!(scene.heard.load(Ordering::SeqCst), before + 5, "not one byte more");
    cut.lift();
    says(&mut scene.connect().await, b"fresh").await;
}

#[tokio::test]
async fn replies_are_lost_and_requests_carried_out() {
    let scene = Scene::new().await;
    let mut stream = scene.connect().await;
    let lost = scene.proxy.fault(Fault::LoseReplies);
    stream.write_all(b"do it").await.unwrap();
    scene.heard(5).await;
    hears_nothing(&mut stream).await;
    lost.lift();
    hears_nothing(&mut stream).await;
    says(&mut scene.connect().await, b"fresh").await;
}

/// A server of HTTP/2 whose replies are large, and whose headers grow its compression table.
async fn http2() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, served) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let counted = served.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let number = counted.fetch_add(1, Ordering::SeqCst);
                    let reply =
                        http::Response::builder().header("x-reply", format!("number-{number}"));
                    let reply = reply.header("x-same", "the same every time").body(()).unwrap();
                    let mut body = respond.send_response(reply, false).unwrap();
                    body.send_data(Bytes::from(vec![b'x'; 30_000]), true).unwrap();
                }
            });
        }
    });
    (address, served)
}

async fn ask(client: &h2::client::SendRequest<Bytes>) -> (String, usize) {
    let request = http::Request::get("http://server/").body(()).unwrap();
    let (response, _) = client.clone().ready().await.unwrap().send_request(request, true).unwrap();
    let response = response.await.unwrap();
    let number = response.headers()["x-reply"].to_str().unwrap().to_owned();
    assert_eq!(response.headers()["x-same"], "the same every time");
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        length += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    (number, length)
}

#[tokio::test]
async fn over_http2_replies_are_lost_and_the_connection_lives_on() {
    let (server, served) = http2().await;
    let proxy = Proxy::start(server, Protocol::Http2).unwrap();
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let reply = timeout(PATIENCE, ask(&client)).await.unwrap();
    assert_eq!(reply, ("number-0".to_owned(), 30_000));
    let lost = proxy.fault(Fault::LoseReplies);
    // More than a window of 65,535 bytes is lost: the server would starve if nobody credited it.
    for number in 2..=5 {
        assert!(timeout(SILENCE, ask(&client)).await.is_err(), "no reply comes");
        assert_eq!(served.load(Ordering::SeqCst), number, "the request was carried out");
    }
    lost.lift();
    for number in 5..8 {
        let reply = timeout(PATIENCE, ask(&client)).await.expect("the connection lives");
        assert_eq!(reply, (format!("number-{number}"), 30_000));
    }
}
