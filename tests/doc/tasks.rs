// Runs an asynchronous example on a core over the shop: doc tests include it, like `shop.rs`, as an expression.
{
    struct Shop;
    impl Shop {
        // A method, because a closure passed to a function value would need the type of its argument.
        fn run(self, example: impl AsyncFnOnce(convert_sdk::AsyncCore) -> Result<(), Box<dyn std::error::Error>>) {
            let core = include!("shop.rs").to_async();
            futures_executor::block_on(example(core)).expect("the example succeeds");
        }
    }
    Shop
}
