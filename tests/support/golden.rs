//! Golden files: what a test rendered, word for word, as it was when it was last agreed to.
//!
//! A golden holds what others depend on: the bytes of a state, the headers of an answer. A change of one is a
//! change of behaviour. `TRAFFIK_GOLDENS=write scripts/test SUBJECT golden` writes the files anew; the
//! difference is what the changelog has to say.

use std::path::Path;

/// Compares `text` with the golden `name` in `folder`, a path below the workspace.
pub fn golden(folder: &str, name: &str, text: &str) {
    let path = crate::folder::workspace().join(folder).join(format!("{name}.txt"));
    if std::env::var_os("TRAFFIK_GOLDENS").is_some_and(|set| set == "write") {
        write(&path, text);
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some(difference) = difference(&kept, text) {
        panic!("{} differs from what the test rendered{difference}", path.display());
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The first line in which two texts differ, and how often they do.
fn difference(kept: &str, rendered: &str) -> Option<String> {
    if kept == rendered {
        return None;
    }
    let (mut kept, mut rendered) = (kept.lines(), rendered.lines());
    let (mut differing, mut first) = (0, None);
    for line in 1.. {
        let (was, is) = (kept.next(), rendered.next());
        if was.is_none() && is.is_none() {
            break;
        }
        if was != is {
            differing += 1;
            first.get_or_insert((line, was.unwrap_or("(no line)"), is.unwrap_or("(no line)")));
        }
    }
    let (line, was, is) = first.unwrap_or((0, "(the end of the last line)", ""));
    Some(format!(" in {differing} lines, first in line {line}:\n  was {was}\n  is  {is}"))
}
