//! The limit of open files of the process, and how many connections fit under it.
//!
//! Without this, the client that takes the last descriptor stops the process: the admin port, the database connections and the
//! files need descriptors too.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::server::{ADMIN_LIMITS, ConnectionLimits};

/// For standard streams, ports, the runtime, signals, name servers and the collector of traces.
const OWN_MAX: usize = 64;
/// For one database connection: a file and its log on `SQLite`; on a server an old connection that ends while the new one begins.
const PER_DATABASE_CONNECTION: usize = 2;
/// One refusal may be under way for each 16 connections.
const CONNECTIONS_PER_REFUSAL: usize = 16;

/// Raises the limit of open files as far as the system allows. Returns it; `None` means no limit.
///
/// # Errors
/// The system refuses; the limit is what it was.
pub fn raise_limit() -> Result<Option<usize>, Errno> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(open_files_max())
}

/// The limit of open files; `None` means no limit.
pub(crate) fn open_files_max() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile).current?;
    Some(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// `limits`, lowered so that all connections together leave enough descriptors for everything else. `None`: there is no room for
/// any connection.
pub(crate) fn fit(
    mut limits: ConnectionLimits,
    open_files_max: usize,
    database_connections: usize,
) -> Option<ConnectionLimits> {
    let room = open_files_max.checked_sub(reserved(database_connections))?;
    if room >= limits.connections_max.saturating_add(limits.refusals_max) {
        return Some(limits);
    }
    limits.refusals_max = limits.refusals_max.min(room / CONNECTIONS_PER_REFUSAL);
    limits.connections_max = limits.connections_max.min(room - limits.refusals_max);
    Some(limits).filter(|limits| limits.connections_max > 0)
}

/// The descriptors that are not for connections of the public port.
pub(crate) fn reserved(database_connections: usize) -> usize {
    let admin = ADMIN_LIMITS.connections_max + ADMIN_LIMITS.refusals_max;
    OWN_MAX + admin + database_connections * PER_DATABASE_CONNECTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_everything_else() {
        let configured =
            |connections_max| ConnectionLimits { connections_max, ..ConnectionLimits::default() };
        for connections_max in [1, 500, 10_000, usize::MAX] {
            for open_files_max in [0, 100, 144, 200, 256, 1024, 4096, 16_384, 1_048_576, usize::MAX] {
                for database in [0, 14, 260] {
                    let limits = configured(connections_max);
                    let Some(fitted) = fit(limits.clone(), open_files_max, database) else {
                        assert!(open_files_max <= reserved(database));
                        continue;
                    };
                    let used = fitted.connections_max.saturating_add(fitted.refusals_max);
                    assert!(used.saturating_add(reserved(database)) <= open_files_max || used == usize::MAX);
                    assert!((1..=connections_max).contains(&fitted.connections_max));
                    let rest = ConnectionLimits {
                        connections_max: limits.connections_max,
                        refusals_max: limits.refusals_max,
                        ..fitted
                    };
                    assert_eq!(rest, limits, "nothing else changes");
                }
            }
        }
        assert_eq!(fit(configured(10_000), 16_384, 14), Some(configured(10_000)), "in the containers");
        let usual = fit(configured(10_000), 1024, 14).expect("there is room");
        assert!(usual.connections_max > 700, "{usual:?}");
    }

    #[test]
    fn the_limit_is_raised_to_what_the_system_allows() {
        let raised = raise_limit().expect("a process may raise its own limit");
        let limit = getrlimit(Resource::Nofile);
        assert_eq!((limit.current, raised), (limit.maximum, open_files_max()));
    }
}
