//! The engine that a URL names. The only place that tells engines apart.

use secrecy::SecretString;

use crate::engine::Engine;
use crate::error::{BadUrl, Error};
use crate::mysql::connect::MySql;
use crate::sqlite::connect::Sqlite;

/// A value whose type differs from engine to engine: an engine, a reader, a scanner or a follower.
#[derive(Debug, Clone)]
pub(crate) enum Any<M, S> {
    MySql(M),
    Sqlite(S),
}

pub(crate) type AnyEngine = Any<MySql, Sqlite>;
pub(crate) type AnyReader = Any<<MySql as Engine>::Reader, <Sqlite as Engine>::Reader>;
pub(crate) type AnyFollower = Any<<MySql as Engine>::Follower, <Sqlite as Engine>::Follower>;
pub(crate) type AnyScanner = Any<<MySql as Engine>::Scanner, <Sqlite as Engine>::Scanner>;

/// Evaluates `$work` for the engine that `$any` holds. In `$work`, `$it` is the value inside `$any`.
macro_rules! dispatch {
    ($any:expr, $it:ident => $work:expr) => {
        match $any {
            $crate::engine::any::Any::MySql($it) => $work,
            $crate::engine::any::Any::Sqlite($it) => $work,
        }
    };
}
pub(crate) use dispatch;

impl AnyEngine {
    pub(crate) fn new(
        url: &str,
        password: Option<&SecretString>,
        unsafe_durability: bool,
    ) -> Result<Self, BadUrl> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("mysql" | "mariadb") => Ok(Self::MySql(MySql::new(url, password, unsafe_durability)?)),
            Some("sqlite") => Ok(Self::Sqlite(Sqlite::new(url)?)),
            Some(_) | None => Err(BadUrl("must begin with mysql:// or sqlite://".into())),
        }
    }

    pub(crate) fn system(&self) -> &'static str {
        fn of<E: Engine>(_engine: &E) -> &'static str {
            E::SYSTEM
        }
        dispatch!(self, engine => of(engine))
    }

    pub(crate) async fn open_reader(&self) -> Result<AnyReader, Error> {
        Ok(match self {
            Self::MySql(engine) => Any::MySql(engine.open_reader().await?),
            Self::Sqlite(engine) => Any::Sqlite(engine.open_reader().await?),
        })
    }

    pub(crate) async fn open_scanner(&self) -> Result<AnyScanner, Error> {
        Ok(match self {
            Self::MySql(engine) => Any::MySql(engine.open_scanner().await?),
            Self::Sqlite(engine) => Any::Sqlite(engine.open_scanner().await?),
        })
    }

    pub(crate) async fn open_follower(&self) -> Result<AnyFollower, Error> {
        Ok(match self {
            Self::MySql(engine) => Any::MySql(engine.open_follower().await?),
            Self::Sqlite(engine) => Any::Sqlite(engine.open_follower().await?),
        })
    }
}
