//! Draws the pictures of the guides: the strategies themselves decide on hits in virtual time.
//!
//!   traffik-pictures FOLDER    writes NAME.svg, and NAME.uri with the same picture for a page without files

mod chart;
mod scenes;
mod uri;

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name the folder that the pictures go to")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    for picture in scenes::all()? {
        let svg = chart::draw(&picture)?;
        std::fs::write(folder.join(format!("{}.svg", picture.name)), &svg)?;
        std::fs::write(folder.join(format!("{}.uri", picture.name)), uri::of_svg(&svg))?;
    }
    Ok(())
}
