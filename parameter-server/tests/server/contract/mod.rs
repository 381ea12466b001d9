//! What the services promise their callers, in every form in which they are called: within a process, over TCP,
//! and over a simulated network on a paused clock.

mod coordinator;
mod forms;
mod shards;

/// Makes tests of a suite's cases, for each form of the services.
macro_rules! in_every_form {
    ($($case:ident),+ $(,)?) => {
        mod in_process {
            $(#[tokio::test(start_paused = true)]
            async fn $case() {
                super::$case(crate::contract::forms::in_process).await;
            })+
        }

        mod over_tcp {
            $(#[tokio::test]
            async fn $case() {
                super::$case(crate::contract::forms::over_tcp).await;
            })+
        }

        mod simulated {
            $(#[tokio::test(start_paused = true)]
            async fn $case() {
                super::$case(crate::contract::forms::simulated).await;
            })+
        }
    };
}
use in_every_form;
