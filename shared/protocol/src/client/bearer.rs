//! A channel whose every call carries the secret of a token.

use std::task::{Context, Poll};

use access::Token;
use tonic::{
    body::Body,
    codegen::{
        Service,
        http::{HeaderValue, Request, header::AUTHORIZATION},
    },
    transport::Channel,
};

/// A channel to a server, and the secret that proves to it who calls; without a token calls carry none.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    channel: Channel,
    /// Never shown where it is printed.
    proof: Option<HeaderValue>,
}

impl Bearer {
    pub(crate) fn new(channel: Channel, token: Option<&Token>) -> Bearer {
        let proof = token.map(|token| {
            let text = format!("Bearer {}", token.secret());
            let mut proof = HeaderValue::try_from(text).expect("a secret is hexadecimal digits");
            proof.set_sensitive(true);
            proof
        });
        Bearer { channel, proof }
    }
}

impl Service<Request<Body>> for Bearer {
    type Response = <Channel as Service<Request<Body>>>::Response;
    type Error = <Channel as Service<Request<Body>>>::Error;
    type Future = <Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.channel, context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(proof) = &self.proof {
            request.headers_mut().insert(AUTHORIZATION, proof.clone());
        }
        self.channel.call(request)
    }
}
