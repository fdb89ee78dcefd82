//! Clients: what they write and read, and what they hear of it.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep};
use tracing::{Span, debug};

use super::record::Record;
use super::sent::{About, EXPIRING, GROUP, Sent, TOGETHER, key, plain, read, rev_of};
use super::server::Server;
use crate::entry::{Change, Expiry, Op, Rev, Value, Write};
use crate::lane::outbox::Place;
use crate::lane::writer::{Submitted, Writer};

/// One client, on a connection of its own to one process.
pub(super) struct Client {
    writer: Writer,
    server: Server,
    record: Record,
    random: SmallRng,
    /// Keys that are written one by one.
    keys: u64,
    /// The last revision that this client heard of, of any key.
    rev: u64,
    /// The probability that it waits for long between two steps, in thousandths.
    pauses: u32,
}

impl Client {
    pub(super) fn new(
        writer: Writer,
        server: Server,
        record: Record,
        random: &mut SmallRng,
        keys: u64,
    ) -> Self {
        let pauses = if random.random_bool(0.3) { 100 } else { 0 };
        let random = SmallRng::from_rng(random);
        Self { writer, server, record, random, keys, rev: 0, pauses }
    }

    /// Does so many things, one after another.
    pub(super) async fn work(mut self, steps: u64) {
        for _ in 0..steps {
            match self.random.random_range(0..10) {
                0..6 => {
                    let burst = if self.random.random_bool(0.3) { self.random.random_range(2..9) } else { 1 };
                    let sent = self.send_burst(burst).await;
                    self.hear_burst(sent).await;
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

    async fn rest(&mut self) {
        let millis = if self.random.random_ratio(self.pauses, 1000) {
            self.random.random_range(1000..25_000)
        } else {
            self.random.random_range(0..30)
        };
        sleep(Duration::from_millis(millis)).await;
    }

    /// Sends so many writes ahead.
    async fn send_burst(&mut self, burst: usize) -> Vec<Sent> {
        let mut sent = Vec::with_capacity(burst);
        for _ in 0..burst {
            let (about, op) = self.an_op();
            let place = if sent.is_empty() { Place::Front } else { Place::Back };
            let deadline = self.writer.deadline();
            sent.push(self.send(about, Write::One(op), place, deadline).await);
        }
        sent
    }

    /// Hears the answers in the order of the writes.
    async fn hear_burst(&mut self, sent: Vec<Sent>) {
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for sent in sent {
            let about = sent.about;
            let rev = self.hear(sent).await;
            // The writes of one client to one key are applied in the order in which it sent them.
            if let (Some(rev), About::Set { key, .. } | About::Delete { key }) = (rev, about)
                && let Some(before) = last.insert(key, rev)
                && before >= rev
            {
                self.record
                    .violation(format!("{about:?} has rev {rev}, and the write before it has {before}"));
            }
        }
    }

    fn an_op(&mut self) -> (About, Op) {
        let value = self.record.value();
        if self.random.random_bool(0.05) {
            let expiry =
                if self.random.random() { Expiry::After(2) } else { Expiry::At(1_800_000_001_000_000) };
            let op = Op { key: key(EXPIRING), change: set(value, expiry), if_rev: None, asks_rev: false };
            return (About::Expiring { value }, op);
        }
        let number = self.random.random_range(0..self.keys);
        let is_delete = self.random.random_bool(0.2);
        let if_rev = self.a_condition();
        let (about, change) = if is_delete {
            (About::Delete { key: number }, Change::Delete)
        } else {
            (About::Set { key: number, value }, set(value, Expiry::Never))
        };
        let asks_rev = self.random.random();
        (about, Op { key: plain(number), change, if_rev: if_rev.map(Rev), asks_rev })
    }

    /// Absent, the revision heard of last, or none.
    fn a_condition(&mut self) -> Option<u64> {
        match self.random.random_range(0..10) {
            0 => Some(0),
            1 => Some(self.rev),
            _ => None,
        }
    }

    /// Writes those that are only ever written together. The write waits for the answers to a burst before it, but its time
    /// runs from when it came.
    async fn write_group(&mut self, burst: usize) {
        let before = self.send_burst(burst).await;
        let deadline = self.writer.deadline();
        self.hear_burst(before).await;
        let value = self.record.value();
        let is_delete = self.random.random_bool(0.2);
        let if_rev = self.a_condition();
        let about = if is_delete { About::DeleteGroup } else { About::SetGroup { value } };
        let change = || if is_delete { Change::Delete } else { set(value, Expiry::Never) };
        let op = |(index, name)| Op {
            key: key(name),
            change: change(),
            if_rev: if_rev.filter(|_| index == 0).map(Rev),
            asks_rev: false,
        };
        let ops = TOGETHER.into_iter().enumerate().map(op).collect();
        let sent = self.send(about, Write::Atomic(ops), Place::Front, deadline).await;
        self.hear(sent).await;
    }

    async fn send(&mut self, about: About, write: Write, place: Place, deadline: Instant) -> Sent {
        let first = &write.ops()[0];
        let (if_rev, shows_rev) = (first.if_rev.map(|rev| rev.0), write.shows_rev());
        debug!(?about, if_rev, ?place, "sent");
        let called = self.record.moment();
        let ticket = match self.writer.try_submit(write, place, Span::none(), deadline) {
            Submitted::Queued(ticket) => Ok(ticket),
            Submitted::Returned(write, span) => self.writer.submit(write, place, span, deadline).await,
        };
        let (record, told) = (self.record.clone(), format!("{about:?}"));
        let answer = tokio::spawn(async move {
            let heard = record.answer(ticket, deadline, &told).await;
            debug!(told, if_rev, ?heard, "heard");
            (heard, record.moment())
        });
        Sent { about, if_rev, shows_rev, called, answer }
    }

    /// Hears of a write. The revision that it took, if that was shown.
    async fn hear(&mut self, sent: Sent) -> Option<u64> {
        let outcome = sent.hear(&self.server, &self.record).await?;
        let rev = rev_of(outcome)?;
        self.rev = rev;
        outcome.rev().map(|rev| rev.0)
    }

    /// Reads one key, or those that are written together.
    pub(super) fn read(&mut self) {
        let number = self.random.random_range(0..=self.keys);
        let key = if number == self.keys { GROUP } else { number };
        read(&self.server, &self.record, key);
    }
}

fn set(value: u64, expiry: Expiry) -> Change {
    Change::Set(Value::new(value.to_string(), 512).expect("a short value"), expiry)
}
