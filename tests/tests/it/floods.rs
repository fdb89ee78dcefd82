//! Many clients with large requests, or with idle sockets: memory stays bounded, and other clients are served.

use std::time::{Duration, Instant};

use e2e::{
    EngineKind, Frame, PATIENCE, RawSocket, Socket, System, eventually, measured, promises, storage, within,
    write,
};
use futures_util::future::{join_all, select_all};

promises! {
    sqlite:
        an_idle_socket_takes_little_memory,
        a_large_message_leaves_no_memory_behind,
        incomplete_messages_share_a_memory_budget,
        announced_messages_take_no_memory_from_others,
        incomplete_messages_give_way_to_those_that_move,
        batches_that_wait_for_the_database_share_a_memory_budget,
        endless_pings_do_not_block_other_clients,
        a_hundred_clients_that_never_read_are_closed;
}

/// The memory that many large messages may take together: their budget, the copies while they are parsed, and what the allocator
/// keeps.
const MESSAGES_KIB: u64 = 160 * 1024;

/// The time limit of another client, in a debug build on a busy machine.
const SOON: Duration = Duration::from_secs(3);

/// Checks that a set of a new client is answered soon.
async fn answered_soon(system: &System) {
    let asked = Instant::now();
    system.socket().await.set("small", "v").await;
    measured(&format!("waited {:?}", asked.elapsed()));
    assert!(asked.elapsed() < SOON, "somebody else waited {:?}", asked.elapsed());
}

async fn an_idle_socket_takes_little_memory(engine: EngineKind) {
    const SOCKETS: usize = 5000;
    let system = System::start(engine).await;
    // The first sockets also pay for memory that all share.
    let _first = join_all((0..100).map(|_| system.socket())).await;
    let before = system.writer.memory();
    let mut sockets: Vec<Socket> = Vec::with_capacity(SOCKETS);
    while sockets.len() < SOCKETS {
        sockets.extend(join_all((0..100).map(|_| system.socket())).await);
    }
    let bytes = (system.writer.memory() - before) * 1024 / SOCKETS as u64;
    assert!(bytes <= 20 * 1024, "{bytes} bytes a socket");
    answered_soon(&system).await;
}

