//! A client of a run: writes, reads, and records the outcomes.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep};
use tracing::{Span, debug};

use super::journal::Journal;
use super::process::Process;
use super::sent::{EXPIRING, GROUP, SentWrite, TOGETHER, WriteKind, key, plain, read, rev_of};
use super::server::ScriptedServer;
use crate::entry::{Change, Expiry, Op, Rev, Value, Write};
use crate::lane::sender::Priority;
use crate::lane::writer::{Submitted, Writer};

/// One client of one process.
pub(super) struct SimulatedClient {
    writer: Writer,
    server: ScriptedServer,
    /// The process that reads.
    process: Process,
    journal: Journal,
    random: SmallRng,
    /// How many keys are written one by one.
    keys: u64,
    /// The last revision in an outcome, of any key.
    rev: u64,
    /// The probability of a long pause between two steps, in thousandths.
    pauses: u32,
}

impl SimulatedClient {
    pub(super) fn new(
        writer: Writer,
        server: ScriptedServer,
        process: Process,
        journal: Journal,
        random: &mut SmallRng,
        keys: u64,
    ) -> Self {
        let pauses = if random.random_bool(0.3) { 100 } else { 0 };
        let random = SmallRng::from_rng(random);
        Self { writer, server, process, journal, random, keys, rev: 0, pauses }
    }

    /// Takes `steps` steps, one after another.
    pub(super) async fn work(mut self, steps: u64) {
        for _ in 0..steps {
            match self.random.random_range(0..10) {
                0..6 => {
                    let burst = if self.random.random_bool(0.3) { self.random.random_range(2..9) } else { 1 };
                    let sent = self.send_burst(burst).await;
                    self.await_burst(sent).await;
                }
                6 => {
                    let burst = if self.random.random_bool(0.3) { self.random.random_range(1..4) } else { 0 };
                    self.write_group(burst).await;
                }
                _ => self.read(),
            }
            self.rest().await;
        }
    }

    /// Writes every key once. There are no faults any more, so each write must be acknowledged.
    pub(super) async fn write_all(mut self) {
        for number in 0..=self.keys {
            let value = self.journal.value();
            let op = |key| Op { key, change: set(value, Expiry::Never), if_rev: None, asks_rev: true };
            let (kind, write) = if number == self.keys {
                let ops = TOGETHER.map(|name| op(key(name))).into();
                (WriteKind::SetGroup { value }, Write::Atomic(ops))
            } else {
                (WriteKind::Set { key: number, value }, Write::One(op(plain(number))))
            };
            let deadline = self.writer.deadline();
            let sent = self.send(kind, write, Priority::Normal, deadline).await;
            if self.await_outcome(sent).await.is_none() {
                self.journal.violation(format!("long after the faults, {kind:?} is not acknowledged"));
            }
        }
    }

    async fn rest(&mut self) {
        let millis = if self.random.random_ratio(self.pauses, 1000) {
            self.random.random_range(1000..25_000)
        } else {
            self.random.random_range(0..30)
        };
        sleep(Duration::from_millis(millis)).await;
    }

    /// Sends `burst` writes without waiting for their outcomes.
    async fn send_burst(&mut self, burst: usize) -> Vec<SentWrite> {
        let mut sent = Vec::with_capacity(burst);
        for _ in 0..burst {
            let (kind, op) = self.an_op();
            let priority = if sent.is_empty() { Priority::High } else { Priority::Normal };
            let deadline = self.writer.deadline();
            sent.push(self.send(kind, Write::One(op), priority, deadline).await);
        }
        sent
    }

    /// Waits for the outcomes in the order of the writes.
    async fn await_burst(&mut self, sent: Vec<SentWrite>) {
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for sent in sent {
            let kind = sent.kind;
            let rev = self.await_outcome(sent).await;
            // The writes of one client to one key are applied in the order in which it sent them.
            if let (Some(rev), WriteKind::Set { key, .. } | WriteKind::Delete { key }) = (rev, kind)
                && let Some(before) = last.insert(key, rev)
                && before >= rev
            {
                self.journal
                    .violation(format!("{kind:?} has rev {rev}, and the write before it has {before}"));
            }
        }
    }

