//! A site over real connections: what is served, to whom, and what is not.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use web::{Content, Orders, Page, Refused, Site, Visitor};

/// Carries out what a visitor asks who is called Ann.
struct Echo;

impl Orders for Echo {
    fn look(&self, visitor: &Visitor) -> String {
        format!("{:?}", visitor.bearer)
    }

    fn take(&self, visitor: &Visitor, text: &[u8]) -> Result<String, Refused> {
        if visitor.bearer.as_deref() != Some("Ann") {
            return Err(Refused::Forbidden("expected Ann".into()));
        }
        match std::str::from_utf8(text) {
            Ok("later") => Err(Refused::Impossible("expected another day".into())),
            Ok(text) => Ok(format!("{} at {}", text, visitor.address.ip())),
            Err(_) => Err(Refused::Malformed("expected text".into())),
        }
    }
}

async fn site() -> Site {
    let asked = Arc::new(AtomicU64::new(0));
    let count = move || format!("asked {} times", asked.fetch_add(1, Ordering::Relaxed) + 1);
    let page = |path, content| Page { path, content_type: "text/html; charset=utf-8", content };
    let pages = vec![
        page("/", Content::Fixed("<p>a run")),
        page("/metrics", Content::Made(Arc::new(count))),
        page("/events", Content::Events(Arc::new(|| "{\"loss\":1}".into()))),
        page("/orders", Content::Orders(Arc::new(Echo))),
    ];
    Site::serve("127.0.0.1:0".parse().unwrap(), pages).await.unwrap()
}

/// Sends a request as it stands, and returns all of the answer, or, if `until` is in it, what came until then.
async fn ask(address: SocketAddr, request: impl AsRef<[u8]>, until: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_ref()).await.unwrap();
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        let read = stream.read(&mut part).await.unwrap();
        answer.extend(&part[..read]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        if read == 0 || !until.is_empty() && text.contains(until) {
            return text;
        }
    }
}

async fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
    ask(address, &request, "").await
}

/// Posts `order`, whose length is told with it.
async fn post(address: SocketAddr, path: &str, headers: &str, order: &[u8]) -> String {
    let head = format!(
        "POST {path} HTTP/1.1\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        order.len()
    );
    ask(address, [head.as_bytes(), order].concat(), "").await
}

#[tokio::test]
async fn pages_are_served_to_whoever_names_this_server() {
    let site = site().await;
    let (address, own) = (site.address(), format!("host: {}\r\n", site.address()));
    let page = get(address, "/", &own).await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("\r\n\r\n<p>a run"), "{page}");
    let policy = "content-security-policy: default-src 'none'; ";
    assert!(page.contains(policy) && page.contains("cache-control: no-store\r\n"), "{page}");
    for times in 1..3 {
        let page = get(address, "/metrics", &own).await;
        assert!(page.ends_with(&format!("asked {times} times")), "{page}");
    }
    let events = format!("GET /events HTTP/1.1\r\n{own}\r\n");
    let events = ask(address, &events, "data: {\"loss\":1}\n\n").await;
    assert!(events.contains("content-type: text/event-stream\r\n"), "{events}");
    let localhost = get(address, "/", &format!("host: localhost:{}\r\n", address.port())).await;
    assert!(localhost.starts_with("HTTP/1.1 200 "), "{localhost}");
}

#[tokio::test]
async fn names_and_pages_of_others_get_nothing() {
    let site = site().await;
    let (address, own) = (site.address(), format!("host: {}\r\n", site.address()));
    for (headers, expected) in [
        ("host: evil.example\r\n".to_string(), "HTTP/1.1 421 "),
        (String::new(), "HTTP/1.1 4"),
        (format!("{own}origin: http://evil.example\r\n"), "HTTP/1.1 403 "),
        (format!("{own}origin: null\r\n"), "HTTP/1.1 403 "),
        (format!("{own}origin: http://{address}\r\n"), "HTTP/1.1 200 "),
    ] {
        let answer = get(address, "/metrics", &headers).await;
        assert!(answer.starts_with(expected), "{headers}{answer}");
    }
    let missing = get(address, "/../etc/passwd", &own).await;
    assert!(missing.starts_with("HTTP/1.1 404 ") && missing.contains("there is /, /metrics, "), "{missing}");
    let posted = post(address, "/metrics", &format!("{own}origin: http://{address}\r\n"), b"").await;
    assert!(posted.starts_with("HTTP/1.1 405 ") && posted.contains("allow: GET, HEAD\r\n"), "{posted}");
    let long = get(address, "/", &format!("{own}x: {}\r\n", "y".repeat(100_000))).await;
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
}

#[tokio::test]
async fn orders_are_taken_from_pages_of_this_server_and_carried_out_for_whom_they_may_be() {
    let site = site().await;
    let address = site.address();
    let own = format!("host: {address}\r\norigin: http://{address}\r\n");
    let ann = format!("{own}authorization: Bearer Ann\r\n");
    let long = vec![b'y'; 5000];
    for (headers, order, status, says) in [
        (ann.clone(), &b"go"[..], 200, "\r\n\r\ngo at 127.0.0.1"),
        (own.clone(), b"go", 403, "expected Ann"),
        (format!("{own}authorization: Ann\r\n"), b"go", 403, "expected Ann"),
        (ann.clone(), b"later", 409, "expected another day"),
        (ann.clone(), b"\xff", 400, "expected text"),
        (ann.clone(), &long, 413, "expected an order of at most 4096 bytes"),
        (ann.replace("origin: http://", "origin: https://"), b"go", 403, "expected a page of this server"),
        (ann.replace("origin: http://127", "origin: http://evil.example"), b"go", 403, "expected a page"),
        // A page of this server's address, but another name than the browser asked by.
        (ann.replace("origin: http://127.0.0.1", "origin: http://localhost"), b"go", 403, "expected a page"),
        (ann.replace("origin: ", "x-origin: "), b"go", 403, "expected a page of this server"),
        (ann.replace("host: ", "x-host: "), b"go", 421, ""),
        (ann.replace("host: 127.0.0.1", "host: evil.example"), b"go", 421, "expected this server"),
    ] {
        let answer = post(address, "/orders", &headers, order).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(says),
            "{headers}{answer}"
        );
    }
    assert!(get(address, "/orders", &ann).await.ends_with("\r\n\r\nSome(\"Ann\")"));
    assert!(get(address, "/orders", &format!("host: {address}\r\n")).await.ends_with("\r\n\r\nNone"));
    let put = ask(address, format!("PUT /orders HTTP/1.1\r\nconnection: close\r\n{ann}\r\n"), "").await;
    assert!(put.starts_with("HTTP/1.1 405 ") && put.contains("allow: GET, HEAD, POST\r\n"), "{put}");
}

#[tokio::test]
async fn a_site_that_is_dropped_is_served_no_more() {
    let site = site().await;
    let address = site.address();
    drop(site);
    for _ in 0..100 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{address} still answers");
}
