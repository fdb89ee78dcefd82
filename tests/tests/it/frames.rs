//! A frame that breaks the protocol closes the socket with the code that says why.

use e2e::{EngineKind, Frame, RawSocket, System, promises};

promises! {
    every:
        text_that_is_not_utf8_closes_1007,
        a_message_over_the_limit_closes_1009,
        a_frame_against_the_protocol_closes_1002,
        a_message_in_fragments_is_one_message,
        a_ping_is_answered_with_its_payload,
        a_close_is_answered;
}

/// The message limit: six bytes for each byte of key and value, since a control character takes six in JSON, and 4 KiB for the rest.
const MESSAGE_BYTES_MAX: usize = 6 * (512 + (1 << 20)) + 4096;

async fn text_that_is_not_utf8_closes_1007(engine: EngineKind) {
    let system = System::start(engine).await;
    for payload in [&b"\xff"[..], b"{\"key\":\"\xc3\x28\",\"value\":\"\"}", b"\xed\xa0\x80"] {
        let mut socket = RawSocket::open(system.ws()).await;
        socket.send(&Frame::text(payload).masked()).await.expect("it can be sent");
        assert_eq!(socket.close_code().await, 1007, "{payload:?}");
    }
    assert_eq!(system.database.entries().await, 0);
}

async fn a_message_over_the_limit_closes_1009(engine: EngineKind) {
    let system = System::start(engine).await;
    // In one frame, its length shows that it is over the limit.
    let mut socket = RawSocket::open(system.ws()).await;
    let frame = Frame::text(vec![b' '; MESSAGE_BYTES_MAX + 1]).masked();
    socket.send(&frame[..100]).await.expect("it can be sent");
    assert_eq!(socket.close_code().await, 1009);
    // In fragments, only the sum of their lengths does.
    let mut socket = RawSocket::open(system.ws()).await;
    let mut left = MESSAGE_BYTES_MAX + 1;
    let mut first = 0x01;
    while left > 0 {
        let size = left.min(1 << 20);
        let fragment = Frame::new(first, vec![b' '; size]).masked();
        socket.send(&fragment).await.expect("it can be sent");
        (left, first) = (left - size, 0x00);
    }
    assert_eq!(socket.close_code().await, 1009);
    // A message at the limit is read.
    let mut socket = RawSocket::open(system.ws()).await;
    let frame = Frame::text(vec![b' '; MESSAGE_BYTES_MAX]);
    socket.send(&frame.masked()).await.expect("it can be sent");
    let reply = socket.frame().await.expect("the socket stays open");
    assert!(reply.payload.ends_with(br#""code":"bad_json"}"#), "{reply:?}");
}

async fn a_frame_against_the_protocol_closes_1002(engine: EngineKind) {
    let system = System::start(engine).await;
    let write = br#"{"key":"a","value":"b"}"#;
    let bad = [
        ("unmasked", Frame::text(write).bare()),
        ("first reserved bit", Frame::new(0xC1, write).masked()),
        ("second reserved bit", Frame::new(0xA1, write).masked()),
        ("third reserved bit", Frame::new(0x91, write).masked()),
        ("reserved opcode", Frame::new(0x83, write).masked()),
        ("reserved control opcode", Frame::new(0x8B, write).masked()),
        ("ping over 125 bytes", Frame::new(0x89, [0; 126]).masked()),
        ("ping in fragments", Frame::new(0x09, *b"x").masked()),
        ("continuation of nothing", Frame::new(0x80, write).masked()),
        (
            "a message inside another",
            [Frame::new(0x01, *b"x").masked(), Frame::text(write).masked()].concat(),
        ),
        ("close of one byte", Frame::new(0x88, [3]).masked()),
        ("close with a reserved code", Frame::new(0x88, 1005u16.to_be_bytes()).masked()),
    ];
    for (what, bytes) in bad {
        let mut socket = RawSocket::open(system.ws()).await;
        socket.send(&bytes).await.expect("it can be sent");
        assert_eq!(socket.close_code().await, 1002, "{what}");
    }
    assert_eq!(system.database.entries().await, 0);
}

async fn a_message_in_fragments_is_one_message(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = RawSocket::open(system.ws()).await;
    // The two bytes of é are in different frames.
    let parts = [
        Frame::new(0x01, *br#"{"key":"frag"#),
        Frame::new(0x00, *b"ment\xc3"),
        Frame::new(0x89, *b"between"),
        Frame::new(0x00, *b""),
        Frame::new(0x80, *b"\xa9\",\"value\":\"whole\"}"),
    ];
    for part in parts {
        socket.send(&part.masked()).await.expect("it can be sent");
    }
    assert_eq!(socket.frame().await.expect("a pong"), Frame::new(0x8A, *b"between"));
    let reply = socket.frame().await.expect("a reply");
    let expected = "{\"message\":\"fragment\u{e9} created\",\"status\":200}";
    assert_eq!(String::from_utf8_lossy(&reply.payload), expected);
    assert_eq!(system.read("fragment\u{e9}").await.json()["value"], "whole");
}

async fn a_ping_is_answered_with_its_payload(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = RawSocket::open(system.ws()).await;
    for payload in [vec![], b"ping".to_vec(), vec![0xFF; 125]] {
        let ping = Frame::new(0x89, payload.clone());
        socket.send(&ping.masked()).await.expect("it can be sent");
        assert_eq!(socket.frame().await.expect("a pong"), Frame::new(0x8A, payload));
    }
}

async fn a_close_is_answered(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = RawSocket::open(system.ws()).await;
    let close = Frame::new(0x88, 1000u16.to_be_bytes());
    socket.send(&close.masked()).await.expect("it can be sent");
    assert_eq!(socket.close_code().await, 1000);
    let after = socket.frame().await;
    assert!(after.is_err(), "the server ends the connection: {after:?}");
}
