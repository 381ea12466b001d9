//! Pages for people and numbers for machines, which a process serves by HTTP: fixed pages, pages that are made when
//! they are asked for, and streams of events; and the text in which Prometheus reads numbers.
//!
//! Nothing that is served here changes anything, and nothing asks for a token: whoever reaches the port may look.
//! [`check_address`] therefore lets a process listen on its own machine only, unless its run lets everybody in.
//!
//! ```
//! use web::{Exposition, Kind};
//!
//! let mut text = Exposition::default();
//! text.family("downpour_images_total", Kind::Counter, "images used so far");
//! text.sample("downpour_images_total", &[("worker", "host/1")], 320.0);
//! assert!(text.to_string().ends_with("downpour_images_total{worker=\"host/1\"} 320\n"));
//! ```
//!
//! Absent by intent: what a run is.

mod exposition;
mod histogram;
mod hosts;
mod serve;

pub use exposition::{Exposition, Kind};
pub use histogram::Histogram;
pub use hosts::check_address;
pub use serve::{Content, Page, Site};
