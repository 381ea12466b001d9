//! The wire: what server and workers say to each other, and the only crate that knows how it is said.
//!
//! [`messages`] are the domain's own types and [`service`] the two services as plain traits. [`serve`] puts
//! implementations of the traits on the network; [`CoordinatorClient`] and [`ShardClient`] call them from
//! elsewhere, with deadlines and retry. The `.proto` files at the root of the repository are the document of
//! the wire; the types generated from them stay inside this crate.
//!
//! Absent by intent: what a shard does with a gradient, what a lease is good for.

mod apart;
mod client;
mod convert;
mod error;
mod health;
mod incoming;
pub mod messages;
mod network;
pub mod received;
mod retry;
mod server;
pub mod service;
mod transport;
mod values;
mod wire;

/// Generated from `proto/downpour/v1`.
#[allow(missing_docs, clippy::all, reason = "generated; documented in the proto files")]
mod proto {
    tonic::include_proto!("downpour.v1");
}

pub use apart::apart;
pub use client::{CoordinatorClient, ShardClient};
pub use error::{ClientError, ServeError};
pub use health::check_health;
pub use messages::*;
pub use network::{Connection, Listener, Network, Way};
pub use retry::Patience;
pub use server::serve;
pub use service::{Coordinator, Shards};
pub use values::Values;
