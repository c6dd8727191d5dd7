use std::time::Instant;

use tokio::sync::watch;

/// How far a process has come on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Run,
    /// No new work; what runs may finish until the deadline.
    Drain {
        /// When what still runs is cut.
        deadline: Instant,
    },
    /// Everything ends now.
    Stop,
}

/// The sender of the drain signal.
#[derive(Debug)]
pub struct Drain(watch::Sender<Phase>);

/// A receiver of the drain signal.
#[derive(Debug, Clone)]
pub struct DrainSignal(watch::Receiver<Phase>);

impl Default for Drain {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Run))
    }
}

impl Drain {
    /// A receiver.
    pub fn signal(&self) -> DrainSignal {
        DrainSignal(self.0.subscribe())
    }

    /// Asks for no new work and sets the deadline; a second call keeps the earlier deadline.
    pub fn begin(&self, deadline: Instant) {
        self.0.send_if_modified(|phase| match phase {
            Phase::Run => {
                *phase = Phase::Drain { deadline };
                true
            }
            Phase::Drain { .. } | Phase::Stop => false,
        });
    }

    /// Ends everything.
    pub fn stop(&self) {
        self.0.send_replace(Phase::Stop);
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }
}

impl DrainSignal {
    /// The current phase.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the phase is no longer [`Phase::Run`]; returns at once where it is not.
    pub async fn begun(&mut self) -> Phase {
        // A sender that is gone means that the process is at its end.
        self.0.wait_for(|phase| *phase != Phase::Run).await.map_or(Phase::Stop, |phase| *phase)
    }

    /// Waits for [`Phase::Stop`].
    pub async fn stopped(&mut self) {
        let _gone = self.0.wait_for(|phase| *phase == Phase::Stop).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn the_first_deadline_holds_and_stop_overrides() {
        let drain = Drain::default();
        let mut signal = drain.signal();
        let deadline = Instant::now() + Duration::from_secs(5);
        drain.begin(deadline);
        drain.begin(deadline + Duration::from_secs(9));
        assert_eq!(signal.begun().await, Phase::Drain { deadline });
        drain.stop();
        signal.stopped().await;
        drain.begin(deadline);
        assert_eq!(signal.phase(), Phase::Stop);
    }
}
