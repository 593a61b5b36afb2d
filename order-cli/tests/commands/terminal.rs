//! What somebody sees at a terminal: completions as the shells make them, tables of any width,
//! progress, and colours; and none of that in a pipe.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::shell::{cli, command, product, row, rows};

/// The columns of a terminal, in characters.
const NARROW: usize = 80;
const WIDE: usize = 200;

/// Runs a program in a terminal, and presses keys when it shows `prompt`. Returns what it shows.
fn shown_by(program: &Command, columns: usize, prompt: &str, keys: &str) -> String {
    let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shell/terminal.py");
    let mut terminal = Command::new("python3");
    terminal.arg(helper).arg(columns.to_string());
    terminal.args([prompt, keys]).arg(program.get_program());
    terminal.args(program.get_args()).env_remove("NO_COLOR");
    terminal.current_dir(program.get_current_dir().unwrap());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    let output = terminal.output();
    let output =
        output.unwrap_or_else(|error| panic!("python3: {error}; scripts/test installs it"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn at_terminal(dir: &Path, columns: usize, arguments: &[&str]) -> String {
    shown_by(&command(dir, arguments), columns, "", "")
}

/// A folder with `order-cli` as the first of its name.
fn programs(dir: &Path) -> String {
    let folder = dir.join("bin");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_order-cli"), folder.join("order-cli")).unwrap();
    let others = std::env::var("PATH").unwrap();
    format!("{}:{others}", folder.display())
}

fn script(dir: &Path, shell: &str, name: &str) -> PathBuf {
    let output = cli(dir, &["completions", shell]);
    assert!(output.status.success(), "{output:?}");
    let path = dir.join(name);
    fs::write(&path, output.stdout).unwrap();
    path
}

/// The lines that are tried in each shell, and some of what has to be offered.
const TRIED: [(&str, &[&str]); 6] = [
    ("", &["product", "verify"]),
    ("product ", &["import", "update"]),
    ("-o json queue re", &["redrive", "resume"]),
    ("product list --s", &["--search", "--since"]),
    ("order list --status ", &["pending", "held", "completed"]),
    ("key create --scope ", &["orders", "operate", "admin"]),
];

fn check_completions(shell: &str, offered: impl Fn(&str) -> String) {
    for (line, expected) in TRIED {
        let offered = offered(line);
        for one in expected {
            assert!(
                offered.contains(one),
                "{shell} offers no {one} after {line:?}: {offered}"
            );
        }
    }
}

#[test]
fn bash_completes_below_the_first_word() {
    let dir = tempfile::tempdir().unwrap();
    let script = script(dir.path(), "bash", "script.bash");
    check_completions("bash", |line| {
        // As bash calls it when the key is pressed.
        let ask = r#"source "$0"
            complete -p order-cli >&2
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            function=$(complete -p order-cli | sed 's/.* -F \([^ ]*\) .*/\1/')
            "$function" order-cli "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[@]}""#;
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", ask])
            .arg(&script)
            .arg("order-cli");
        let output = bash.args(line.split(' ')).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    });
}

#[test]
fn fish_completes_below_the_first_word() {
    let dir = tempfile::tempdir().unwrap();
    let script = script(dir.path(), "fish", "script.fish");
    let path = programs(dir.path());
    check_completions("fish", |line| {
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", "source $argv[1]; complete -C $argv[2]"]);
        fish.arg(&script).arg(format!("order-cli {line}"));
        fish.env("PATH", &path).env("HOME", dir.path());
        let output = fish
            .output()
            .expect("fish is needed: scripts/test installs it");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    });
}

#[test]
fn zsh_completes_below_the_first_word() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    script(dir, "zsh", "_order-cli");
    let rc = "fpath=($ZDOTDIR $fpath); autoload -U compinit; compinit -u -D; PS1='READY '\n";
    fs::write(dir.join(".zshrc"), rc).unwrap();
    let path = programs(dir);
    let mut zsh = Command::new("zsh");
    zsh.args(["-d", "-i"]).current_dir(dir);
    zsh.env("ZDOTDIR", dir).env("PATH", &path);
    check_completions("zsh", |line| {
        // Control and D lists what may follow, control and U takes the line back.
        let keys = format!("order-cli {line}\u{4}\u{15}exit\n");
        let shown = shown_by(&zsh, WIDE, "READY ", &keys);
        assert!(
            shown.contains("READY "),
            "zsh is needed: scripts/test installs it\n{shown}"
        );
        shown
    });
}

/// The longest line, in characters.
fn width(shown: &str) -> usize {
    shown
        .lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap()
}

#[test]
fn tables_fit_the_terminal_and_break_no_id() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let line = format!("{}:1", product(dir, "5"));
    let note = "a note that has no room beside all the rest";
    let buy = ["order", "purchase", "--line", &line, "--reference", note];
    let order = row(dir, &[&buy[..], &["--customer", "ada"]].concat());
    let order = order["id"].as_str().unwrap();
    for list in [
        &["order", "list"][..],
        &["product", "list"],
        &["order", "get", order],
    ] {
        let ids: Vec<String> = rows(dir, list)
            .iter()
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect();
        for columns in [NARROW, WIDE] {
            let shown = at_terminal(dir, columns, list);
            assert!(width(&shown) <= columns, "{list:?} at {columns}:\n{shown}");
            assert!(shown.contains(&ids[0]), "{list:?} at {columns}:\n{shown}");
        }
    }
    let wide = at_terminal(dir, WIDE, &["order", "list"]);
    let is_one_row = |line: &str| line.contains(order) && line.contains("success");
    assert!(wide.lines().any(is_one_row), "{wide}");
    let narrow = at_terminal(dir, NARROW, &["order", "list"]);
    assert!(!narrow.lines().any(is_one_row), "{narrow}");
}

#[test]
fn a_terminal_shows_progress_and_a_pipe_none() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let id = product(dir, "5");
    let file: String = (0..6_000)
        .map(|n| format!("S-{n},Lamp {n},1.00,1\n"))
        .collect();
    fs::write(dir.join("all.csv"), format!("sku,name,price,stock\n{file}")).unwrap();
    let bulk = ["order", "bulk", "--product", &id, "--count", "6000"];
    for (work, counted) in [
        (&bulk[..], "of 6,000 orders"),
        (&["product", "import", "all.csv"], " products"),
        (&["verify"], " orders"),
    ] {
        let shown = at_terminal(dir, NARROW, work);
        assert!(
            shown.contains('█') || shown.contains("░"),
            "{work:?}: {shown}"
        );
        assert!(shown.contains(counted), "{work:?}: {shown}");
        assert!(
            shown.contains('┌'),
            "{work:?} has no table at its end: {shown}"
        );
        let piped = cli(dir, work);
        assert!(piped.status.success(), "{piped:?}");
        let told = String::from_utf8(piped.stderr).unwrap();
        assert!(
            !told.contains('\u{1b}') && !told.contains(" of "),
            "{work:?}: {told}"
        );
        assert!(piped.stdout.starts_with(b"{"), "{work:?}");
    }
}

#[test]
fn colours_are_for_terminals() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    product(dir, "5");
    for work in [&["nonsense"][..], &["worker", "run", "--drain"]] {
        let mut told = command(dir, work);
        told.env("RUST_LOG", "debug");
        let shown = shown_by(&told, NARROW, "", "");
        assert!(shown.contains("\u{1b}["), "{work:?}: {shown}");
        let plain = shown_by(told.env("NO_COLOR", "1"), NARROW, "", "");
        assert!(!plain.contains("\u{1b}["), "{work:?}: {plain}");
        let piped = told.env_remove("NO_COLOR").output().unwrap();
        let piped = [piped.stdout, piped.stderr].concat();
        assert!(
            !piped.contains(&0x1b),
            "{work:?}: {}",
            String::from_utf8_lossy(&piped)
        );
    }
}
