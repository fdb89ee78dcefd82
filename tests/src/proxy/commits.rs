//! Finds the COMMITs of one connection in the protocol of `MySQL`:
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>.

use std::sync::Mutex;

/// The position of the command or the status in a packet: after three bytes of length and one byte of sequence number.
const FIRST: usize = 4;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;

/// The prepared statement `commit` of one connection. The client sends one command at a time, and a short command comes in one piece.
#[derive(Debug, Default)]
pub(super) struct Commits(Mutex<Prepared>);

#[derive(Debug, Default)]
enum Prepared {
    #[default]
    No,
    /// The next answer names the statement.
    Asked,
    As([u8; 4]),
}

impl Commits {
    /// Whether `sent` requests a COMMIT.
    pub(super) fn is_requested(&self, sent: &[u8]) -> bool {
        let mut prepared = self.0.lock().expect("nobody panics with this lock");
        let Some((command, rest)) = sent.get(FIRST..).and_then(<[u8]>::split_first) else { return false };
        match (*command, &*prepared) {
            (COM_STMT_PREPARE, _) if rest == b"commit" => {
                *prepared = Prepared::Asked;
                false
            }
            (COM_STMT_EXECUTE, Prepared::As(statement)) => rest.starts_with(statement),
            _ => false,
        }
    }

    /// Takes the name of the statement from the server's answer.
    pub(super) fn answered(&self, answer: &[u8]) {
        let mut prepared = self.0.lock().expect("nobody panics with this lock");
        if let Prepared::Asked = *prepared {
            let [0, statement @ ..] = answer.get(FIRST..FIRST + 5).expect("an answer to a PREPARE is longer")
            else {
                panic!("a COMMIT can be prepared: {answer:?}");
            };
            *prepared = Prepared::As(statement.try_into().expect("four bytes"));
        }
    }
}
