//! The same for JavaScript.

use wasm_bindgen::prelude::wasm_bindgen;

/// [`decisions`](crate::decisions), or the error as text.
#[wasm_bindgen]
pub fn decisions() -> String {
    crate::decisions().unwrap_or_else(|error| error.to_string())
}

/// [`surroundings`](crate::surroundings), which throws its error.
#[wasm_bindgen]
pub fn surroundings() -> Result<String, String> {
    crate::surroundings().map_err(|error| error.to_string())
}
