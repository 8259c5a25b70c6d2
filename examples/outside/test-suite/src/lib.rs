//! Code that decides, and its tests, which need no network.

use convert_sdk::{Core, attributes};

/// The price that a visitor is shown, in cents.
pub fn price(core: &Core, visitor: &str, age: u32) -> u32 {
    let Ok(visitor) = core.create_context(visitor, attributes! { "age" => age }) else { return 1_000 };
    visitor.track_conversion("price-seen");
    match visitor.run_experience("pricing").map_or("full", |it| it.variation_key()) {
        "reduced" => 800,
        _ => 1_000,
    }
}

#[cfg(test)]
mod tests {
    use convert_sdk::testing::{Rule, TestCore, TestData, TestExperience};

    fn shop() -> TestCore {
        let pricing =
            TestExperience::new("pricing").audience("students").variation("full").variation("reduced");
        let data = TestData::new().audience("students", Rule::less("age", 27)).experience(pricing);
        data.goal("price-seen").start().unwrap()
    }

    #[test]
    fn a_student_can_get_the_reduced_price() {
        let shop = shop();
        shop.force_for("ann", "pricing", "reduced").unwrap();
        assert_eq!(super::price(&shop, "ann", 20), 800);
        assert_eq!(shop.conversions_of("ann"), ["price-seen"]);
        assert_eq!(shop.exposures_of("ann"), [("pricing", "reduced")]);
    }

    #[test]
    fn others_pay_the_full_price() {
        assert_eq!(super::price(&shop(), "bob", 40), 1_000);
    }
}
