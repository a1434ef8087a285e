//! One region of slots, cut into parts with separate owners. Each part is initialised when it is first
//! used.
//!
//! Reserving the region takes addresses only; the kernel provides memory on the first write. All parts lie
//! in one region because small pages cost a large table more than anything else: the processor caches the
//! addresses of only a few thousand pages. So the kernel is advised to use large pages for a large region.
#![expect(unsafe_code, reason = "no safe type owns a part of an allocation")]

use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;

use super::hint;

/// A part of a region with one owner. Empty until it is [filled](Self::fill).
pub(super) struct RegionPart<T> {
    /// Invariant: the elements of `start..start + region.length` lie in the region and belong to this part
    /// alone.
    start: NonNull<T>,
    /// Invariant: 0, or the length of a part if all of its elements are initialised.
    length: usize,
    region: Arc<SlotRegion<T>>,
}

/// The allocation, freed with its last part.
struct SlotRegion<T> {
    whole: NonNull<[MaybeUninit<T>]>,
    /// The number of elements of each part.
    length: usize,
}

impl<T> Drop for SlotRegion<T> {
    fn drop(&mut self) {
        // SAFETY: `cut` leaked it from a box once, and its last part was dropped.
        drop(unsafe { Box::from_raw(self.whole.as_ptr()) });
    }
}

/// Cuts a region into this many parts, each with room for this many elements.
///
/// # Panics
///
/// Panics if there are more elements than addresses.
pub(super) fn cut<T>(parts: usize, length: usize) -> Vec<RegionPart<T>> {
    let all = parts.checked_mul(length).expect("no more slots than there are addresses");
    let mut elements = Box::new_uninit_slice(all);
    hint::pages(&mut elements);
    let whole = NonNull::from(Box::leak(elements));
    let region = Arc::new(SlotRegion { whole, length });
    (0..parts)
        .map(|part| {
            // SAFETY: there are `parts * length` elements, so each part begins within them or, if it is
            // empty, at their end, and no two overlap.
            let start = unsafe { whole.cast::<T>().add(part * length) };
            RegionPart { start, length: 0, region: Arc::clone(&region) }
        })
        .collect()
}

impl<T> RegionPart<T> {
    /// Returns the address of the first element, initialised or not.
    pub(super) const fn start(&self) -> NonNull<T> {
        self.start
    }
}

impl<T: Default> RegionPart<T> {
    /// Initialises the elements, unless they are initialised.
    #[inline]
    pub(super) fn fill(&mut self) {
        if self.length == 0 {
            self.initialise();
        }
    }

    #[cold]
    #[inline(never)]
    fn initialise(&mut self) {
        let mut room = NonNull::slice_from_raw_parts(self.start.cast::<MaybeUninit<T>>(), self.region.length);
        // SAFETY: by the invariant of `start`, and this part is borrowed mutably; such elements may be
        // uninitialised.
        for element in unsafe { room.as_mut() } {
            element.write(T::default());
        }
        self.length = self.region.length;
    }
}

impl<T> AsRef<[T]> for RegionPart<T> {
    #[inline]
    fn as_ref(&self) -> &[T] {
        // SAFETY: by both invariants; nothing else borrows from a part than its own methods.
        unsafe { NonNull::slice_from_raw_parts(self.start, self.length).as_ref() }
    }
}

impl<T> AsMut<[T]> for RegionPart<T> {
    #[inline]
    fn as_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and this part is borrowed mutably.
        unsafe { NonNull::slice_from_raw_parts(self.start, self.length).as_mut() }
    }
}

impl<T> Drop for RegionPart<T> {
    fn drop(&mut self) {
        // SAFETY: the elements are initialised, belong to this part, and are seen by nobody after it.
        unsafe { NonNull::slice_from_raw_parts(self.start, self.length).drop_in_place() };
    }
}

// SAFETY: a part owns its elements as a box does. The parts share the region, which owns no element and only
// frees the memory.
unsafe impl<T: Send> Send for RegionPart<T> {}
// SAFETY: a shared part gives shared access to its elements only.
unsafe impl<T: Sync> Sync for RegionPart<T> {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static ALIVE: AtomicUsize = AtomicUsize::new(0);

    #[derive(Debug)]
    struct CountedElement(usize);

    impl Default for CountedElement {
        fn default() -> Self {
            Self(ALIVE.fetch_add(1, Ordering::Relaxed))
        }
    }

    impl Drop for CountedElement {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Every element belongs to one part, can be changed there by any thread, and is dropped with that
    /// part.
    #[test]
    fn each_element_is_in_one_part_and_is_dropped_once() {
        let mut parts = cut::<CountedElement>(4, 3);
        assert_eq!(ALIVE.load(Ordering::Relaxed), 0, "nothing is made before it is needed");
        // The third is never needed.
        for part in [0, 1, 3] {
            parts[part].fill();
        }
        std::thread::scope(|scope| {
            for part in &mut parts {
                scope.spawn(|| part.as_mut().iter_mut().for_each(|element| element.0 += 100));
            }
        });
        let all: Vec<usize> =
            parts.iter().flat_map(|part| part.as_ref().iter().map(|element| element.0)).collect();
        assert_eq!(all, (100..109).collect::<Vec<_>>());
        let last = parts.pop();
        drop(parts);
        assert_eq!(ALIVE.load(Ordering::Relaxed), 3);
        drop(last);
        assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn parts_may_be_empty() {
        assert!(cut::<String>(0, 5).is_empty());
        for mut part in cut::<String>(3, 0) {
            part.fill();
            assert!(part.as_ref().is_empty());
        }
        for mut part in cut::<()>(2, 2) {
            part.fill();
            assert_eq!(part.as_ref().len(), 2);
        }
    }
}
