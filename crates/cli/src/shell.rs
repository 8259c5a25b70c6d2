//! What is packaged beside the binary: completions and manual pages.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::Verdict;
use crate::args::{Args, EXIT_STATUS};
use crate::error::{Failure, Flaw};

/// What the manual pages show.
const EXAMPLES: [&str; 11] = [
    r#"convert-cli evaluate --config config.json --visitor v1 --attributes '{"plan":"pro"}' --explain"#,
    "convert-cli evaluate --config config.json --json < visitors.jsonl",
    "convert-cli split --config config.json --experience checkout --visitors 100000",
    "convert-cli diff config.json next.json --allow 5",
    "convert-cli diff config.json --old-order config",
    "convert-cli doctor",
    "convert-cli outbox list /var/lib/shop/outbox",
    "convert-cli outbox drain /var/lib/shop/outbox --timeout 300",
    "convert-cli completions bash > ~/.local/share/bash-completion/completions/convert-cli",
    "convert-cli manual | man -l -",
    "convert-cli manual outbox drain | man -l -",
];

/// Prints what a shell reads to complete the command.
pub(crate) fn completions(shell: Shell) -> Result<Verdict, Failure> {
    let mut command = Args::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name.as_str(), &mut script);
    if shell == Shell::Bash {
        // Where the program's name has a hyphen, clap_complete sets one state and looks for another.
        let script = String::from_utf8_lossy(&script);
        let looked_for = name.replace('-', "__subcmd__");
        return print(script.replace(&looked_for, &name.replace('-', "__")).as_bytes());
    }
    print(&script)
}

/// Prints the manual page of the whole, or of one command.
pub(crate) fn manual(path: &[String]) -> Result<Verdict, Failure> {
    let mut command = Args::command();
    command.build();
    for name in path {
        let found = command.find_subcommand(name).cloned();
        command =
            found.ok_or_else(|| Flaw::of("manual", format!("there is no command `{}`", path.join(" "))))?;
    }
    let mut page = Vec::new();
    write_page(command, &path.join(" "), &mut page).map_err(Failure::Output)?;
    print(&page)
}

fn write_page(command: clap::Command, path: &str, page: &mut Vec<u8>) -> io::Result<()> {
    let has_options = command.get_arguments().any(|argument| !argument.is_hide_set());
    let has_commands = command.has_subcommands();
    let usage = usage(&command);
    let man = Man::new(command.override_usage(usage))
        .source(concat!("convert-cli ", env!("CARGO_PKG_VERSION")))
        .manual("Convert SDK");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    if has_options {
        man.render_options_section(page)?;
    }
    if has_commands {
        man.render_subcommands_section(page)?;
    }
    let mut rest = Roff::default();
    rest.control("SH", ["EXIT STATUS"]);
    rest.control("nf", []);
    for line in EXIT_STATUS.lines() {
        rest.text([roman(line)]);
    }
    rest.control("fi", []);
    let examples: Vec<_> =
        EXAMPLES.iter().filter(|example| path.is_empty() || is_of(example, path)).collect();
    if !examples.is_empty() {
        rest.control("SH", ["EXAMPLES"]);
        rest.control("nf", []);
        for example in examples {
            rest.text([roman(*example)]);
        }
        rest.control("fi", []);
    }
    rest.control("SH", ["SEE ALSO"]);
    let whole = if path.is_empty() { String::new() } else { "convert-cli(1), ".to_owned() };
    rest.text([roman(format!("{whole}{}", env!("CARGO_PKG_REPOSITORY")))]);
    rest.to_writer(page)
}

/// Whether an example is of the command, or of one of its own.
fn is_of(example: &str, path: &str) -> bool {
    let rest = example.strip_prefix("convert-cli ").and_then(|words| words.strip_prefix(path));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// The synopsis with the values of options, in the order of --help.
fn usage(command: &clap::Command) -> String {
    let mut words = vec![command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned()];
    let (positional, options): (Vec<_>, Vec<_>) = command
        .get_arguments()
        .filter(|argument| {
            !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
        })
        .partition(|argument| argument.is_positional());
    for argument in options.into_iter().chain(positional) {
        let value = argument.get_value_names().unwrap_or_default().join(" ");
        let flag = argument.get_long().map(|long| format!("--{long}"));
        let takes_value = argument.get_action().takes_values();
        let mut word = flag.unwrap_or_default();
        if takes_value {
            word += if word.is_empty() { "" } else { " " };
            word += &value;
        }
        words.push(if argument.is_required_set() { word } else { format!("[{word}]") });
    }
    if command.has_subcommands() {
        words.push("COMMAND".to_owned());
    }
    words.join(" ")
}

fn print(text: &[u8]) -> Result<Verdict, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(Failure::Output)?;
    Ok(Verdict::Good)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn every_example_is_valid() {
        for example in EXAMPLES {
            let command = example.split(['|', '<', '>']).next().unwrap();
            let words = command.split_whitespace().map(|word| word.trim_matches('\''));
            assert!(Args::try_parse_from(words).is_ok(), "{example}");
        }
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Args::command().get_subcommands() {
            assert!(
                EXAMPLES.iter().any(|example| is_of(example, command.get_name())),
                "{}",
                command.get_name()
            );
        }
    }
}
