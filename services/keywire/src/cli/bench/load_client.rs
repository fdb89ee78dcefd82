//! One client: keeps operations under way on its two connections and notes each answer.

use std::time::Instant;

use anyhow::Context as _;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Run;
use super::gets::Reader;
use super::results::Answered;
use super::schedule::Turn;
use super::sets::Writer;

/// A client with its connections open.
#[derive(Debug)]
pub(super) struct Client {
    run: Run,
    number: usize,
    writer: Option<Writer>,
    reader: Option<Reader>,
    rng: SmallRng,
    /// Operations sent.
    sent: u64,
    key: String,
    answers: Vec<Answered>,
}

/// How a client ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// Operations that fell due and were not sent.
    pub(super) unsent: u64,
}

impl Client {
    pub(super) async fn connect(run: Run, number: usize) -> anyhow::Result<Self> {
        let args = &run.args;
        let writer = if args.reads == 100 {
            None
        } else {
            let side = args.pair.write_side();
            let writer = Writer::connect(side, args.ids).await;
            Some(writer.with_context(|| format!("cannot write at {}", side.url))?)
        };
        let reader = if args.reads == 0 {
            None
        } else {
            let side = args.pair.read_side();
            let reader = Reader::connect(side).await;
            Some(reader.with_context(|| format!("cannot read at {}", side.url))?)
        };
        let rng = SmallRng::seed_from_u64(number as u64);
        Ok(Self { run, number, writer, reader, rng, sent: 0, key: String::new(), answers: Vec::new() })
    }

    /// Works until the run is over and every answer is there. `begun` is when the run began.
    pub(super) async fn run(mut self, begun: Instant) -> anyhow::Result<End> {
        let mut over = false;
        loop {
            while !over && self.under_way() < self.run.args.pipeline.get() {
                match self.run.pace.may_send(self.number, self.sent) {
                    Turn::Now(due) => self.send(due.max(begun)).await?,
                    Turn::Later => break,
                    Turn::Over => over = true,
                }
            }
            self.flush().await?;
            if over && self.under_way() == 0 {
                break;
            }
            let waits = !over && self.under_way() < self.run.args.pipeline.get();
            tokio::select! {
                answered = answer(self.writer.as_mut()) => self.answers.push(answered?),
                answered = found(self.reader.as_mut()) => self.answers.push(answered?),
                () = self.run.pace.due(self.number), if waits => {}
            }
            self.collect()?;
        }
        Ok(End { unsent: self.run.pace.unsent(self.number, self.sent) })
    }

    fn under_way(&self) -> usize {
        self.writer.as_ref().map_or(0, Writer::under_way) + self.reader.as_ref().map_or(0, Reader::under_way)
    }

    async fn send(&mut self, due: Instant) -> anyhow::Result<()> {
        self.key.clear();
        self.run.keys.next(&mut self.rng, &mut self.key);
        self.sent += 1;
        let reads = self.rng.random_range(0..100) < self.run.args.reads;
        match (&mut self.writer, &mut self.reader) {
            (Some(writer), _) if !reads => {
                let value = self.run.keys.value(&mut self.rng);
                writer.send(&self.key, value, due).await
            }
            (_, Some(reader)) => {
                reader.send(&self.key, due);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        if let Some(writer) = &mut self.writer {
            writer.flush().await?;
        }
        if let Some(reader) = &mut self.reader {
            reader.flush().await?;
        }
        Ok(())
    }

    /// Takes the answers that are there already, and counts all.
    fn collect(&mut self) -> anyhow::Result<()> {
        if let Some(writer) = &mut self.writer {
            while let Some(answered) = writer.try_answer()? {
                self.answers.push(answered);
            }
        }
        if let Some(reader) = &mut self.reader {
            while let Some(answered) = reader.try_answer()? {
                self.answers.push(answered);
            }
        }
        self.run.tally(|tally| tally.add(&mut self.answers));
        Ok(())
    }
}

/// The next answer of the socket, if something is under way there.
async fn answer(writer: Option<&mut Writer>) -> anyhow::Result<Answered> {
    match writer.filter(|writer| writer.under_way() > 0) {
        Some(writer) => writer.answer().await,
        None => std::future::pending().await,
    }
}

/// The next answer of the connection, if something is under way there.
async fn found(reader: Option<&mut Reader>) -> anyhow::Result<Answered> {
    match reader.filter(|reader| reader.under_way() > 0) {
        Some(reader) => reader.answer().await,
        None => std::future::pending().await,
    }
}
