//! The README's program is the example, which the tests of `convert-runtimes` start and ask.

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let (readme, example) = (include_str!("../../README.md"), include_str!("../../examples/quickstart.rs"));
    let program = example.split_once("\n\n").unwrap().1;
    assert!(readme.contains(&format!("```rust,no_run\n{program}```")), "README.md and the example differ");
}
