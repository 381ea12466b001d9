//! The network side of a process, running beside it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use protocol::{Coordinator, Listener, ServeError, Shards};
use tokio::{sync::oneshot, task::JoinHandle};

/// How long open calls may take to end.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// The services on the network.
pub(crate) struct Serving {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Serving {
    pub(crate) fn start(
        listener: impl Listener,
        coordinator: Option<Arc<dyn Coordinator>>,
        shards: Arc<dyn Shards>,
    ) -> Serving {
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            // Dropped is stopped as well.
            let _ = stopped.await;
        };
        let task = tokio::spawn(protocol::serve(listener, coordinator, Some(shards), stopped));
        Serving { stop, task }
    }

    /// Resolves only if serving ends by itself, with the reason.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.task).await.context("serve") {
            Ok(Ok(())) => anyhow!("serving ended though nobody stopped it"),
            Ok(Err(error)) => error.into(),
            Err(panic) => panic,
        }
    }

    /// Takes no new calls and waits a little for those that are open.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        if tokio::time::timeout(LAST_CALLS, self.task).await.is_err() {
            tracing::warn!("some calls were still open after {} s and were cut off", LAST_CALLS.as_secs());
        }
    }
}
