//! One client: keeps operations in flight on its two connections and counts the replies.

use std::time::Instant;

use anyhow::Context as _;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::gets::GetConnection;
use super::load_run::LoadRun;
use super::results::FinishedOp;
use super::schedule::NextSend;
use super::sets::SetConnection;

/// A client with its connections open.
#[derive(Debug)]
pub(super) struct LoadClient {
    run: LoadRun,
    number: usize,
    sets: Option<SetConnection>,
    gets: Option<GetConnection>,
    rng: SmallRng,
    /// Operations sent.
    sent: u64,
    /// The key of the next operation. Reused to avoid an allocation.
    key: String,
    /// Operations that are not in the results yet.
    finished: Vec<FinishedOp>,
}

impl LoadClient {
    /// Opens the connections that the share of reads needs.
    pub(super) async fn connect(run: LoadRun, number: usize) -> anyhow::Result<Self> {
        let args = &run.args;
        let sets = if args.reads == 100 {
            None
        } else {
            let target = args.targets.write_target();
            let sets = SetConnection::connect(target, args.ids, args.ttl).await;
            Some(sets.with_context(|| format!("cannot write at {}", target.url))?)
        };
        let gets = if args.reads == 0 {
            None
        } else {
            let target = args.targets.read_target();
            let gets = GetConnection::connect(target).await;
            Some(gets.with_context(|| format!("cannot read at {}", target.url))?)
        };
        let rng = SmallRng::seed_from_u64(number as u64);
        Ok(Self { run, number, sets, gets, rng, sent: 0, key: String::new(), finished: Vec::new() })
    }

    /// Sends operations until the run is over and every reply has come. `begun` is when the run began. Returns how many operations
    /// fell due and were not sent.
    pub(super) async fn run(mut self, begun: Instant) -> anyhow::Result<u64> {
        let mut over = false;
        loop {
            while !over && self.in_flight() < self.run.args.pipeline.get() {
                match self.run.schedule.may_send(self.number, self.sent) {
                    NextSend::Now(due) => self.send(due.max(begun)).await?,
                    NextSend::Later => break,
                    NextSend::Never => over = true,
                }
            }
            self.flush().await?;
            if over && self.in_flight() == 0 {
                break;
            }
            let may_send_later = !over && self.in_flight() < self.run.args.pipeline.get();
            tokio::select! {
                op = next_set(self.sets.as_mut()) => self.finished.push(op?),
                op = next_get(self.gets.as_mut()) => self.finished.push(op?),
                () = self.run.schedule.due(self.number), if may_send_later => {}
            }
            self.collect()?;
        }
        Ok(self.run.schedule.unsent(self.number, self.sent))
    }

    fn in_flight(&self) -> usize {
        let sets = self.sets.as_ref().map_or(0, SetConnection::in_flight);
        sets + self.gets.as_ref().map_or(0, GetConnection::in_flight)
    }

    async fn send(&mut self, due: Instant) -> anyhow::Result<()> {
        self.key.clear();
        self.run.keys.next(&mut self.rng, &mut self.key);
        self.sent += 1;
        let reads = self.rng.random_range(0..100) < self.run.args.reads;
        if reads {
            let gets = self.gets.as_mut().expect("a share of reads above 0 opens this connection");
            gets.send(&self.key, due);
            return Ok(());
        }
        let value = self.run.keys.value(&mut self.rng);
        let sets = self.sets.as_mut().expect("a share of reads below 100 opens this connection");
        sets.send(&self.key, value, due).await
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        if let Some(sets) = &mut self.sets {
            sets.flush().await?;
        }
        if let Some(gets) = &mut self.gets {
            gets.flush().await?;
        }
        Ok(())
    }

    /// Takes the replies that have arrived, and adds all finished operations to the results.
    fn collect(&mut self) -> anyhow::Result<()> {
        if let Some(sets) = &mut self.sets {
            while let Some(op) = sets.try_next()? {
                self.finished.push(op);
            }
        }
        if let Some(gets) = &mut self.gets {
            while let Some(op) = gets.try_next()? {
                self.finished.push(op);
            }
        }
        self.run.results(|results| results.add(&mut self.finished));
        Ok(())
    }
}

/// Waits for the next reply to a set; for ever if no set is in flight.
async fn next_set(sets: Option<&mut SetConnection>) -> anyhow::Result<FinishedOp> {
    match sets.filter(|sets| sets.in_flight() > 0) {
        Some(sets) => sets.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for the next reply to a get; for ever if no get is in flight.
async fn next_get(gets: Option<&mut GetConnection>) -> anyhow::Result<FinishedOp> {
    match gets.filter(|gets| gets.in_flight() > 0) {
        Some(gets) => gets.next().await,
        None => std::future::pending().await,
    }
}
