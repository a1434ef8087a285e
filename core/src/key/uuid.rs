//! Identifiers of 128 bits as keys.

use uuid::Uuid;

use super::printed_keys;
use crate::Key;

printed_keys! {
    [Uuid] (self, sink) { sink(self.as_bytes()); }
}
