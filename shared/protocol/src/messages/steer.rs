//! Steering: the orders of an operator to a run.

use std::{fmt, net::SocketAddr};

use access::Role;

use crate::{
    fields::{FieldError, answer, required},
    proto,
};

/// Smallest and largest factor on the learning rate that an operator can set.
pub const RATE_FACTORS: [f64; 2] = [1e-6, 1e3];

/// An order of an operator to a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steering {
    /// Pause: workers get no leases (ranges of samples to train on) until the run is resumed.
    Pause,
    /// Resumption of a run that was paused.
    Resume,
    /// Departure of the worker with this number, which hands in what it has done.
    Drain(u32),
    /// A snapshot, as soon as may be.
    Snapshot,
    /// A factor on the learning rate of the schedule, from now on, in the range [`RATE_FACTORS`].
    RateFactor(f64),
    /// Stop of the server, with a snapshot from which the run can be resumed.
    Stop,
}

/// The result of an order of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steered {
    /// What comes of the order, for people.
    pub text: String,
}

/// Whoever makes a call, as far as the server knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Role that the caller's token proves; `None` where no tokens are asked for.
    pub role: Option<Role>,
    /// Address that the call came from; `None` for a call within the process.
    pub address: Option<SocketAddr>,
}

impl fmt::Display for Caller {
    /// Writes role and address, such as `operator at 127.0.0.1:40000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Some(role) => write!(f, "{role}")?,
            None => f.write_str("somebody without a token")?,
        }
        match self.address {
            Some(address) => write!(f, " at {address}"),
            None => f.write_str(" in this process"),
        }
    }
}

impl From<Steering> for proto::SteerRequest {
    fn from(steering: Steering) -> proto::SteerRequest {
        use proto::steer_request::Order;
        let order = match steering {
            Steering::Pause => Order::Pause(proto::Pause {}),
            Steering::Resume => Order::Resume(proto::Resume {}),
            Steering::Drain(worker) => Order::Drain(worker),
            Steering::Snapshot => Order::Snapshot(proto::TakeSnapshot {}),
            Steering::RateFactor(factor) => Order::RateFactor(factor),
            Steering::Stop => Order::Stop(proto::Stop {}),
        };
        proto::SteerRequest { order: Some(order) }
    }
}

impl TryFrom<proto::SteerRequest> for Steering {
    type Error = FieldError;

    fn try_from(request: proto::SteerRequest) -> Result<Steering, FieldError> {
        use proto::steer_request::Order;
        Ok(match required(request.order, "SteerRequest", "order")? {
            Order::Pause(proto::Pause {}) => Steering::Pause,
            Order::Resume(proto::Resume {}) => Steering::Resume,
            Order::Drain(worker) => Steering::Drain(worker),
            Order::Snapshot(proto::TakeSnapshot {}) => Steering::Snapshot,
            Order::RateFactor(factor) => {
                Steering::RateFactor(rate_factor(factor, "SteerRequest", "rate_factor")?)
            }
            Order::Stop(proto::Stop {}) => Steering::Stop,
        })
    }
}

impl From<Steered> for proto::Steered {
    fn from(Steered { text }: Steered) -> proto::Steered {
        proto::Steered { text }
    }
}

impl From<proto::Steered> for Steered {
    fn from(proto::Steered { text }: proto::Steered) -> Steered {
        Steered { text }
    }
}

answer!(Steered, proto::SteerReply, steer_reply::Steered);

/// Reads a factor on the learning rate.
pub(super) fn rate_factor(
    factor: f64,
    message: &'static str,
    field: &'static str,
) -> Result<f64, FieldError> {
    let [least, most] = RATE_FACTORS;
    match (least..=most).contains(&factor) {
        true => Ok(factor),
        false => Err(FieldError::new(message, field, format!("{least:e} to {most}"), factor)),
    }
}
