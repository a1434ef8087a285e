//! One allocation, cut into parts that are owned apart.
//!
//! Small pages cost a large table more than anything else: the processor knows the addresses of a few thousand at a
//! time. So all parts lie in one region, which is advised to be made of large pages before it is first written to.
#![expect(unsafe_code, reason = "no safe type owns a part of an allocation")]

use std::ptr::NonNull;
use std::sync::Arc;

use super::hint;

/// A part of an allocation: whoever has it is the only one to see it.
pub(super) struct Part<T> {
    /// Invariant: the elements of `start..start + length` are initialised, belong to this part alone, and live as
    /// long as `_whole`.
    start: NonNull<T>,
    length: usize,
    _whole: Arc<Whole<T>>,
}

/// Keeps the allocation until its last part is gone.
struct Whole<T>(NonNull<[T]>);

impl<T> Drop for Whole<T> {
    fn drop(&mut self) {
        // SAFETY: it came out of a box in `cut`, once, and no part of it is left.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// So many parts of so many elements each.
pub(super) fn cut<T: Default>(parts: usize, length: usize) -> Vec<Part<T>> {
    let all = parts.checked_mul(length).expect("no more slots than there are addresses");
    let mut elements = Vec::with_capacity(all);
    hint::large_pages(elements.spare_capacity_mut());
    elements.resize_with(all, T::default);
    let whole = NonNull::from(Box::leak(elements.into_boxed_slice()));
    let owner = Arc::new(Whole(whole));
    (0..parts)
        .map(|part| {
            // SAFETY: there are `parts * length` elements, so each part begins within them or, if it is empty, at
            // their end, and no two overlap.
            let start = unsafe { whole.cast::<T>().add(part * length) };
            Part { start, length, _whole: owner.clone() }
        })
        .collect()
}

impl<T> AsRef<[T]> for Part<T> {
    #[inline]
    fn as_ref(&self) -> &[T] {
        // SAFETY: by the invariant of `start`; nothing else borrows from a part than this and `as_mut`.
        unsafe { NonNull::slice_from_raw_parts(self.start, self.length).as_ref() }
    }
}

impl<T> AsMut<[T]> for Part<T> {
    #[inline]
    fn as_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and this part is borrowed mutably.
        unsafe { NonNull::slice_from_raw_parts(self.start, self.length).as_mut() }
    }
}

// SAFETY: a part owns its elements as a box does. What is shared is only dropped, by the last one, and may then drop
// elements on that one's thread, which `Send` allows.
unsafe impl<T: Send> Send for Part<T> {}
// SAFETY: through a shared part elements can be shared only.
unsafe impl<T: Sync> Sync for Part<T> {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static ALIVE: AtomicUsize = AtomicUsize::new(0);

    #[derive(Debug)]
    struct Counted(usize);

    impl Default for Counted {
        fn default() -> Self {
            Self(ALIVE.fetch_add(1, Ordering::Relaxed))
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Every element is in one part, may be changed there by any thread, and goes when the last part has gone.
    #[test]
    fn each_element_is_in_one_part_and_is_dropped_once() {
        let mut parts = cut::<Counted>(4, 3);
        std::thread::scope(|scope| {
            for part in &mut parts {
                scope.spawn(|| part.as_mut().iter_mut().for_each(|element| element.0 += 100));
            }
        });
        let all: Vec<usize> =
            parts.iter().flat_map(|part| part.as_ref().iter().map(|element| element.0)).collect();
        assert_eq!(all, (100..112).collect::<Vec<_>>());
        let last = parts.pop();
        drop(parts);
        assert_eq!(ALIVE.load(Ordering::Relaxed), 12);
        drop(last);
        assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn parts_may_be_empty() {
        assert!(cut::<String>(0, 5).is_empty());
        assert!(cut::<String>(3, 0).iter().all(|part| part.as_ref().is_empty()));
        assert!(cut::<()>(2, 2).iter().all(|part| part.as_ref().len() == 2));
    }
}
