//! Pages for people and numbers for machines, which a process serves by HTTP: fixed pages, pages that are made when
//! they are asked for, streams of events, and orders; and the text in which Prometheus reads numbers.
//!
//! Nothing asks for a token before it is read: whoever reaches the port may look. [`check_address`] therefore lets
//! a process listen on its own machine only, unless its run lets everybody in. [`Orders`] alone change something:
//! they are taken from pages of the site itself, and whoever carries them out decides whose they may be.
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
//! Absent by intent: what a run is, and who may order what.

mod exposition;
mod histogram;
mod hosts;
mod orders;
mod serve;

pub use exposition::{Exposition, Kind};
pub use histogram::Histogram;
pub use hosts::check_address;
pub use orders::{Orders, Refused, Visitor};
pub use serve::{Content, Page, Site};
