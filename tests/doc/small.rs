// A core over a small project, for doc tests, which include it like `shop.rs`.
{
    let config = convert_sdk::SdkConfig::builder().data_json(include_str!("../it/small.json")).offline();
    let core = convert_sdk::Core::new(config.build().expect("the settings are valid"));
    core.initialize().expect("it is a config");
    core
}