    fn an_op(&mut self) -> (WriteKind, Op) {
        let value = self.journal.value();
        if self.random.random_bool(0.05) {
            let expiry =
                if self.random.random() { Expiry::After(2) } else { Expiry::At(1_800_000_001_000_000) };
            let op = Op { key: key(EXPIRING), change: set(value, expiry), if_rev: None, asks_rev: false };
            return (WriteKind::Expiring { value }, op);
        }
        let number = self.random.random_range(0..self.keys);
        let is_delete = self.random.random_bool(0.2);
        let if_rev = self.a_condition();
        let (kind, change) = if is_delete {
            (WriteKind::Delete { key: number }, Change::Delete)
        } else {
            (WriteKind::Set { key: number, value }, set(value, Expiry::Never))
        };
        let asks_rev = self.random.random();
        (kind, Op { key: plain(number), change, if_rev: if_rev.map(Rev), asks_rev })
    }

    /// A condition: the key is absent, or has the last revision. `None`: no condition.
    fn a_condition(&mut self) -> Option<u64> {
        match self.random.random_range(0..10) {
            0 => Some(0),
            1 => Some(self.rev),
            _ => None,
        }
    }

    /// Writes the keys that are only written together. The write waits for the outcomes of a burst before it, but its deadline
    /// counts from the start of the burst.
    async fn write_group(&mut self, burst: usize) {
        let before = self.send_burst(burst).await;
        let deadline = self.writer.deadline();
        self.await_burst(before).await;
        let value = self.journal.value();
        let is_delete = self.random.random_bool(0.2);
        let if_rev = self.a_condition();
        let kind = if is_delete { WriteKind::DeleteGroup } else { WriteKind::SetGroup { value } };
        let change = || if is_delete { Change::Delete } else { set(value, Expiry::Never) };
        let op = |(index, name)| Op {
            key: key(name),
            change: change(),
            if_rev: if_rev.filter(|_| index == 0).map(Rev),
            asks_rev: false,
        };
        let ops = TOGETHER.into_iter().enumerate().map(op).collect();
        let sent = self.send(kind, Write::Atomic(ops), Priority::High, deadline).await;
        self.await_outcome(sent).await;
    }

    async fn send(
        &mut self,
        kind: WriteKind,
        write: Write,
        priority: Priority,
        deadline: Instant,
    ) -> SentWrite {
        let first = &write.ops()[0];
        let (if_rev, shows_rev) = (first.if_rev.map(|rev| rev.0), write.shows_rev());
        debug!(?kind, if_rev, ?priority, "sent");
        let called = self.journal.moment();
        let ticket = match self.writer.try_submit(write, priority, Span::none(), deadline) {
            Submitted::Queued(ticket) => Ok(ticket),
            Submitted::Returned(write, span) => self.writer.submit(write, priority, span, deadline).await,
        };
        let (journal, what) = (self.journal.clone(), format!("{kind:?}"));
        let answer = tokio::spawn(async move {
            let outcome = journal.outcome(ticket, deadline, &what).await;
            debug!(what, if_rev, ?outcome, "answered");
            (outcome, journal.moment())
        });
        SentWrite { kind, if_rev, shows_rev, called, answer }
    }

    /// Waits for the outcome of a write. Returns the revision that it took, if the outcome shows one.
    async fn await_outcome(&mut self, sent: SentWrite) -> Option<u64> {
        let outcome = sent.await_outcome(&self.server, &self.journal).await?;
        let rev = rev_of(outcome)?;
        self.rev = rev;
        outcome.rev().map(|rev| rev.0)
    }

    /// Reads one key, or the keys that are written together.
    pub(super) fn read(&mut self) {
        let number = self.random.random_range(0..=self.keys);
        let key = if number == self.keys { GROUP } else { number };
        read(&self.server, &self.process, &self.journal, key);
    }
}

fn set(value: u64, expiry: Expiry) -> Change {
    Change::Set(Value::new(value.to_string(), 512).expect("a short value"), expiry)
}
