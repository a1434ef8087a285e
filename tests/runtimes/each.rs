//! Every runtime does what a runtime owes: the same tests on each.

use std::net::TcpListener;
use std::sync::Arc;

use super::duties;
use traffik::runtime::{AsyncStd, Connect, Manual, Runtime, Smol, Tokio};

/// A test for each duty, on one runtime.
macro_rules! does_its_duties {
    ($name:ident: $runtime:expr, $block_on:expr) => {
        does_its_duties!($name: $runtime, $block_on;
            a_sleep_is_never_early
            a_sleep_counts_from_the_call
            a_timeout_ends_and_drops_what_does_not_end
            what_is_spawned_runs_unattended
            an_interval_ticks_no_faster_than_its_period
            what_is_sent_to_a_server_comes_back
            what_cannot_be_connected_to_is_told
            nothing_is_left_of_what_is_dropped);
    };
    ($name:ident: $runtime:expr, $block_on:expr; $($duty:ident)*) => {
        mod $name {
            use super::*;

            $(
                #[test]
                fn $duty() {
                    ($block_on)(duties::$duty($runtime));
                }
            )*
        }
    };
}

does_its_duties!(on_tokio_with_one_thread: Tokio, |duty| one_thread().block_on(duty));
does_its_duties!(on_tokio_with_several_threads: Tokio, |duty| several_threads().block_on(duty));
does_its_duties!(on_smol: Smol::new(), smol::block_on);
does_its_duties!(on_async_std: AsyncStd, async_std::task::block_on);

#[test]
fn in_virtual_time_whatever_needs_no_server() {
    let manual = Manual::new();
    let duties = async {
        duties::a_sleep_is_never_early(manual.clone()).await;
        duties::a_sleep_counts_from_the_call(manual.clone()).await;
        duties::a_timeout_ends_and_drops_what_does_not_end(manual.clone()).await;
        duties::what_is_spawned_runs_unattended(manual.clone()).await;
        duties::an_interval_ticks_no_faster_than_its_period(manual.clone()).await;
    };
    manual.run(duties).unwrap();
}

#[test]
fn what_is_written_is_sent_without_delay() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    let on_tokio =
        one_thread().block_on(async { Tokio.connect(&address).await.unwrap().get_ref().nodelay() });
    let on_smol = smol::block_on(Smol::new().connect(&address)).unwrap().nodelay();
    let on_async_std = async_std::task::block_on(AsyncStd.connect(&address)).unwrap().nodelay();
    assert_eq!([on_tokio, on_smol, on_async_std].map(Result::unwrap), [true; 3]);
}

#[test]
fn smol_spawns_on_the_executor_that_it_was_given() {
    let executor = Arc::new(smol::Executor::new());
    let (done, told) = smol::channel::bounded(1);
    Smol::with(Arc::clone(&executor)).spawn(async move {
        let _ = done.send(7).await;
    });
    // It is not run by anybody else.
    assert!(!executor.is_empty());
    assert_eq!(smol::block_on(executor.run(told.recv())), Ok(7));
}

fn one_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn several_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
