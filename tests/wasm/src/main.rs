//! Prints the decisions, or with the argument `surroundings` the random part of a memory.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let is_about_surroundings = std::env::args().nth(1).is_some_and(|argument| argument == "surroundings");
    let text = if is_about_surroundings { traffik_wasm::surroundings()? } else { traffik_wasm::decisions()? };
    println!("{}", text.trim_end());
    Ok(())
}
