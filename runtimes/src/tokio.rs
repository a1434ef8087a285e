//! The tokio runtime.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use traffik_core::Timer;

use crate::{Connect, Runtime};

/// Tokio. Every method must be called from within a tokio runtime whose drivers are enabled; tokio panics otherwise.
///
/// ```
/// # use std::time::Duration;
/// use traffik_backends::Memory;
/// use traffik_core::{Gcra, Limiter, Rate};
/// use traffik_runtimes::Tokio;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), traffik_core::WaitError> {
/// let limiter = Limiter::new(Gcra::new(Rate::per_second(1_000)), Memory::new(100));
/// for _ in 0..5 {
///     limiter.until_ready("uplink", &Tokio).await?; // a millisecond apart
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio;

impl Timer for Tokio {
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep(wait)
    }
}

impl Runtime for Tokio {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(future));
    }
}

impl Connect for Tokio {
    type Stream = Compat<TcpStream>;

    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send + 'static {
        let address = address.to_owned();
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream.compat())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};

    use futures_util::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::Elapsed;
    use traffik_backends::Memory;
    use traffik_core::{Clock, Gcra, Limiter, Rate, Timestamp, WaitError};

    /// Tokio's own virtual time as the clock of a storage.
    struct Virtual(tokio::time::Instant);

    impl Clock for Virtual {
        fn now(&self) -> Timestamp {
            Timestamp::EPOCH + self.0.elapsed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn until_ready_waits_out_each_denial_exactly() {
        let clock = Virtual(tokio::time::Instant::now());
        let limiter = Limiter::new(Gcra::new(Rate::per_minute(60)), Memory::builder().clock(clock).build());
        for second in 0..5 {
            assert!(limiter.until_ready("key", &Tokio).await.unwrap().is_allowed());
            assert_eq!(limiter.now().as_micros(), second * 1_000_000);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn until_ready_does_not_wait_for_what_can_never_be() {
        let closed = Limiter::new(Gcra::new(Rate::per_second(0)), Memory::new(1));
        assert_eq!(closed.until_ready("key", &Tokio).await, Err(WaitError::Never));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_ends_what_does_not() {
        let limit = Duration::from_secs(3);
        assert_eq!(Tokio.timeout(limit, pending::<()>()).await, Err(Elapsed(limit)));
        assert_eq!(Tokio.timeout(Duration::ZERO, ready(7)).await, Ok(7));
    }

    /// A server that sends back what it is sent, once, on a thread of its own.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut sent = [0; 5];
            stream.read_exact(&mut sent).unwrap();
            stream.write_all(&sent).unwrap();
        });
        address
    }

    #[tokio::test]
    async fn what_is_written_to_a_server_comes_back_without_delay() {
        let mut stream = Tokio.connect(&format!("localhost:{}", echo().port())).await.unwrap();
        assert!(stream.get_ref().nodelay().unwrap());
        stream.write_all(b"hello").await.unwrap();
        let mut told = Vec::new();
        stream.read_to_end(&mut told).await.unwrap();
        assert_eq!(told, b"hello");
        let wrong = Tokio.connect("no address").await.unwrap_err();
        assert_eq!(wrong.kind(), io::ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn what_is_spawned_runs_unattended() {
        let (done, told) = tokio::sync::oneshot::channel();
        Tokio.spawn(async {
            let _ = done.send(7);
        });
        assert_eq!(told.await, Ok(7));
    }
}
