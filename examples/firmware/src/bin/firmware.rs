//! A sensor node: it sends readings up no faster than its uplink allows, and takes commands from peers, each
//! no faster than that peer may.
//!
//! Logs go to the standard output as defmt's frames, text to the standard error.
#![no_std]
#![no_main]

use core::cell::Cell;
use core::fmt::Write;
use core::panic::PanicInfo;

use cortex_m_semihosting::{debug, hio};
use defmt_semihosting as _;
use embassy_executor::Spawner;
use embassy_sync::blocking_mutex::raw::ThreadModeRawMutex;
use embassy_sync::channel::Channel;
use embassy_time::{Duration, Instant, Ticker, Timer};
use heapless::{String, Vec};
use static_cell::StaticCell;
use traffik_core::storage::WhenFull;
use traffik_core::{EmbassyClock, ErrorKind, Fixed, Gcra, Limiter, TokenBucket, WaitError, rate};

/// The radio may be used ten times a second, and twice at once.
const UPLINK: Gcra = match Gcra::new(rate!("10/s")).burst(2) {
    Ok(limit) => limit,
    Err(_) => panic!("a burst of 2 can be counted"),
};

/// A peer may send four commands at once, and two a second from then on.
const COMMANDS: TokenBucket = match TokenBucket::new(rate!("2/s")).burst(4) {
    Ok(limit) => limit,
    Err(_) => panic!("a burst of 4 can be counted"),
};

/// There is one uplink, so one key.
type Uplink = Limiter<Gcra, Fixed<Gcra, EmbassyClock, 1>>;
/// Peers are known by name. There is room for sixteen; further ones are turned away.
type Commands = Limiter<TokenBucket, Fixed<TokenBucket, EmbassyClock, 16>>;

#[derive(Clone, Copy, defmt::Format)]
struct Reading {
    sensor: u8,
    millidegrees: i32,
}

static READINGS: Channel<ThreadModeRawMutex, Reading, 8> = Channel::new();

const ONCE: &str = "each task is spawned once";

/// What was done, for the end.
#[derive(Default)]
struct Done {
    taken: Cell<u32>,
    sent: Cell<u32>,
    executed: Cell<u32>,
    denied: Cell<u32>,
    turned_away: Cell<u32>,
}

fn count(counter: &Cell<u32>) {
    counter.set(counter.get() + 1);
}

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    if let Some(mut core) = cortex_m::Peripherals::take() {
        firmware::driver::start(&mut core.SYST);
    }
    static DONE: StaticCell<Done> = StaticCell::new();
    static UPLINK_LIMIT: StaticCell<Uplink> = StaticCell::new();
    static COMMAND_LIMIT: StaticCell<Commands> = StaticCell::new();
    // A device has a source of random numbers for this; an emulator has none.
    let seed = 0x5eed_5eed_5eed_5eed;
    let done = &*DONE.init_with(Done::default);
    let uplink = UPLINK_LIMIT.init_with(|| Limiter::new(UPLINK, Fixed::new(EmbassyClock::new(), seed)));
    let commands = COMMAND_LIMIT.init_with(|| {
        Limiter::new(COMMANDS, Fixed::new(EmbassyClock::new(), seed).when_full(WhenFull::Refuse))
    });

    let began = Instant::now();
    spawner.spawn(sense(done).expect(ONCE));
    spawner.spawn(send(uplink, done).expect(ONCE));
    spawner.spawn(obey(commands, done).expect(ONCE));
    Timer::after_secs(3).await;
    let mut out = Out::default();
    let lasted = began.elapsed().as_millis();
    out.line(format_args!("{} of {} readings sent in {lasted} ms", done.sent.get(), done.taken.get()));
    out.line(format_args!(
        "{} commands executed, {} denied, {} of peers there is no room for",
        done.executed.get(),
        done.denied.get(),
        done.turned_away.get()
    ));
    // A bound of 2 + 10 a second, used up to the last since there was always more to send.
    let as_promised = done.sent.get() == 2 + 30 && done.executed.get() > 0 && done.denied.get() > 0;
    debug::exit(if as_promised { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
}

/// Reads three sensors twenty times a second.
#[embassy_executor::task]
async fn sense(done: &'static Done) {
    let mut ticker = Ticker::every(Duration::from_millis(50));
    for reading in 0.. {
        for sensor in 0..3 {
            count(&done.taken);
            // What finds no room is lost: the uplink is slower than the sensors.
            let _ = READINGS.try_send(Reading { sensor, millidegrees: 20_000 + reading });
        }
        ticker.next().await;
    }
}

/// Sends what there is as soon as the uplink allows.
#[embassy_executor::task]
async fn send(uplink: &'static Uplink, done: &'static Done) {
    loop {
        let reading = READINGS.receive().await;
        match uplink.until_ready(&(), &EmbassyClock::new()).await {
            Ok(decision) => {
                count(&done.sent);
                defmt::info!("sent {}: {}", reading, decision);
            }
            Err(WaitError::Never) => defmt::error!("the uplink is closed"),
            Err(error) => defmt::error!("not sent: {}", error),
        }
    }
}

/// Takes commands of twenty peers, some of which send many.
#[embassy_executor::task]
async fn obey(commands: &'static Commands, done: &'static Done) {
    let peers = (0..20).filter_map(|number| heapless::format!("pump-{number}").ok());
    let peers: Vec<String<12>, 20> = peers.collect();
    let mut ticker = Ticker::every(Duration::from_millis(20));
    for moment in 0usize.. {
        // The first peer sends all the time, the others now and then.
        for peer in peers.iter().take(1).chain(peers.get(moment % peers.len())) {
            match commands.check(peer) {
                Ok(decision) if decision.is_allowed() => count(&done.executed),
                Ok(decision) => {
                    count(&done.denied);
                    defmt::debug!("{} is too fast: {}", peer, decision);
                }
                Err(error) if error.kind() == ErrorKind::Full => count(&done.turned_away),
                Err(error) => defmt::error!("{}: {}", peer, error),
            }
        }
        ticker.next().await;
    }
}

/// Lines of text on the standard error.
#[derive(Default)]
struct Out(Option<hio::HostStream>);

impl Out {
    fn line(&mut self, text: core::fmt::Arguments<'_>) {
        let mut line: String<300> = String::new();
        let _ = writeln!(line, "{text}");
        if self.0.is_none() {
            self.0 = hio::hstderr().ok();
        }
        if let Some(stream) = &mut self.0 {
            let _ = stream.write_all(line.as_bytes());
        }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    Out::default().line(format_args!("{info}"));
    debug::exit(debug::EXIT_FAILURE);
    loop {}
}
