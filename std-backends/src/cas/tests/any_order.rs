//! Operations in random order, and on several threads.

use super::*;

/// A sequence of random numbers (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// In any order of events, every waiter is answered, an admitted hit is charged once, a dropped hit at most
/// once, and nothing is left behind.
#[test]
fn any_order_of_coming_polling_dropping_and_answering() {
    for seed in 1..=4_000u64 {
        let (rig, mut chance) = (rig(40), Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let (mut tasks, mut dropped, mut admitted) = (Vec::<PendingCheck>::new(), 0, 0);
        for _ in 0..60 {
            let at = chance.below(tasks.len().max(1) as u64) as usize;
            match chance.below(10) {
                0..3 => tasks.push(rig.check(1)),
                3..6 => drop(tasks.get_mut(at).map(Running::step)),
                6 if !tasks.is_empty() => {
                    let task = tasks.swap_remove(at);
                    admitted += u32::from(allowed(&task));
                    dropped += u32::from(task.output.is_none());
                }
                7 => rig.store.refused.store(chance.below(3), Ordering::Relaxed),
                _ => rig.store.let_on(1),
            }
        }
        rig.store.refused.store(0, Ordering::Relaxed);
        rig.store.let_on(10_000);
        run(&mut tasks);
        assert!(tasks.iter().all(allowed), "seed {seed}: somebody is not answered, or denied");
        admitted += tasks.len() as u32;
        let used = rig.store.used(&rig.strategy);
        assert!((admitted..=admitted + dropped).contains(&used), "seed {seed}: {used} of {admitted}");
        drop(tasks);
        assert_eq!(rig.coalescing.keys_under_way(), 0, "seed {seed}");
        assert_eq!(Arc::strong_count(&rig.store), 2, "seed {seed}");
    }
}

/// The same on threads, which poll when they are woken.
#[test]
fn threads_carry_each_others_operations() {
    fn block_on<F: Future>(future: F) -> F::Output {
        struct Parked(std::thread::Thread);
        impl Wake for Parked {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Parked(std::thread::current())));
        let mut future = std::pin::pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            std::thread::park();
        }
    }
    const THREADS: u32 = 8;
    const EACH: u32 = 500;
    let rig = rig(THREADS * EACH);
    // Each call waits until another thread lets it on, so that others arrive meanwhile.
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let pending = rig.coalescing.apply(rig.strategy, KEY.to_vec(), Op::Check(Hit::new(1)));
                    assert!(block_on(pending).unwrap().is_allowed());
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        while done.load(Ordering::Relaxed) < THREADS.into() {
            rig.store.let_on(1);
            std::thread::yield_now();
        }
    });
    assert_eq!(rig.store.used(&rig.strategy), THREADS * EACH);
    assert_eq!(rig.coalescing.keys_under_way(), 0);
}
