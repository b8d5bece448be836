//! Writes the manual pages and the shells' completions of the command `cloudbox`, from its own definitions:
//!
//! ```text
//! cloudbox-docs DIRECTORY
//! ```
//!
//! `man1/` gets `cloudbox.1` and a page for each command, `completions/` a file for each of bash, zsh and fish.

mod completions;

use clap::Command;
use clap_mangen::Man;
use roff::{roman, Roff};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: cloudbox-docs DIRECTORY");
        return ExitCode::from(2);
    };
    match write(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloudbox-docs: {}: {error}", directory.to_string_lossy());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> io::Result<()> {
    let mut root = cloudbox::cli::command();
    root.build();
    let (man, completions) = (directory.join("man1"), directory.join("completions"));
    fs::create_dir_all(&man)?;
    write_man(&man, &root)?;
    fs::create_dir_all(&completions)?;
    for (name, script) in completions::scripts(&root) {
        fs::write(completions.join(name), script)?;
    }
    Ok(())
}

/// A page for `command`, and one for each command below it.
fn write_man(directory: &Path, command: &Command) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_man(directory, below)?;
    }
    // `cloudbox-image-list`
    let name = command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "-");
    let version = format!("cloudbox {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone().display_name(&name)).title(name.to_uppercase()).source(version);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(text) = command.get_after_help() {
        page.extend(examples(&text.to_string()));
    }
    fs::File::create(directory.join(format!("{name}.1")))?.write_all(&page)
}

/// The section of examples, from what a help page says below its heading: what it does, then the line to type.
fn examples(text: &str) -> Vec<u8> {
    let mut section = Roff::new();
    section.control("SH", ["EXAMPLES"]);
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("# ") {
            Some(meaning) => section.control("TP", []).text([roman(format!("{meaning}:"))]),
            None if line.starts_with("cloudbox ") => section.text([roman(line)]),
            None => &mut section,
        };
    }
    section.render().into_bytes()
}
