//! Server glue.
use crate::*;
use std::{future::Future, sync::Arc};
use tokio::net::TcpListener;
/// Serves until `shutdown` is done.
pub async fn serve(
    _listener: TcpListener,
    _coordinator: Option<Arc<dyn Coordinator>>,
    _shards: Option<Arc<dyn Shards>>,
    _shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    todo!()
}
