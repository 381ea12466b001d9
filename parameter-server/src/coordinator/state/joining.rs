//! Joining a run: the first worker's data begin it, and others are compared with these.

use protocol::{DataDescription, Member, Refusal, Shards as _};

use super::State;
use crate::{
    coordinator::{admission, run::Run},
    random, update_rule,
};

impl State {
    /// Makes a worker called `name` a member of the run with its data.
    pub(in crate::coordinator) fn join(
        &mut self,
        name: String,
        data: DataDescription,
    ) -> Result<Member, Refusal> {
        self.all_registered()?;
        self.admit(data)?;
        // Shards of other processes that had the data before go back to the start first.
        self.all_registered()?;
        let run = self.run.as_mut().expect("it was begun, if it was not there");
        let member = run.join(name.clone())?;
        tracing::info!("worker {} joined ({name}); {} workers", member.worker, run.members.len());
        self.share_roster();
        Ok(member)
    }

    /// Refuses a worker while processes of the server are missing.
    fn all_registered(&self) -> Result<(), Refusal> {
        match self.processes.complete() {
            true => Ok(()),
            false => Err(Refusal::NotReady(format!("waiting for {}", self.processes.missing()))),
        }
    }

    /// Compares a joining worker's data with the run's, or starts the run with it. Data that another worker
    /// brought first and that did no work are replaced.
    fn admit(&mut self, data: DataDescription) -> Result<(), Refusal> {
        let Some(run) = &self.run else { return self.begin(data) };
        match admission::data(&run.data, &data) {
            Err(refusal) if self.is_unused() => {
                tracing::warn!(
                    "nothing was trained on the data so far, and other data take their place: {refusal}"
                );
                self.begin(data)
            }
            compared => compared,
        }
    }

    /// Starts the run with a worker's data and gives the shards of this process the update rule; or starts it
    /// again, in place of one that is not used. Other processes learn of that as of a new life of the server, in
    /// which they have to register first.
    fn begin(&mut self, data: DataDescription) -> Result<(), Refusal> {
        let configuration = admission::complete(&self.asked, &data)?;
        let rule = update_rule::of(&configuration, data.images);
        let run = match self.run.take() {
            None => {
                self.host.begin(&rule)?;
                Run::new(&configuration, data, self.life)
            }
            Some(unused) => match self.host.begin_again(&rule) {
                Ok(()) => {
                    self.life.life.nonce = random::number();
                    self.host.live(self.life.life);
                    self.processes.begin_again();
                    self.snapshot = None;
                    unused.again(&configuration, data, self.life)
                }
                Err(refusal) => {
                    self.run = Some(unused);
                    return Err(refusal);
                }
            },
        };
        self.statuses.clear();
        tracing::info!(
            "the run: {} classes, {} training images, {} samples in all",
            run.data.classes.len(),
            run.data.images,
            run.rule.total_samples
        );
        self.configuration = configuration;
        self.run = Some(run);
        Ok(())
    }

    /// Returns whether nothing was done in the run yet and no worker is there, so that other data may take the
    /// place of its own.
    fn is_unused(&self) -> bool {
        let Some(run) = &self.run else { return false };
        run.members.is_empty()
            && run.leases.used() == 0
            && self.end.ending().is_none()
            && self.host.status().iter().chain(self.statuses.values()).all(|status| status.samples == 0)
    }
}
