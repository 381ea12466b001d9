//! The health service, asked by our own check and, as an orchestrator asks, by its generated client.

use std::{sync::Arc, time::Duration};

use crate::support::*;
use protocol::*;
use tokio::{net::TcpListener, time::Instant};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const DEADLINE: Duration = Duration::from_millis(500);

fn asked_for(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

#[tokio::test]
async fn a_process_with_shards_serves_until_it_is_stopped() {
    let server = Server::shards(&Arc::new(Adder::holding_zeros()));
    let address = server.address.clone();
    check_health(&address, DEADLINE).await.unwrap();

    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(endpoint.connect().await.unwrap());
    for service in ["", "downpour.v1.Shards"] {
        let reply = client.check(asked_for(service)).await.unwrap().into_inner();
        assert_eq!(reply.status(), ServingStatus::Serving, "service {service:?}");
    }
    let unknown = client.check(asked_for("other")).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);

    // Somebody who watches is told, and does not hold up the end.
    let mut watch = client.watch(asked_for("")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let start = Instant::now();
    server.stop().await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(watch.message().await.unwrap(), None);

    let text = check_health(&address, DEADLINE).await.unwrap_err().to_string();
    assert!(
        text.starts_with(&format!("{address} does not serve: expected status SERVING, found ")),
        "{text}"
    );
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_process_without_shards_and_one_that_is_silent_do_not_serve() {
    let server = Server::start(None, None);
    let text = check_health(&server.address, DEADLINE).await.unwrap_err().to_string();
    assert!(text.contains("found status NOT_SERVING;"), "{text}");

    // Connections are taken by the system's queue, and nobody speaks on them: a process that still registers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let text = check_health(&address, DEADLINE).await.unwrap_err().to_string();
    assert!(text.contains("found no answer within 0.5 s;"), "{text}");
}
