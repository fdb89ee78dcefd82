//! Turns: a limited number of lists go on at the same time. The others wait, and their owners take turns.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::owner::{Owner, gives_way};

/// Gives turns to the lists that wait: first to the oldest list of one owner, then to the oldest list of the next owner, and so on.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    queue: Arc<Mutex<Queue>>,
    waiting_max: usize,
}

/// The right to go on. Dropping it gives the turn to the next list.
#[derive(Debug)]
pub(crate) struct Turn {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug)]
struct Queue {
    /// Turns that nobody has. While there is one, no list waits.
    free: usize,
    /// One line for each owner whose lists wait, never an empty one. The next turn is for the first line.
    lines: VecDeque<Line>,
}

/// The lists of one owner that wait, the oldest first.
#[derive(Debug)]
struct Line {
    owner: Owner,
    lists: VecDeque<oneshot::Sender<Turn>>,
}

/// The place of a list that waits. Dropping it removes the list from the queue.
struct Place {
    queue: Arc<Mutex<Queue>>,
    owner: Owner,
    granted: oneshot::Receiver<Turn>,
}

impl Turns {
    /// `turns` turns, for which at most `waiting_max` lists wait.
    pub(crate) fn new(turns: usize, waiting_max: usize) -> Self {
        let queue = Queue { free: turns, lines: VecDeque::new() };
        Self { queue: Arc::new(Mutex::new(queue)), waiting_max }
    }

    /// Waits for a turn of `owner`. `None`: too many lists wait. An owner with at least two waiting lists fewer than another one
    /// may still wait: then the newest list of the owner with the most gets the `None`. Dropping the future gives up the place.
    pub(crate) async fn next(&self, owner: &Owner) -> Option<Turn> {
        let mut place = {
            let mut queue = lock(&self.queue);
            if queue.free > 0 {
                queue.free -= 1;
                return Some(Turn { queue: Arc::clone(&self.queue) });
            }
            if queue.waiting() >= self.waiting_max {
                queue.displace(owner)?;
            }
            let granted = queue.add(owner);
            Place { queue: Arc::clone(&self.queue), owner: owner.clone(), granted }
        };
        (&mut place.granted).await.ok()
    }

    /// How many lists wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.queue).waiting()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut queue = lock(&self.queue);
            let next = queue.pop();
            if next.is_none() {
                queue.free += 1;
            }
            next
        };
        if let Some(next) = next {
            // If that list has given up meanwhile, the turn comes back here. Dropping it gives it to the next list.
            drop(next.send(Turn { queue: Arc::clone(&self.queue) }));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A turn that was sent and not received is dropped with the receiver, after the lock is free again.
        self.granted.close();
        lock(&self.queue).remove_closed(&self.owner);
    }
}

impl Queue {
    fn waiting(&self) -> usize {
        self.lines.iter().map(|line| line.lists.len()).sum()
    }

