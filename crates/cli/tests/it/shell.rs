//! Completions and manual pages.

use std::process::Command;

use crate::program::{File, cli};

#[test]
fn every_shell_completes_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = cli(&["completions", shell], b"");
        assert_eq!(script.code, 0);
        for name in ["convert-cli", "evaluate", "split", "diff", "doctor", "outbox"] {
            assert!(script.stdout.contains(name), "{shell}: {name}");
        }
    }
}

/// The words that bash offers after these, of which the last is not complete.
fn completed(words: &str) -> Vec<String> {
    let script = File::new("completions.bash", cli(&["completions", "bash"], b"").stdout.as_bytes());
    let ask = format!(
        "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         _convert__cli convert-cli \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.path()
    );
    let output = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

#[cfg(unix)]
#[test]
fn bash_completes_what_follows_a_command() {
    for (words, offered) in [
        ("convert-cli di", "diff"),
        ("convert-cli diff --al", "--allow"),
        ("convert-cli outbox dr", "drain"),
        ("convert-cli outbox drain --track", "--track-url"),
        ("convert-cli diff --old-order con", "config"),
    ] {
        assert_eq!(completed(words), [offered], "{words}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let whole = cli(&["manual"], b"");
    assert!(whole.stdout.contains(".TH convert-cli 1"), "{}", whole.stdout);
    for name in ["evaluate", "split", "diff", "doctor", "outbox", "completions", "manual"] {
        assert!(whole.stdout.contains(&format!("convert\\-cli\\-{name}(1)")), "{name}");
        let page = cli(&["manual", name], b"");
        assert!(page.stdout.contains(&format!(".TH convert-cli-{name} 1")), "{}", page.stdout);
        for section in ["SYNOPSIS", "OPTIONS", "\"EXIT STATUS\"", "EXAMPLES", "\"SEE ALSO\""] {
            assert!(page.stdout.contains(&format!(".SH {section}\n")), "{name}: {section}\n{}", page.stdout);
        }
    }
    let drain = cli(&["manual", "outbox", "drain"], b"").stdout;
    assert!(drain.contains("[\\-\\-track\\-url URL]"), "{drain}");
    assert_eq!(cli(&["manual", "nope"], b"").code, 2);
}
