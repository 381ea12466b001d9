//! The server of a site's pages.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap,
        HeaderName, HeaderValue, ORIGIN,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinHandle,
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    hosts,
    orders::{Lost, Orders, Refused, Visitor, receive},
};

/// Most connections at a time; further ones wait.
const MOST_CONNECTIONS: usize = 64;
/// Time within which the head of a request must be there.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of the head of a request, and of what waits to be written.
const MOST_HEAD: usize = 16 << 10;
/// Longest time of a connection; browsers open another.
const LONGEST: Duration = Duration::from_secs(600);
/// Pause after a failure to accept a connection.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between two events of a stream.
const EVENT_EVERY: Duration = Duration::from_secs(2);
/// What a page may load: from this server alone.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Makes the content of a page, or of an event.
type Make = Arc<dyn Fn() -> String + Send + Sync>;

/// Content of a page.
#[derive(Clone)]
pub enum Content {
    /// The same text every time.
    Fixed(&'static str),
    /// A text that is made whenever it is asked for.
    Made(Make),
    /// A stream of events (server-sent events), each a text without line breaks that is made when it is due: at once,
    /// and then every two seconds.
    Events(Make),
    /// Orders, which pages of this site alone may post; a reader is told whether he may give some.
    Orders(Arc<dyn Orders>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Content::Fixed(_) => "Fixed",
            Content::Made(_) => "Made",
            Content::Events(_) => "Events",
            Content::Orders(_) => "Orders",
        })
    }
}

/// A page of a site.
#[derive(Clone, Debug)]
pub struct Page {
    /// Path of the page, such as "/metrics".
    pub path: &'static str,
    /// Type of its content, such as "text/html; charset=utf-8"; streams of events have their own.
    pub content_type: &'static str,
    /// The content.
    pub content: Content,
}

/// A site that is being served; dropped, it is served no more.
#[derive(Debug)]
pub struct Site {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Site {
    /// Serves `pages` on `address`, one that [`check_address`](crate::check_address) let pass.
    ///
    /// # Errors
    /// If the port cannot be opened.
    pub async fn serve(address: SocketAddr, pages: Vec<Page>) -> io::Result<Site> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Site { address, task: tokio::spawn(accept(listener, pages.into())) })
    }

    /// Address of the site, with the port that the system chose where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts connections until it is aborted, and their tasks with it.
async fn accept(listener: TcpListener, pages: Arc<[Page]>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let place = places.clone().acquire_owned().await.expect("the places are never closed");
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!("a connection to the pages was not accepted: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        let pages = pages.clone();
        connections.spawn(async move {
            let answer = service_fn(move |request| {
                let pages = pages.clone();
                async move { Ok::<_, Infallible>(answer(request, from, &pages).await) }
            });
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .max_buf_size(MOST_HEAD)
                .serve_connection(TokioIo::new(stream), answer);
            // How a connection ends is the other side's affair.
            let _ = timeout(LONGEST, serving).await;
            drop(place);
        });
    }
}

type Answer = Response<Either<Full<Bytes>, Events>>;

async fn answer(request: Request<Incoming>, from: SocketAddr, pages: &[Page]) -> Answer {
    let (head, body) = request.into_parts();
    let header = |name: HeaderName| head.headers.get(&name)?.to_str().ok().map(str::to_string);
    let host = header(HOST).unwrap_or_default();
    if !hosts::is_own(&host) {
        return plain(
            StatusCode::MISDIRECTED_REQUEST,
            "expected this server by its address or as localhost\n",
        );
    }
    let reads = [Method::GET, Method::HEAD].contains(&head.method);
    // A browser tells with every order which page gives it; a program that reads has no page.
    let of_own_page = header(ORIGIN).map_or(reads, |origin| hosts::is_from(&origin, &host));
    if !of_own_page {
        return plain(StatusCode::FORBIDDEN, "expected a page of this server to ask\n");
    }
    let Some(page) = pages.iter().find(|page| page.path == head.uri.path()) else {
        let paths: Vec<&str> = pages.iter().map(|page| page.path).collect();
        return plain(StatusCode::NOT_FOUND, &format!("there is {}\n", paths.join(", ")));
    };
    let visitor = || {
        let bearer = header(AUTHORIZATION).and_then(|proof| Some(proof.strip_prefix("Bearer ")?.to_string()));
        Visitor { address: from, bearer }
    };
    match &page.content {
        Content::Orders(orders) if head.method == Method::POST => {
            let visitor = visitor();
            match receive(body).await {
                Ok(text) => carried_out(orders.take(&visitor, &text)),
                Err(lost @ Lost::TooLong) => plain(StatusCode::PAYLOAD_TOO_LARGE, &lost.text()),
                Err(lost @ Lost::Late) => plain(StatusCode::REQUEST_TIMEOUT, &lost.text()),
            }
        }
        content if !reads => {
            let allowed = match content {
                Content::Orders(_) => "GET, HEAD, POST",
                _ => "GET, HEAD",
            };
            let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, &format!("expected {allowed}\n"));
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            refused
        }
        Content::Fixed(text) => with(StatusCode::OK, page.content_type, Bytes::from_static(text.as_bytes())),
        Content::Made(make) => with(StatusCode::OK, page.content_type, make().into()),
        Content::Orders(orders) => with(StatusCode::OK, page.content_type, orders.look(&visitor()).into()),
        Content::Events(make) => {
            let mut response = Response::new(Either::Right(Events::new(make.clone())));
            headers(response.headers_mut(), "text/event-stream");
            response
        }
    }
}

fn carried_out(outcome: Result<String, Refused>) -> Answer {
    match outcome {
        Ok(text) => plain(StatusCode::OK, &text),
        Err(Refused::Forbidden(text)) => plain(StatusCode::FORBIDDEN, &text),
        Err(Refused::Malformed(text)) => plain(StatusCode::BAD_REQUEST, &text),
        Err(Refused::Impossible(text)) => plain(StatusCode::CONFLICT, &text),
    }
}

fn plain(status: StatusCode, text: &str) -> Answer {
    with(status, "text/plain; charset=utf-8", text.to_string().into())
}

fn with(status: StatusCode, content_type: &'static str, text: Bytes) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(text)));
    *response.status_mut() = status;
    headers(response.headers_mut(), content_type);
    response
}

fn headers(headers: &mut HeaderMap, content_type: &'static str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
}

/// A stream of events. One is made when the connection has room for it, so that a slow reader has none waiting.
struct Events {
    make: Make,
    due: Interval,
}

impl Events {
    fn new(make: Make) -> Events {
        let mut due = interval(EVENT_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Events { make, due }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.due.poll_tick(context).map(|_| {
            let event = format!("data: {}\n\n", (self.make)());
            Some(Ok(Frame::data(event.into())))
        })
    }
}