    fn line(&mut self, owner: &Owner) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.owner == *owner)
    }

    fn add(&mut self, owner: &Owner) -> oneshot::Receiver<Turn> {
        let (sender, granted) = oneshot::channel();
        match self.line(owner) {
            Some(line) => line.lists.push_back(sender),
            None => self.lines.push_back(Line { owner: owner.clone(), lists: [sender].into() }),
        }
        granted
    }

    /// Takes out the list whose turn is next. The next turns of its owner come after those of all others.
    fn pop(&mut self) -> Option<oneshot::Sender<Turn>> {
        let mut line = self.lines.pop_front()?;
        let next = line.lists.pop_front();
        if !line.lists.is_empty() {
            self.lines.push_back(line);
        }
        next
    }

    /// Removes the newest list of the owner that gives way to `owner`, if there is one.
    fn displace(&mut self, owner: &Owner) -> Option<()> {
        let own = self.line(owner).map_or(0, |line| line.lists.len());
        let places = self.lines.iter().map(|line| (&line.owner, line.lists.len()));
        let largest = gives_way(places, own)?.clone();
        self.line(&largest)?.lists.pop_back().map(drop)
    }

    fn remove_closed(&mut self, owner: &Owner) {
        if let Some(line) = self.line(owner) {
            line.lists.retain(|list| !list.is_closed());
            self.lines.retain(|line| !line.lists.is_empty());
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::owner::owner;

    type Waits<'a> = Pin<Box<dyn Future<Output = Option<Turn>> + 'a>>;

    /// Lists of `owners` that wait in this order, each with its owner.
    fn wait<'a>(turns: &'a Turns, owners: &[u8]) -> Vec<(u8, Waits<'a>)> {
        let begin = |number: u8| {
            let mut waits: Waits<'a> = Box::pin(async move { turns.next(&owner(number)).await });
            assert!(waits.as_mut().now_or_never().is_none(), "it waits");
            (number, waits)
        };
        owners.iter().map(|number| begin(*number)).collect()
    }

    fn now(turns: &Turns, number: u8) -> Option<Turn> {
        turns.next(&owner(number)).now_or_never().expect("it does not wait")
    }

    /// Removes the lists that are answered from `waiting`. Returns the owners and turns of those that go on, and the owners of those that
    /// are refused.
    fn answered(waiting: &mut Vec<(u8, Waits<'_>)>) -> (Vec<(u8, Turn)>, Vec<u8>) {
        let (mut with_turn, mut refused) = (Vec::new(), Vec::new());
        waiting.retain_mut(|(number, waits)| match waits.as_mut().now_or_never() {
            Some(Some(turn)) => {
                with_turn.push((*number, turn));
                false
            }
            Some(None) => {
                refused.push(*number);
                false
            }
            None => true,
        });
        (with_turn, refused)
    }

    /// The owners of all lists that wait, in the order in which they get the only turn.
    fn order(turn: Turn, mut waiting: Vec<(u8, Waits<'_>)>) -> Vec<u8> {
        let (mut order, mut last) = (Vec::new(), Some(turn));
        while last.take().is_some() {
            if let Some((number, turn)) = answered(&mut waiting).0.pop() {
                order.push(number);
                last = Some(turn);
            }
        }
        assert!(waiting.is_empty(), "{} lists were forgotten", waiting.len());
        order
    }

    #[test]
    fn owners_take_turns_and_the_lists_of_one_owner_keep_their_order() {
        let turns = Turns::new(1, 10);
        let turn = now(&turns, 1).expect("a turn is free");
        let waiting = wait(&turns, &[1, 1, 1, 1, 2, 3, 2]);
        assert_eq!(order(turn, waiting), [1, 2, 3, 1, 2, 1, 1]);
        assert!(now(&turns, 1).is_some(), "the last turn is free again");
    }

    #[test]
    fn as_many_go_on_as_there_are_turns() {
        let turns = Turns::new(2, 10);
        let (first, second) = (now(&turns, 1), now(&turns, 1));
        assert!(first.is_some() && second.is_some());
        let mut waiting = wait(&turns, &[1, 2]);
        drop(first);
        let (with_turn, _) = answered(&mut waiting);
        assert_eq!((with_turn.len(), waiting.len()), (1, 1));
    }

    #[test]
    fn one_owner_cannot_keep_others_out_of_a_full_queue() {
        let turns = Turns::new(1, 4);
        let turn = now(&turns, 1).expect("a turn is free");
        let mut waiting = wait(&turns, &[1, 1, 1, 1]);
        assert!(now(&turns, 1).is_none(), "the queue is full");
        waiting.extend(wait(&turns, &[2, 2]));
        assert_eq!(answered(&mut waiting).1, [1, 1], "the newest ones of the first owner");
        assert!(now(&turns, 2).is_none(), "both owners have the same share");
        assert!(now(&turns, 1).is_none(), "both owners have the same share");
        assert_eq!(order(turn, waiting), [1, 2, 1, 2]);
    }

    #[test]
    fn a_list_that_gives_up_leaves_its_place_and_its_turn_to_others() {
        let turns = Turns::new(1, 3);
        let turn = now(&turns, 1).expect("a turn is free");
        let mut waiting = wait(&turns, &[1, 2, 3]);
        drop(waiting.remove(1));
        waiting.extend(wait(&turns, &[4]));
        // The first list has the turn, and leaves before it sees it.
        drop(turn);
        drop(waiting.remove(0));
        let (with_turn, refused) = answered(&mut waiting);
        assert_eq!(with_turn.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3]);
        assert!(refused.is_empty() && waiting.len() == 1);
    }
}
