//! The bounds of every call that is let in: on its connection, in the budgets, and in time.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use tonic::{
    body::Body,
    codegen::{
        BoxFuture, Service,
        http::{Request, Response},
    },
};
use tower_layer::Layer;

use super::{
    arriving::{Arriving, Gathered, Kind},
    budget::Budget,
    leaving::Leaving,
    permissions,
};
use crate::{
    bounds::{CALL, Room},
    incoming::Peer,
};

/// The budgets that calls share.
#[derive(Clone, Debug)]
pub(crate) struct Budgets {
    pub(crate) received: Arc<Budget>,
    pub(crate) sent: Arc<Budget>,
}

impl Budgets {
    pub(crate) fn new(room: Room) -> Budgets {
        Budgets {
            received: Budget::new("messages being received", room.received),
            sent: Budget::new("answers waiting to be sent", room.sent),
        }
    }
}

/// Puts bounds around the services of a server.
#[derive(Clone, Debug)]
pub(crate) struct Bounded {
    budgets: Budgets,
    /// Of the calls that are there for everybody: they are small, and nobody can take the others' room by
    /// them, nor they by theirs.
    open: Budgets,
}

impl Bounded {
    pub(crate) fn new(budgets: Budgets) -> Bounded {
        Bounded { budgets, open: Budgets::new(Room { received: usize::MAX, sent: usize::MAX }) }
    }
}

impl<S> Layer<S> for Bounded {
    type Service = BoundedServices<S>;

    fn layer(&self, services: S) -> BoundedServices<S> {
        BoundedServices { services, bounded: self.clone() }
    }
}

/// Services within bounds.
#[derive(Clone)]
pub(crate) struct BoundedServices<S> {
    services: S,
    bounded: Bounded,
}

impl<S> Service<Request<Body>> for BoundedServices<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Response<Body>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that is ready makes the call.
        let next = self.services.clone();
        let mut services = mem::replace(&mut self.services, next);
        let path = request.uri().path();
        let budgets = if permissions::is_open(path) { &self.bounded.open } else { &self.bounded.budgets };
        let Budgets { received, sent } = budgets.clone();
        let kind = if permissions::is_stream(path) { Kind::Stream } else { Kind::One };
        let peer = request.extensions().get::<Peer>();
        let call = peer.expect("a connection says whose it is").activity.begin();
        Box::pin(async move {
            let _held = match sent.clone().take(CALL).await {
                Ok(held) => held,
                Err(status) => return Ok(status.into_http()),
            };
            let gathered = Gathered::new(received.hold(0).into());
            let arriving = |body| Arriving::new(body, kind, received, gathered.clone());
            let response = services.call(request.map(|body| Body::new(arriving(body)))).await?;
            call.given();
            let leaving = |body| Leaving { body, budget: sent, call, _held, _gathered: gathered };
            Ok(response.map(|body| Body::new(leaving(body))))
        })
    }
}
