//! The protocol between server and workers: its messages, clients with deadlines and retry, and the servers'
//! glue to gRPC.
//!
//! [`messages`] holds the domain's own types, and [`service`] the services as plain traits. [`serve`]
//! offers implementations of the traits on a network. [`CoordinatorCalls`] and [`ShardCalls`] are the calls
//! to them: [`CoordinatorClient`] and [`ShardClient`] make them from other processes, with deadlines and
//! retry, and [`InProcess`] from the same one. The `.proto` files in the repository's folder `proto` document
//! the wire; the types generated from them stay inside this crate, the only one that knows tonic and prost.
//!
//! Absent by intent: how a shard applies a gradient, and how leases are administered.
//!
//! ```
//! use std::time::Duration;
//!
//! use protocol::{ClientError, CoordinatorClient, Patience};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! // Nothing listens on port 1, so that patience ends after a tenth of a second.
//! let patience = Patience { give_up_after: Duration::from_millis(100), ..Patience::default() };
//! let error = CoordinatorClient::connect("127.0.0.1:1", patience).await.unwrap_err();
//! assert!(matches!(error, ClientError::Unreachable { .. }));
//! assert!(error.to_string().starts_with("cannot reach 127.0.0.1:1: tried for 0 s"));
//! # });
//! ```

mod blocking;
mod bounds;
mod client;
mod codec;
mod error;
mod fields;
mod health;
mod incoming;
pub mod messages;
mod network;
mod ready;
pub mod received;
mod retry;
mod server;
pub mod service;
mod tls;
mod transport;
mod values;

/// Generated from `proto/downpour/v1`.
#[allow(missing_docs, clippy::all, reason = "generated; documented in the proto files")]
mod proto {
    tonic::include_proto!("downpour.v1");
}

pub use access::{Access, Credentials, Token};
pub use blocking::run_blocking;
pub use bounds::Room;
pub use client::{
    Carried, CoordinatorCalls, CoordinatorClient, InProcess, LentPicture, ShardCalls, ShardClient,
};
pub use codec::encoded_size;
pub use error::{ClientError, ServeError};
pub use health::check_health;
pub use messages::*;
pub use network::{Connection, Connector, Listener, Network};
pub use ready::until_ready;
pub use retry::Patience;
pub use server::{Steerers, serve, serve_within};
pub use service::{Coordinator, Pictures, Shards};
pub use transport::is_here;
pub use values::Values;
