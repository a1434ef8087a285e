//! A number of 64 bits that tasks and interrupts share, where the target has no atomics of that width.

pub(super) type Register = crate::time::section_cell::SectionCell<u64>;
