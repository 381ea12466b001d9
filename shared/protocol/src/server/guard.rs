//! The one place where a call is let in or refused, before any service sees it.

use std::{
    future::ready,
    sync::Arc,
    task::{Context, Poll},
};

use access::{Credentials, Role, Token};
use tonic::{
    Status,
    body::Body,
    codegen::{
        BoxFuture, Service,
        http::{Extensions, Request, Response, header::AUTHORIZATION},
    },
};
use tower_layer::Layer;

use super::{permissions, refusals::Refusals};
use crate::{incoming::Peer, messages::Caller};

/// Beginning of the metadata that carries a secret.
const SCHEME: &str = "Bearer ";

/// What decides whether a call is let in: the credentials, and the count of those that were not.
#[derive(Debug)]
pub(crate) struct Door {
    credentials: Credentials,
    pub(crate) refusals: Refusals,
}

impl Door {
    pub(crate) fn new(credentials: Credentials) -> Door {
        Door { credentials, refusals: Refusals::default() }
    }

    /// Returns the role that `token` proves here; `None` for one that is not of this run.
    pub(crate) fn role_of(&self, token: &Token) -> Option<Role> {
        self.credentials.role_of(token.secret().as_bytes())
    }

    /// Returns the role of the caller of a request that is to be let in, and none for a call that is anybody's;
    /// else the status to answer it with.
    fn admit(&self, request: &Request<Body>) -> Result<Option<Role>, Status> {
        let path = request.uri().path();
        if permissions::is_open(path) {
            return Ok(None);
        }
        let peer = request.extensions().get::<Peer>();
        let role = self.proven(request, path, peer.is_some_and(Peer::is_private));
        if let (Err(status), Some(peer)) = (&role, peer) {
            self.refusals
                .note(peer.address.ip(), &format!("{}: {}", permissions::name(path), status.message()));
        }
        role.map(Some)
    }

    /// Returns the role that a caller's token proves, or the status for one who has no token, sends it where
    /// others can read it, or has one that is not of this run or of another role.
    fn proven(&self, request: &Request<Body>, path: &str, private: bool) -> Result<Role, Status> {
        let Some(proof) = request.headers().get(AUTHORIZATION) else {
            return Err(Status::unauthenticated(
                "expected a token, found none; name the token's file by --token-file, or put its text into \
                 DOWNPOUR_TOKEN",
            ));
        };
        if !private {
            return Err(Status::unauthenticated(
                "expected an encrypted connection from another machine, found a plain one; a process encrypts unless \
                 it calls 127.0.0.1, ::1 or localhost: call the server by another name",
            ));
        }
        let secret = proof.as_bytes().strip_prefix(SCHEME.as_bytes());
        let Some(role) = secret.and_then(|secret| self.credentials.role_of(secret)) else {
            return Err(Status::unauthenticated(
                "expected a token of this run, found another; give the newest one that the server's first process \
                 or downpour token made",
            ));
        };
        let allowed = permissions::roles(path);
        if allowed.contains(&role) {
            return Ok(role);
        }
        let allowed: Vec<&str> = allowed.iter().copied().map(Role::name).collect();
        let text = format!("expected a token of role {}, found one of role {role}", allowed.join(" or "));
        Err(Status::permission_denied(text))
    }
}

/// The role that a caller's token proves, as the guard hands it to the services with the request.
#[derive(Clone, Copy)]
struct Proven(Role);

/// Returns whoever made the request that has these extensions.
pub(crate) fn caller(extensions: &Extensions) -> Caller {
    let role = extensions.get::<Proven>().map(|Proven(role)| *role);
    Caller { role, address: extensions.get::<Peer>().map(|peer| peer.address) }
}

/// Puts a guard before the services of a server; without a door everybody is let in.
#[derive(Clone, Debug)]
pub(crate) struct Guard(pub(crate) Option<Arc<Door>>);

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, services: S) -> Guarded<S> {
        Guarded { services, door: self.0.clone() }
    }
}

/// Services behind a guard.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    services: S,
    door: Option<Arc<Door>>,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Response<Body>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let role = match self.door.as_ref().map_or(Ok(None), |door| door.admit(&request)) {
            Ok(role) => role,
            Err(status) => return Box::pin(ready(Ok(status.into_http()))),
        };
        if let Some(role) = role {
            request.extensions_mut().insert(Proven(role));
        }
        Box::pin(self.services.call(request))
    }
}
