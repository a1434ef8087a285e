//! Keeps the limits over a reset, as images in RAM that the startup code does not change.
//!
//! After power-on this RAM holds random bytes. A storage restores an image only if its checksum is right, and
//! else starts empty.

use core::mem::MaybeUninit;
use core::ptr::{addr_of, addr_of_mut};

use traffik::StorageError;

use crate::{beeper, bus, commands, uplink};

/// The images, one for each limiter.
#[derive(Clone, Copy)]
struct Images {
    uplink: [u8; uplink::Storage::SAVED],
    commands: [u8; commands::Storage::SAVED],
    bus: [u8; bus::Storage::SAVED],
    beeper: [u8; beeper::Storage::SAVED],
}

/// The place of the images. cortex-m-rt neither zeroes nor initialises the section `.uninit`.
#[unsafe(link_section = ".uninit.IMAGES")]
static mut IMAGES: MaybeUninit<Images> = MaybeUninit::uninit();

/// Saves all limits for the boot after a reset.
pub fn save() -> Result<(), StorageError> {
    let mut images = Images {
        uplink: [0; uplink::Storage::SAVED],
        commands: [0; commands::Storage::SAVED],
        bus: [0; bus::Storage::SAVED],
        beeper: [0; beeper::Storage::SAVED],
    };
    uplink::LIMITER.storage().save(&mut images.uplink)?;
    commands::LIMITER.storage().save(&mut images.commands)?;
    bus::LIMITER.storage().save(&mut images.bus)?;
    beeper::LIMITER.storage().save(&mut images.beeper)?;
    // SAFETY: only `save` and `restore` use the place, no interrupt calls them, and neither holds a reference
    // to it. The write is volatile because this program never reads it back, so it could be optimised away.
    unsafe { addr_of_mut!(IMAGES).write_volatile(MaybeUninit::new(images)) };
    Ok(())
}

/// Restores all limits. Returns `false` if one could not be restored, which then starts empty.
pub fn restore() -> bool {
    // SAFETY: as in `save`. The volatile read takes any bytes that are there, and any bytes are valid images.
    let images = unsafe { addr_of!(IMAGES).read_volatile().assume_init() };
    let restored = [
        ("uplink", uplink::LIMITER.storage().restore(&images.uplink)),
        ("commands", commands::LIMITER.storage().restore(&images.commands)),
        ("bus", bus::LIMITER.storage().restore(&images.bus)),
        ("beeper", beeper::LIMITER.storage().restore(&images.beeper)),
    ];
    for (name, restored) in &restored {
        match restored {
            Ok(()) => defmt::info!("{} goes on", name),
            Err(error) => defmt::warn!("{} starts empty: {}", name, error),
        }
    }
    restored.iter().all(|(_, restored)| restored.is_ok())
}
