//! The gRPC health service (`grpc.health.v1`) that orchestrators query, and a client for the one query that
//! this program makes.

use std::time::Duration;

use tokio::time::timeout;
use tonic::Status;
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, health_check_response, health_client::HealthClient, health_server::Health,
        health_server::HealthServer,
    },
    server::{HealthReporter, health_reporter},
};

use crate::{ClientError, bounds::HEALTH_MESSAGE, proto::shards_server, retry::reason, transport};

/// The names that orchestrators ask for: the process as a whole, or the service that every server process
/// has.
const NAMES: [&str; 2] = ["", shards_server::SERVICE_NAME];

/// Makes the health service of a process, which reports SERVING if the process serves shards.
pub(crate) async fn service(shards: bool) -> (HealthReporter, HealthServer<impl Health>) {
    let (reporter, service) = health_reporter();
    let status = if shards { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in NAMES {
        reporter.set_service_status(name, status).await;
    }
    (reporter, service.max_decoding_message_size(HEALTH_MESSAGE))
}

/// Reports that the process stops, and ends the streams of its watchers, for which a shutdown would wait.
pub(crate) async fn withdraw(mut reporter: HealthReporter) {
    for name in NAMES {
        reporter.set_service_status(name, ServingStatus::NotServing).await;
        reporter.clear_service_status(name).await;
    }
}

/// Asks the server at `address` ("host:port") once whether it serves shards; connection and answer must come
/// within `deadline`.
///
/// # Errors
/// [`ClientError::Address`] if `address` is not of the form "host:port"; [`ClientError::NotServing`] if the
/// server does not answer in time, or reports that it does not serve.
pub async fn check_health(address: &str, deadline: Duration) -> Result<(), ClientError> {
    let endpoint = transport::endpoint(address, deadline)?;
    let asked = async {
        let channel = endpoint.connect().await.map_err(|error| Status::from_error(Box::new(error)))?;
        let request = HealthCheckRequest { service: shards_server::SERVICE_NAME.into() };
        HealthClient::new(channel).check(request).await
    };
    let found = match timeout(deadline, asked).await {
        Ok(Ok(reply)) => match reply.into_inner().status() {
            health_check_response::ServingStatus::Serving => return Ok(()),
            other => format!("status {}", other.as_str_name()),
        },
        Ok(Err(status)) => reason(&status),
        Err(_) => format!("no answer within {} s", deadline.as_secs_f32()),
    };
    Err(ClientError::NotServing { address: address.into(), found })
}
