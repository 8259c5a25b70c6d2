// A core over a small project: the set-up of doc tests, which include it as an expression.
{
    let config = convert_sdk::SdkConfig::builder().data_json(include_str!("../it/small.json"));
    let core = convert_sdk::Core::new(config.build().expect("the settings are valid"));
    core.initialize().expect("it is a config");
    core
}
