// A core over the shop of the examples: the set-up of doc tests, which include it as an expression. They must name it
// by an absolute path (`CARGO_MANIFEST_DIR`): a single relative path makes rustdoc compile every doc test on its own,
// ten times as slowly.
{
    let config = convert_sdk::SdkConfig::builder().data_json(include_str!("../../examples/shop.json")).offline();
    let core = convert_sdk::Core::new(config.build().expect("the settings are valid"));
    core.initialize().expect("the shop is a config");
    core
}