async fn a_large_message_leaves_no_memory_behind(engine: EngineKind) {
    const SOCKETS: usize = 60;
    let system = System::start(engine).await;
    // Each of its characters takes six bytes in JSON.
    let write = write("large", &"\u{1}".repeat(1 << 20)).into_bytes();
    let whole = Frame::text(write.clone()).masked();
    let (first, second) = write.split_at(write.len() / 2);
    let halves = [Frame::new(0x01, first).masked(), Frame::new(0x80, second).masked()].concat();
    let small = Frame::text(*br#"{"key":"small","value":"v"}"#).masked();
    let before = system.writer.memory();
    let mut sockets = Vec::new();
    for number in 0..SOCKETS {
        let mut socket = RawSocket::open(system.ws()).await;
        let large = if number % 2 == 0 { &whole } else { &halves };
        // A message right after it is read all the same.
        socket.send(&[&large[..], &small, &small].concat()).await.expect("it is sent");
        for _ in 0..3 {
            let reply = socket.frame().await.expect("a reply");
            assert!(reply.payload.ends_with(br#"","status":200}"#), "{reply:?}");
        }
        sockets.push(socket);
    }
    // The allocator gives memory back within 10 s.
    eventually("the memory of large messages is free again", PATIENCE * 2, async || {
        match system.writer.memory().saturating_sub(before) {
            more if more <= 60 * 1024 => Ok(()),
            more => Err(format!("{more} KiB stay for {SOCKETS} sockets")),
        }
    })
    .await;
}

async fn incomplete_messages_share_a_memory_budget(engine: EngineKind) {
    let system = System::start(engine).await;
    let before = system.writer.memory();
    let message = Frame::text(vec![b' '; 6_000_000]).masked();
    let mut sockets = Vec::new();
    for _ in 0..60 {
        sockets.push(RawSocket::open(system.ws()).await);
    }
    // All of it but the last byte, as far as the service reads.
    let half = &message[..message.len() - 1];
    join_all(sockets.iter_mut().map(|socket| socket.send_for(half, Duration::from_secs(5)))).await;
    let more = system.writer.memory_max() - before;
    assert!(more <= MESSAGES_KIB, "{more} KiB for them all");
    answered_soon(&system).await;
    drop(sockets);
    let reply = system.socket().await.set("large", &"v".repeat(1 << 20)).await;
    assert_eq!(reply, r#"{"message":"large created","status":200}"#, "their room is given back");
}

async fn announced_messages_take_no_memory_from_others(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut sockets = Vec::new();
    let announcement = &Frame::text(vec![b' '; 6_000_000]).masked()[..14];
    for _ in 0..100 {
        let mut socket = RawSocket::open(system.ws()).await;
        socket.send(announcement).await.expect("it is open");
        sockets.push(socket);
    }
    let mut other = system.socket().await;
    let value = "v".repeat(20 * 1024);
    let asked = Instant::now();
    for _ in 0..20 {
        other.set("large", &value).await;
    }
    assert!(asked.elapsed() < SOON, "20 writes took {:?}", asked.elapsed());
    // Nobody had to give way.
    let open = join_all(sockets.iter_mut().map(RawSocket::is_silent)).await;
    assert!(!open.contains(&false), "{open:?}");
}

async fn incomplete_messages_give_way_to_those_that_move(engine: EngineKind) {
    let system = System::start(engine).await;
    let [medium, long] = [250_000, 6_000_000].map(|bytes| Frame::text(vec![b' '; bytes]).masked());
    let mut sockets = Vec::new();
    for number in 0..100 {
        let message = if number % 10 == 0 { &long } else { &medium };
        sockets.push((RawSocket::open(system.ws()).await, message));
    }
    // All of it but the last bytes, as far as the service reads. A few bytes now and then are not enough to keep the memory.
    let holders = join_all(sockets.iter_mut().map(async |(socket, message)| {
        socket.send_for(&message[..message.len() - 1000], Duration::from_secs(20)).await;
        while socket.send_for(b" ", Duration::from_secs(1)).await && socket.is_silent().await {}
        loop {
            let frame = socket.frame().await.expect("the server says why it closes");
            if frame.first != 0x89 {
                return (frame.first, frame.payload);
            }
        }
    }));
    let others = async {
        let mut other = system.socket().await;
        for _ in 0..10 {
            let asked = Instant::now();
            other.set("medium", &"v".repeat(20 * 1024)).await;
            assert!(asked.elapsed() < SOON, "somebody else waited {:?}", asked.elapsed());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        other.set("long", &"v".repeat(1 << 20)).await;
    };
    let (closes, ()) = tokio::join!(within("all are closed", Duration::from_mins(1), holders), others);
    for (first, payload) in closes {
        assert_eq!((first, &payload[..2]), (0x88, &1008_u16.to_be_bytes()[..]), "{payload:?}");
    }
}

async fn batches_that_wait_for_the_database_share_a_memory_budget(engine: EngineKind) {
    const LIMIT: Duration = Duration::from_mins(1);
    let system =
        System::start_with_settings(engine, &[("QUEUE_BYTES_MAX", "8388608"), ("OP_TIMEOUT_MS", "60000")])
            .await;
    let lock = system.database.locked().await;
    let before = system.writer.memory();
    let value = "v".repeat(1 << 20);
    let ops: Vec<String> = (0..5).map(|key| format!(r#"{{"key":"{key}","value":"{value}"}}"#)).collect();
    let batch = format!(r#"{{"op":"batch","ops":[{}]}}"#, ops.join(","));
    let mut sockets = Vec::new();
    for _ in 0..60 {
        sockets.push(RawSocket::open(system.ws()).await);
    }
    let message = Frame::text(batch).masked();
    join_all(sockets.iter_mut().map(|socket| socket.send_for(&message, Duration::from_secs(5)))).await;
    let more = system.writer.memory_max() - before;
    assert!(more <= MESSAGES_KIB, "{more} KiB for them all");
    drop(lock);
    let is_committed = |frame: &Frame| frame.payload.starts_with(br#"{"message":"5 ops committed""#);
    // Those that found no room are incomplete: they get pings, or have to give way.
    let replies = sockets.iter_mut().map(|socket| {
        Box::pin(async move {
            while let Ok(frame) = socket.frame_within(LIMIT).await {
                if is_committed(&frame) {
                    return;
                }
            }
            std::future::pending::<()>().await;
        })
    });
    within("a complete batch is committed", LIMIT, select_all(replies)).await;
}

async fn endless_pings_do_not_block_other_clients(engine: EngineKind) {
    let system = System::start(engine).await;
    let before = system.writer.memory();
    let pings = Frame::new(0x89, [b'x'; 125]).masked().repeat(1000);
    let flood = async {
        let mut sockets = Vec::new();
        for _ in 0..20 {
            sockets.push(RawSocket::open(system.ws()).await);
        }
        // They never read the pongs: after some time they cannot send any more, and are closed.
        join_all(sockets.iter_mut().map(async |socket| while socket.send(&pings).await.is_ok() {})).await;
        sockets
    };
    let others = async {
        for _ in 0..20 {
            answered_soon(&system).await;
            assert_eq!(e2e::get(system.http(), &storage("small")).await.status, 200);
        }
    };
    let _sockets = tokio::join!(within("they are let go", PATIENCE * 2, flood), others).0;
    // What the start needed may have gone back to the system meanwhile.
    let more = system.writer.memory().saturating_sub(before);
    assert!(more < 12 * 1024, "{more} KiB for 20 clients");
    answered_soon(&system).await;
}

async fn a_hundred_clients_that_never_read_are_closed(engine: EngineKind) {
    let system = System::start(engine).await;
    let before = system.writer.memory();
    // Each refusal is longer than the message that causes it.
    let chunk = Frame::text(*br"{}").masked().repeat(10_000);
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(RawSocket::open(system.ws()).await);
    }
    let limit = Duration::from_mins(1);
    let gone = join_all(sockets.iter_mut().map(async |socket| while socket.send_for(&chunk, limit).await {}));
    let others = async {
        for _ in 0..20 {
            answered_soon(&system).await;
        }
    };
    tokio::join!(within("they are given up", limit, gone), others);
    let more = system.writer.memory_max() - before;
    measured(&format!("most {more} KiB"));
    assert!(more < 100 * 1024, "{more} KiB");
}
