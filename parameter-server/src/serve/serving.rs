//! The network services of a process, which run in a task of their own.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use protocol::{Access, Coordinator, Listener, ServeError, Shards};
use tokio::{sync::oneshot, task::JoinHandle};

/// Time that open calls have to end.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// The running network services of a process.
pub(crate) struct Serving {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Serving {
    /// Starts to serve shards and, in the leader, the coordinator, to whom `access` lets in.
    pub(crate) fn start(
        listener: impl Listener,
        access: Access,
        coordinator: Option<Arc<dyn Coordinator>>,
        shards: Arc<dyn Shards>,
    ) -> Serving {
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            // A dropped sender stops the services as well.
            let _ = stopped.await;
        };
        let task = tokio::spawn(protocol::serve(listener, access, coordinator, Some(shards), stopped));
        Serving { stop, task }
    }

    /// Waits until serving ends by itself, which is a failure, and returns the reason.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.task).await.context("serve") {
            Ok(Ok(())) => anyhow!("serving ended though nobody stopped it"),
            Ok(Err(error)) => error.into(),
            Err(panic) => panic,
        }
    }

    /// Stops accepting calls and waits up to 5 s for the end of the calls that are still open.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        if tokio::time::timeout(LAST_CALLS, self.task).await.is_err() {
            tracing::warn!("some calls were still open after {} s and were cut off", LAST_CALLS.as_secs());
        }
    }
}
