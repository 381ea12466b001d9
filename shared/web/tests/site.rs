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
use web::{Content, Page, Site};

async fn site() -> Site {
    let asked = Arc::new(AtomicU64::new(0));
    let count = move || format!("asked {} times", asked.fetch_add(1, Ordering::Relaxed) + 1);
    let page = |path, content| Page { path, content_type: "text/html; charset=utf-8", content };
    let pages = vec![
        page("/", Content::Fixed("<p>a run")),
        page("/metrics", Content::Made(Arc::new(count))),
        page("/events", Content::Events(Arc::new(|| "{\"loss\":1}".into()))),
    ];
    Site::serve("127.0.0.1:0".parse().unwrap(), pages).await.unwrap()
}

/// Sends a request as it stands, and returns all of the answer, or, if `until` is in it, what came until then.
async fn ask(address: SocketAddr, request: &str, until: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
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
    let post = format!("POST /metrics HTTP/1.1\r\nconnection: close\r\n{own}content-length: 0\r\n\r\n");
    let post = ask(address, &post, "").await;
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
    let long = get(address, "/", &format!("{own}x: {}\r\n", "y".repeat(100_000))).await;
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
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
