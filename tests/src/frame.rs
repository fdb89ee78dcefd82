//! A WebSocket client that sends and receives single frames, so that a test can break the protocol.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::patience::{PATIENCE, within};

/// The masking key of every frame sent. Any four bytes will do.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// One frame as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// FIN, the reserved bits and the opcode.
    pub first: u8,
    /// The payload, not masked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame with this first byte.
    #[must_use]
    pub fn new(first: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self { first, payload: payload.into() }
    }

    /// A whole text message.
    #[must_use]
    pub fn text(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(0x81, payload)
    }

    /// Its bytes, masked. A client must send it so.
    #[must_use]
    pub fn masked(&self) -> Vec<u8> {
        let mut bytes = self.head(0x80);
        bytes.extend(MASK);
        bytes.extend(self.payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// Its bytes, not masked. Only a server may send it so.
    #[must_use]
    pub fn bare(&self) -> Vec<u8> {
        let mut bytes = self.head(0);
        bytes.extend(&self.payload);
        bytes
    }

    fn head(&self, mask_bit: u8) -> Vec<u8> {
        let mut bytes = vec![self.first];
        match (u8::try_from(self.payload.len()), u16::try_from(self.payload.len())) {
            (Ok(length @ ..126), _) => bytes.push(mask_bit | length),
            (_, Ok(length)) => {
                bytes.push(mask_bit | 0x7E);
                bytes.extend(length.to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 0x7F);
                bytes.extend((self.payload.len() as u64).to_be_bytes());
            }
        }
        bytes
    }
}

/// An open socket without a WebSocket library.
#[derive(Debug)]
pub struct RawSocket {
    stream: BufReader<TcpStream>,
}

impl RawSocket {
    /// Opens `/ws/storage/` at `addr`.
    pub async fn open(addr: SocketAddr) -> Self {
        let open = async {
            let mut stream = BufReader::new(TcpStream::connect(addr).await?);
            let request = format!(
                "GET /ws/storage/ HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await?;
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(stream.read_line(&mut head).await?, 0, "no whole response: {head}");
            }
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            // The accept value for this key, from RFC 6455.
            assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
            Ok::<_, std::io::Error>(Self { stream })
        };
        within("opening a socket", PATIENCE, open).await.expect("the socket opens")
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("sending", PATIENCE, self.stream.write_all(bytes)).await
    }

    /// Sends `bytes` for at most `limit`. Returns whether all were sent.
    pub async fn send_for(&mut self, bytes: &[u8], limit: Duration) -> bool {
        matches!(timeout(limit, self.stream.write_all(bytes)).await, Ok(Ok(())))
    }

    /// Whether nothing comes from the server for a tenth of a second.
    pub async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_millis(100), self.stream.fill_buf()).await.is_err()
    }

    /// The next frame.
    ///
    /// # Errors
    /// The connection broke or ended.
    pub async fn frame(&mut self) -> std::io::Result<Frame> {
        self.frame_within(PATIENCE).await
    }

    /// The next frame, within `limit`.
    ///
    /// # Errors
    /// The connection broke or ended.
    pub async fn frame_within(&mut self, limit: Duration) -> std::io::Result<Frame> {
        within("a frame", limit, async {
            let first = self.stream.read_u8().await?;
            let length = match self.stream.read_u8().await? {
                126 => u64::from(self.stream.read_u16().await?),
                127 => self.stream.read_u64().await?,
                length => u64::from(length),
            };
            assert!(length < 1 << 20, "a server never masks, and no reply is {length} bytes");
            let mut payload = vec![0; usize::try_from(length).expect("it is small")];
            self.stream.read_exact(&mut payload).await?;
            Ok(Frame { first, payload })
        })
        .await
    }

    /// The code of the next frame, which must be a Close.
    pub async fn close_code(&mut self) -> u16 {
        let frame = self.frame().await.expect("the server says why it closes");
        assert_eq!(frame.first, 0x88, "a Close and not {frame:?}");
        match frame.payload[..] {
            [high, low, ..] => u16::from_be_bytes([high, low]),
            _ => panic!("a Close without a code: {frame:?}"),
        }
    }
}
