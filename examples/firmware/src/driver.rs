//! The time driver for embassy on the SysTick timer, with ticks of 1 µs and an interrupt every millisecond.

use core::cell::{Cell, RefCell};
use core::task::Waker;

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{SCB, SYST};
use cortex_m_rt::exception;
use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

/// Frequency of the core. The LM3S6965 runs at 12.5 MHz after reset, and nothing here changes it.
pub const CORE_HZ: u32 = 12_500_000;

const CYCLES_PER_MILLI: u32 = CORE_HZ / 1_000;

struct SysTick {
    millis: Mutex<Cell<u64>>,
    queue: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static DRIVER: SysTick = SysTick {
    millis: Mutex::new(Cell::new(0)),
    queue: Mutex::new(RefCell::new(Queue::new())),
});

/// Starts the timer. Until then, time stands still.
pub fn start(timer: &mut SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(CYCLES_PER_MILLI - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
}

impl SysTick {
    fn now(&self, cs: CriticalSection<'_>) -> u64 {
        let (millis, left) = (self.millis.borrow(cs).get(), SYST::get_current());
        // The interrupt of the last millisecond may be pending. SysTick counts down, so
        // micros = millis * 1000 + (CYCLES_PER_MILLI - 1 - left) / 12.5.
        let (millis, left) =
            if SCB::is_pendst_pending() { (millis + 1, SYST::get_current()) } else { (millis, left) };
        millis * 1_000 + u64::from((CYCLES_PER_MILLI - 1).saturating_sub(left) * 2 / 25)
    }

    /// Wakes the tasks that are due. The queue is borrowed here only, within a critical section, so never
    /// twice.
    fn wake(&self, cs: CriticalSection<'_>, added: Option<(u64, &Waker)>) {
        if let Ok(mut queue) = self.queue.borrow(cs).try_borrow_mut() {
            if let Some((at, waker)) = added {
                queue.schedule_wake(at, waker);
            }
            queue.next_expiration(self.now(cs));
        }
    }
}

impl Driver for SysTick {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.now(cs))
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| self.wake(cs, Some((at, waker))));
    }
}

#[exception]
fn SysTick() {
    critical_section::with(|cs| {
        let millis = DRIVER.millis.borrow(cs);
        millis.set(millis.get() + 1);
        DRIVER.wake(cs, None);
    });
}
