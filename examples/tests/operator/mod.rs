//! What an operator says of a program that runs: flags, and variables of its environment.

use std::ffi::OsString;
use std::process::Output;

use micro::registry::Registry as _;
use tokio::time::timeout;

use super::{PATIENCE, Scenario, command, native};

/// Each program that reads its flags, with the name of its service.
fn programs() -> [(&'static str, OsString); 2] {
    [
        ("clock", env!("CARGO_BIN_EXE_settings-service").into()),
        ("shop", native::program("middleware-service").into()),
    ]
}

/// How a program ended that was told something that ends it.
async fn ended(program: &OsString, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(program, &folder);
    let output = command.args(arguments).envs(variables.iter().copied()).output();
    timeout(PATIENCE, output).await.expect("it ends in time").expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn help_and_the_version_are_printed_and_end_the_program_well() {
    for (name, program) in programs() {
        let help = ended(&program, &["--help"], &[]).await;
        assert_eq!(help.status.code(), Some(0), "{help:?}");
        let (printed, complained) = (text(&help.stdout), text(&help.stderr));
        assert!(printed.starts_with(&format!("Usage: {name} [FLAGS]\n")), "{printed}");
        assert!(printed.contains("  --address HOST:PORT\n") && complained.is_empty(), "{help:?}");
        let version = ended(&program, &["--version"], &[]).await;
        assert_eq!(
            (version.status.code(), text(&version.stdout)),
            (Some(0), format!("{name} 1.2\n"))
        );
    }
}

#[tokio::test]
async fn what_an_operator_says_wrongly_ends_the_program_with_what_was_meant() {
    for (_, program) in programs() {
        for (arguments, variables, says) in [
            (&["--adress=:80"][..], &[][..], "unknown flag \"--adress\": did you mean --address?"),
            (&["--grace", "soon"], &[], "--grace: \"soon\" is no duration"),
            (&[], &[("MICRO_SERVER_GRACE", "soon")], "MICRO_SERVER_GRACE: \"soon\" is no duration"),
            (&[], &[("MICRO_SETTINGS", "/nowhere")], "/nowhere: the settings cannot be read"),
        ] {
            let output = ended(&program, arguments, variables).await;
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(text(&output.stderr).contains(says) && output.stdout.is_empty(), "{output:?}");
        }
    }
}

#[tokio::test]
async fn a_flag_comes_before_a_variable_before_what_the_program_says() {
    for (name, program) in programs() {
        for (arguments, variables, version) in [
            (&["--server-version=f"][..], &[("MICRO_SERVER_VERSION", "v")][..], "f"),
            (&[], &[("MICRO_SERVER_VERSION", "v")], "v"),
            (&["--", "--server-version=f"], &[], "1.2"),
        ] {
            let scenario = Scenario::told(name, &program, arguments, variables).await;
            let found = scenario.registry().get(name).await.expect("the service");
            assert_eq!(found[0].version, version, "{arguments:?} {variables:?}");
            scenario.stop().await;
        }
    }
}

#[tokio::test]
async fn a_start_says_one_line_unless_it_is_quiet() {
    for (name, program) in programs() {
        let mut scenario = Scenario::told(name, &program, &[], &[]).await;
        let found = scenario.registry().get(name).await.expect("the service");
        let address = &found[0].nodes[0].address;
        let line = format!("{name} 1.2 serves at {address} and registers with local\n");
        let said = scenario.line().await;
        assert!(said.ends_with(&line), "{said}");
        assert_eq!(scenario.stopped().await, "");
        let mut quiet = Scenario::told(name, &program, &["--quiet"], &[]).await;
        let said = quiet.stopped().await;
        assert!(!said.contains("serves at"), "{said}");
    }
}

#[tokio::test]
async fn a_main_that_fails_prints_a_sentence_and_what_to_do() {
    let program = env!("CARGO_BIN_EXE_settings-service").into();
    let output = ended(&program, &["--address=8080"], &[]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    assert!(
        said.starts_with("Error: UNAVAILABLE: cannot listen on 8080") && said.contains("`:8080`"),
        "{said}"
    );
    assert!(!said.contains('{'), "{said}");
}
