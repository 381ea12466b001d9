//! Orders that an operator gives by the page: the same that a shell gives, to the same coordinator.

use std::sync::Arc;

use protocol::{Access, Coordinator, RATE_FACTORS, Steerers, Steering};
use serde::{Deserialize, Serialize};
use web::{Orders, Refused, Visitor};

/// Forms of an order that the page may send, for the errors about others.
const EXPECTED: &str = r#"expected one of {"order":"pause"}, {"order":"resume"}, {"order":"drain","worker":3}, {"order":"snapshot"}, {"order":"rate","factor":0.5} and {"order":"stop"}"#;

/// An order as the page sends it.
#[derive(Debug, Deserialize)]
#[serde(tag = "order", rename_all = "lowercase", deny_unknown_fields)]
enum Order {
    // Without braces further fields would be let pass.
    Pause {},
    Resume {},
    Drain { worker: u32 },
    Snapshot {},
    Rate { factor: f64 },
    Stop {},
}

/// Answer to a visitor of the page who asks whether he may steer the run.
#[derive(Serialize)]
struct Standing {
    may: bool,
    /// Reason why the visitor may not, for people; empty if he may.
    missing: String,
}

/// Whoever carries out the orders of the page.
pub(super) struct PageOrders {
    coordinator: Arc<crate::Coordinator>,
    steerers: Steerers,
}

impl PageOrders {
    /// Hands orders of whom `access` lets steer to `coordinator`.
    pub(super) fn new(coordinator: Arc<crate::Coordinator>, access: &Access) -> PageOrders {
        PageOrders { coordinator, steerers: Steerers::of(access) }
    }
}

impl Orders for PageOrders {
    fn look(&self, visitor: &Visitor) -> String {
        let missing = self.steerers.admit(visitor.bearer.as_deref(), visitor.address).err();
        let standing = Standing { may: missing.is_none(), missing: missing.unwrap_or_default() };
        serde_json::to_string(&standing).expect("a flag and a text become JSON")
    }

    fn take(&self, visitor: &Visitor, text: &[u8]) -> Result<String, Refused> {
        let caller =
            self.steerers.admit(visitor.bearer.as_deref(), visitor.address).map_err(Refused::Forbidden)?;
        let order = read(text).map_err(Refused::Malformed)?;
        let steered = self.coordinator.steer(order, caller);
        steered.map(|steered| steered.text).map_err(|refusal| Refused::Impossible(refusal.to_string()))
    }
}

/// Reads the text of an order.
///
/// # Errors
/// If it is none, or has a factor on the learning rate that is out of bounds.
fn read(text: &[u8]) -> Result<Steering, String> {
    let order =
        serde_json::from_slice(text).map_err(|error| format!("{EXPECTED}; found another: {error}"))?;
    Ok(match order {
        Order::Pause {} => Steering::Pause,
        Order::Resume {} => Steering::Resume,
        Order::Drain { worker } => Steering::Drain(worker),
        Order::Snapshot {} => Steering::Snapshot,
        Order::Rate { factor } => {
            let [least, most] = RATE_FACTORS;
            if !(least..=most).contains(&factor) {
                return Err(format!("expected a factor from {least} to {most}, found {factor}"));
            }
            Steering::RateFactor(factor)
        }
        Order::Stop {} => Steering::Stop,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_that_is_expected_is_read_and_no_other() {
        let expected: Vec<&str> =
            EXPECTED.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        let orders: Vec<Steering> =
            expected.iter().map(|order| read(format!("{{{order}}}").as_bytes()).unwrap()).collect();
        let all = [
            Steering::Pause,
            Steering::Resume,
            Steering::Drain(3),
            Steering::Snapshot,
            Steering::RateFactor(0.5),
            Steering::Stop,
        ];
        assert_eq!(orders, all);
        for text in [
            "",
            "pause",
            "\"pause\"",
            "[]",
            "{}",
            r#"{"order":"Pause"}"#,
            r#"{"order":"pause","worker":1}"#,
            r#"{"order":"pause"} {"order":"stop"}"#,
            r#"{"order":"drain"}"#,
            r#"{"order":"drain","worker":-1}"#,
            r#"{"order":"drain","worker":4294967296}"#,
            r#"{"order":"rate","factor":"0.5"}"#,
            r#"{"order":"rate","factor":null}"#,
            r#"{"order":"rate","factor":1e999}"#,
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.starts_with(EXPECTED), "{text}: {error}");
        }
        assert!(read(b"\xff").is_err() && read(&[b'['; 4096]).is_err());
        for factor in ["0", "-1", "1001", "9e-7"] {
            let error = read(format!(r#"{{"order":"rate","factor":{factor}}}"#).as_bytes()).unwrap_err();
            assert!(error.starts_with("expected a factor from 0.000001 to 1000, found "), "{error}");
        }
    }
}
