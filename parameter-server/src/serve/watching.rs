//! The pages of a server process, for who watches it by HTTP: off unless an address is given.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use protocol::{Access, Coordinator, Shards};
use serde::Serialize;
use web::{Content, Exposition, Page, Site};

use super::orders::PageOrders;
use crate::{ShardHost, telemetry::series};

/// Serves the pages of the server's first process on `address`, if there is one, until the result is dropped; whom
/// `access` lets steer may do so there.
///
/// # Errors
/// If the port cannot be opened.
pub(super) async fn of_leader(
    address: Option<SocketAddr>,
    coordinator: Arc<crate::Coordinator>,
    access: &Access,
) -> anyhow::Result<Option<Site>> {
    let fixed = |path, content_type, text| Page { path, content_type, content: Content::Fixed(text) };
    let (overview, curves, mistakes) = (coordinator.clone(), coordinator.clone(), coordinator.clone());
    let history = Content::Made(Arc::new(move || json(&curves.curves())));
    let mistakes = Content::Made(Arc::new(move || json(&mistakes.mistakes())));
    let events = Content::Events(Arc::new(move || json(&overview.overview())));
    let orders = Content::Orders(Arc::new(PageOrders::new(coordinator.clone(), access)));
    let pages = vec![
        fixed("/", "text/html; charset=utf-8", include_str!("page/index.html")),
        fixed("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
        fixed("/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
        Page { path: "/history", content_type: "application/json", content: history },
        Page { path: "/mistakes", content_type: "application/json", content: mistakes },
        Page { path: "/events", content_type: "text/event-stream", content: events },
        Page { path: "/steer", content_type: "application/json", content: orders },
        metrics(move || series::of_run(&coordinator.overview())),
    ];
    serve(address, pages).await
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain numbers, strings and lists become JSON")
}

/// Serves the pages of a process that only holds shards on `address`, if there is one, until the result is dropped.
///
/// # Errors
/// If the port cannot be opened.
pub(super) async fn of_follower(
    address: Option<SocketAddr>,
    host: Arc<ShardHost>,
) -> anyhow::Result<Option<Site>> {
    serve(address, vec![metrics(move || series::of_shards(&host.status()))]).await
}

fn metrics(make: impl Fn() -> String + Send + Sync + 'static) -> Page {
    let content = Content::Made(Arc::new(make));
    Page { path: "/metrics", content_type: Exposition::CONTENT_TYPE, content }
}

async fn serve(address: Option<SocketAddr>, pages: Vec<Page>) -> anyhow::Result<Option<Site>> {
    let Some(address) = address else { return Ok(None) };
    let first = pages.first().map_or("/", |page| page.path);
    let site = Site::serve(address, pages).await;
    let site = site.with_context(|| format!("cannot listen on {address}; choose another with --http"))?;
    tracing::info!("to be looked at by a browser or Prometheus: http://{}{first}", site.address());
    Ok(Some(site))
}

#[cfg(test)]
mod tests {
    const PAGE: &str = include_str!("page/index.html");
    const STYLE: &str = include_str!("page/page.css");
    const SCRIPT: &str = include_str!("page/page.js");

    /// The policy that goes with every page forbids it too, but a page that asks for it would be broken.
    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_writes_no_html() {
        let namespace = "http://www.w3.org/2000/svg";
        for text in [PAGE, STYLE, &SCRIPT.replace(namespace, "")] {
            for elsewhere in ["http:", "https:", "//cdn", "@import", "url("] {
                assert!(!text.contains(elsewhere), "{elsewhere} in {text}");
            }
        }
        for unsafe_call in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!SCRIPT.contains(unsafe_call), "{unsafe_call}");
        }
        for path in ["\"/page.css\"", "\"/page.js\""] {
            assert!(PAGE.contains(path), "{path}");
        }
        for path in ["\"/history\"", "\"/mistakes\"", "\"/events\"", "\"/steer\""] {
            assert!(SCRIPT.contains(path), "{path}");
        }
    }

    #[test]
    fn the_field_of_the_rate_has_the_bounds_of_the_order() {
        let [least, most] = protocol::RATE_FACTORS;
        assert!(PAGE.contains(&format!("min=\"{least}\" max=\"{most}\"")), "{least} {most}");
    }

    #[test]
    fn every_place_that_the_script_fills_is_in_the_page() {
        let asked = SCRIPT.split("by(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let filled = SCRIPT.split("fill(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let places: Vec<&str> = asked.chain(filled).collect();
        assert!(places.len() > 5, "{places:?}");
        for place in places {
            assert!(PAGE.contains(&format!("id=\"{place}\"")), "{place}");
        }
    }
}
