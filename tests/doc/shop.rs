// A core over the shop of the examples: the set-up of doc tests, which include it as an expression.
{
    let config = convert_sdk::SdkConfig::builder().data_json(include_str!("../../examples/shop.json"));
    let core = convert_sdk::Core::new(config.build().expect("the settings are valid"));
    core.initialize().expect("the shop is a config");
    core
}
