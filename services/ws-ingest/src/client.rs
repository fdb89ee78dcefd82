//! Who opened a socket: what the client may write, and how much of it in a second.

use std::sync::Arc;

use chassis::access::{Grant, Holder};
use chassis::peer::Line;
use chassis::problem::Problem;
use poem::{FromRequest as _, Request};

use crate::protocol::{Asked, Refused};

/// What a handshake said about its sender.
#[derive(Debug)]
pub(crate) struct Client {
    grant: Arc<Grant>,
    line: Option<Arc<Line>>,
}

impl Client {
    /// Who sent `request`, if that is known.
    pub(crate) async fn of(request: &Request) -> poem::Result<Self> {
        let Holder(grant) = Holder::from_request_without_body(request).await?;
        Ok(Self { grant, line: request.extensions().get().cloned() })
    }

    /// Lets a message pass that the client may send, now.
    pub(crate) fn admit(&self, asked: Result<Asked, Refused>) -> Result<Asked, Refused> {
        let ops = asked.as_ref().map_or(1, Asked::ops);
        match self.spend(ops) {
            Ok(()) => asked?.checked(|key| self.grant.write(key)),
            Err(problem) => Err(match asked {
                Ok(asked) => asked.refused(problem),
                Err(refused) => refused.instead(problem),
            }),
        }
    }

    fn spend(&self, ops: usize) -> Result<(), Problem> {
        self.line.as_ref().map_or(Ok(()), |line| line.spend(ops))?;
        self.grant.spend(ops)
    }
}
