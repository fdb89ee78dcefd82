//! Runs the clients of a load: opens their connections, and waits until all have finished or a signal comes.

use std::pin::pin;
use std::time::{Duration, Instant};

use chassis::process::stop::Signals;
use tokio::signal::unix::SignalKind;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::load_client::LoadClient;
use super::load_run::LoadRun;

/// The most clients that connect at the same time: more could overflow the accept queue of the server.
const CONNECTING_MAX: usize = 64;

/// Why a load did not run to its end.
#[derive(Debug)]
pub(super) enum Stopped {
    Interrupted(SignalKind),
    Failed(anyhow::Error),
}

/// How a load ended.
#[derive(Debug)]
pub(super) struct LoadEnd {
    /// How many operations fell due and were never sent.
    pub(super) unsent: u64,
    /// The signal that ended the load early. All operations in flight were answered.
    pub(super) interrupted: Option<SignalKind>,
}

/// Opens the connections of all clients. Also returns how long that took.
pub(super) async fn connect(
    run: &LoadRun,
    signals: &mut Signals,
) -> Result<(Vec<LoadClient>, Duration), Stopped> {
    let begun = Instant::now();
    tokio::select! {
        clients = connect_all(run) => Ok((clients?, begun.elapsed())),
        signal = signals.next() => Err(Stopped::Interrupted(signal)),
    }
}

async fn connect_all(run: &LoadRun) -> anyhow::Result<Vec<LoadClient>> {
    let total = run.args.clients.get();
    let mut opening = JoinSet::new();
    let mut clients = Vec::with_capacity(total);
    for number in 0..total {
        if opening.len() >= CONNECTING_MAX
            && let Some(opened) = opening.join_next().await
        {
            clients.push(opened??);
        }
        opening.spawn(LoadClient::connect(run.clone(), number));
    }
    while let Some(opened) = opening.join_next().await {
        clients.push(opened??);
    }
    Ok(clients)
}

/// Runs the clients until all have finished. After the first signal, no more operations are sent, but replies are still awaited. The
/// second signal ends the load at once.
pub(super) async fn drive(
    run: &LoadRun,
    clients: Vec<LoadClient>,
    begun: Instant,
    signals: &mut Signals,
) -> Result<LoadEnd, Stopped> {
    run.schedule.begin(begun);
    let mut finished = pin!(finished(run, clients, begun));
    let signal = tokio::select! {
        unsent = &mut finished => return Ok(LoadEnd { unsent: unsent?, interrupted: None }),
        signal = signals.next() => signal,
    };
    run.schedule.stop();
    tokio::select! {
        unsent = finished => Ok(LoadEnd { unsent: unsent?, interrupted: Some(signal) }),
        signal = signals.next() => Err(Stopped::Interrupted(signal)),
    }
}

/// Waits until all clients have finished. Returns how many operations fell due and were never sent.
async fn finished(run: &LoadRun, clients: Vec<LoadClient>, begun: Instant) -> anyhow::Result<u64> {
    let mut running: JoinSet<anyhow::Result<u64>> = clients.into_iter().map(|c| c.run(begun)).collect();
    let progress = run.progress();
    let mut tick = interval(Duration::from_millis(200));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unsent = 0;
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                Some(ended) => unsent += ended??,
                None => break,
            },
            _ = tick.tick(), if progress.is_shown() => run.show(&progress, begun.elapsed()),
        }
    }
    Ok(unsent)
}

impl From<anyhow::Error> for Stopped {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}
