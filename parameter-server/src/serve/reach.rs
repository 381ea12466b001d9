//! The try of the address that a server tells workers: whether this server answers there.

use std::time::Duration;

use protocol::{ClientError, Connector, CoordinatorCalls as _, CoordinatorClient, RunId};

/// Longest time for which the address is tried.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Calls `address`, under which workers are to reach this server of the run `run`, as they would, and warns if another
/// process or nobody answers. What lies between the workers and this machine is not seen from here.
pub(super) async fn try_own_address(address: String, connector: Connector, run: RunId) {
    if let Some(text) = trouble(&address, connector, run).await {
        tracing::warn!(
            "workers are told to call {address}, and from here {text}; check --advertise, the port, and what lies in \
             between (some networks let no machine reach itself by its outer address: then this is no harm)"
        );
    }
}

async fn trouble(address: &str, mut connector: Connector, run: RunId) -> Option<String> {
    let patience = &mut connector.patience;
    (patience.give_up_after, patience.connecting, patience.control) =
        (ANSWER_WITHIN, ANSWER_WITHIN, ANSWER_WITHIN);
    let status = match CoordinatorClient::connect(address, connector).await {
        Ok(client) => client.status().await,
        Err(error) => Err(error),
    };
    match status {
        Ok(status) if status.life.run == run => None,
        Ok(status) => Some(format!("the server of another run ({}) answers there", status.life.run)),
        Err(ClientError::Unreachable { last, .. }) => Some(format!("nobody answers there: {last}")),
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::{Access, Life, Patience};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{Coordinator, ShardHost, coordinator::Settings, serve::serving::Serving};

    #[tokio::test]
    async fn an_address_is_this_servers_another_ones_or_nobodys() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let life = Life { run: RunId(7), count: 0, nonce: 5 };
        let settings = Settings {
            configuration: settings::recipe("quick").unwrap(),
            processes: 1,
            shards: 1,
            address: address.clone(),
            lease_time: Duration::from_secs(30),
            life,
        };
        let host = Arc::new(ShardHost::new(0, Vec::new(), "nowhere".into()));
        let coordinator = Arc::new(Coordinator::new(settings, host.clone(), None));
        let serving = Serving::start(listener, Access::Open, Some(coordinator), host);
        let found = |run| trouble(&address, Patience::default().into(), RunId(run));
        assert_eq!(found(7).await, None);
        let other = found(8).await.unwrap();
        assert_eq!(other, format!("the server of another run ({}) answers there", RunId(7)));
        serving.stop().await;
        tokio::time::pause();
        let nobody = found(7).await.unwrap();
        assert!(nobody.starts_with("nobody answers there: "), "{nobody}");
    }
}
