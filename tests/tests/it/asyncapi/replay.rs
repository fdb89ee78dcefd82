//! Replays a conversation of the specification on a running service.

use std::collections::HashMap;
use std::net::SocketAddr;

use e2e::Socket;
use tokio_tungstenite::tungstenite::Message;

use super::document::{Conversation, Exchange};

/// The numbers that the service chose, by the numbers that stand for them.
#[derive(Debug)]
pub(super) struct Decided<'a> {
    stand_ins: Vec<String>,
    chosen: HashMap<&'a str, String>,
}

/// Replays `conversation` at `addr` with up to `ahead` messages sent before their replies. Returns the differences.
pub(crate) async fn replay(conversation: &Conversation, addr: SocketAddr, ahead: usize) -> Vec<String> {
    let socket = match &conversation.subprotocol {
        Some(subprotocol) => Socket::open_speaking(addr, subprotocol).await,
        None => Socket::open(addr).await,
    };
    replay_on_socket(conversation, socket, ahead).await
}

/// The same on an open socket.
pub(crate) async fn replay_on_socket(
    conversation: &Conversation,
    mut socket: Socket,
    ahead: usize,
) -> Vec<String> {
    let mut decided = Decided::of(&conversation.decided);
    let mut wrong = Vec::new();
    let mut unsent = conversation.steps.iter();
    let mut next = unsent.next();
    let mut in_flight = 0;
    for step in &conversation.steps {
        while let Some(message) = next.filter(|_| in_flight < ahead).and_then(|step| decided.message(step)) {
            socket.send_message(message).await;
            in_flight += 1;
            next = unsent.next();
        }
        if in_flight == 0 {
            wrong.push(format!("it holds a number that was not decided before: {step:?}"));
            break;
        }
        let reply = socket.next().await;
        in_flight -= 1;
        if !decided.hear(&step.receive, &reply) {
            wrong.push(format!("expected {}\n     not {reply}", step.receive));
        }
    }
    if !decided.in_order() {
        wrong.push(format!("the numbers decided are in another order: {decided:?}"));
    }
    wrong.into_iter().map(|difference| format!("{}: {difference}", conversation.name)).collect()
}

impl<'a> Decided<'a> {
    pub(super) fn of(decided: &[u64]) -> Self {
        let stand_ins = decided.iter().map(ToString::to_string).collect();
        Self { stand_ins, chosen: HashMap::new() }
    }

    fn stands_in(&self, piece: &str) -> bool {
        self.stand_ins.iter().any(|number| number == piece)
    }

    /// The message of `step`, if all its numbers are known.
    fn message(&self, step: &Exchange) -> Option<Message> {
        if let Some(text) = &step.binary {
            return Some(Message::binary(text.clone().into_bytes()));
        }
        let text = step.send.as_deref().expect("a step sends something");
        let known = |piece| {
            if self.stands_in(piece) { self.chosen.get(piece).map(String::as_str) } else { Some(piece) }
        };
        pieces(text).map(known).collect::<Option<String>>().map(Message::text)
    }

    /// Whether `reply` is the expected one. Stores the numbers that the service chose.
    pub(super) fn hear(&mut self, expected: &'a str, reply: &str) -> bool {
        let mut rest = reply;
        for piece in pieces(expected) {
            let mut same = piece;
            if self.stands_in(piece) {
                let number = pieces(rest).next().unwrap_or_default();
                if number.parse::<u64>().is_err() || number.starts_with('0') {
                    return false;
                }
                same = self.chosen.entry(piece).or_insert_with(|| number.to_owned());
            }
            let Some(after) = rest.strip_prefix(same) else { return false };
            rest = after;
        }
        rest.is_empty()
    }

    /// Whether the chosen numbers are in the same order as the numbers that stand for them.
    pub(super) fn in_order(&self) -> bool {
        let chosen = self.stand_ins.iter().filter_map(|number| self.chosen.get(number.as_str()));
        chosen
            .map(|number| number.parse::<u64>())
            .is_sorted_by(|one, next| matches!((one, next), (Ok(a), Ok(b)) if a <= b))
    }
}

/// `text`, split where digits begin and end.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let same = |one: &u8, next: &u8| one.is_ascii_digit() == next.is_ascii_digit();
    text.as_bytes().chunk_by(same).map(|piece| std::str::from_utf8(piece).expect("cut at ASCII only"))
}
