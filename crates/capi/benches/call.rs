//! The cost of a call through the shared library next to the same call in Rust: an evaluation by handle and a
//! conversion, alternating in one process, so that other load slows both, which fails above the bar; or one of them
//! `COUNT` times, for `scripts/capi cost` to count instructions.
#![expect(unsafe_code, reason = "calls of a library that is loaded at run time")]
#![expect(clippy::expect_used, reason = "a bench that cannot go on must fail where it stands")]

use std::ffi::{CString, c_void};
use std::hint::black_box;
use std::mem::{MaybeUninit, transmute_copy};
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use convert::{ConvertAttribute, ConvertConfig, ConvertExperience, ConvertKind, ConvertStatus, ConvertText};
use convert_sdk::delivery::DeliveryConfig;
use convert_sdk::pump::Pump;
use convert_sdk::{Context, Core, ExperienceHandle, GoalHandle, SdkConfig, attributes};

const SHOP: &str = include_str!("../../../examples/shop.json");
const ROUNDS: usize = 20_001;
/// Few enough that a round's records stay in the cache: the call is measured, not the memory.
const CALLS: usize = 64;
/// How many nanoseconds more a call through C may take.
const BAR: f64 = 15.0;
/// Enough for a round's records.
const QUEUE: usize = 16_384;

/// One side: the two calls, and the work between rounds.
trait Side {
    fn evaluate(&mut self);
    fn convert(&mut self);
    fn turn(&mut self);
}

struct InRust {
    context: Context,
    experience: ExperienceHandle,
    goal: GoalHandle,
    pump: Pump,
}

impl InRust {
    fn new() -> Self {
        let delivery = DeliveryConfig::builder().queue_capacity(QUEUE).build().expect("delivery");
        let config = SdkConfig::builder().data_json(SHOP).delivery(delivery).build().expect("a config");
        let (core, pump) = Core::builder(config).pumped().expect("a pump");
        pump.initialize().check().expect("direct data").expect("a config");
        Self {
            context: core.create_context("visitor-4", attributes! { "age" => 30 }).expect("a context"),
            experience: core.experience("checkout").expect("an experience"),
            goal: core.goal("purchase").expect("a goal"),
            pump,
        }
    }
}

impl Side for InRust {
    fn evaluate(&mut self) {
        let shown = black_box(&self.context).run_experience(black_box(&self.experience));
        black_box(shown.is_ok_and(|shown| black_box(shown).variation_key() == "one-page"));
    }

    fn convert(&mut self) {
        assert!(black_box(&self.context).track_conversion(black_box(&self.goal)).tracked());
    }

    fn turn(&mut self) {
        while self.pump.turn(Duration::from_secs(1)).work_left {}
    }
}

type Handle = *mut c_void;
type Run = unsafe extern "C" fn(Handle, Handle, *const c_void, *mut ConvertExperience) -> ConvertStatus;
type Track = unsafe extern "C" fn(Handle, Handle, *const c_void) -> ConvertStatus;
type Turn = unsafe extern "C" fn(Handle, u64, *mut c_void) -> ConvertStatus;

struct ThroughC {
    run: Run,
    track: Track,
    turn: Turn,
    context: Handle,
    experience: Handle,
    goal: Handle,
    pump: Handle,
    shown: ConvertExperience,
}

fn text(text: &str) -> ConvertText {
    ConvertText { data: text.as_ptr().cast(), length: text.len() }
}

impl ThroughC {
    fn new(library: &str) -> Self {
        let library = CString::new(library).expect("a path");
        // SAFETY: the library's initializers have no conditions.
        let library = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!library.is_null(), "the library cannot be loaded");
        /// # Safety
        /// `F` is the type of the function of this name.
        unsafe fn function<F>(library: *mut c_void, name: &str) -> F {
            let name = CString::new(name).expect("a name");
            // SAFETY: the library is open.
            let address = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!address.is_null(), "{name:?}");
            // SAFETY: a function pointer is an address; the caller guarantees its type.
            unsafe { transmute_copy(&address) }
        }
        // SAFETY: the functions are called as `convert.h` declares them; zeros are valid in the structs of options.
        unsafe {
            let mut config: ConvertConfig = MaybeUninit::zeroed().assume_init();
            (config.size, config.data_json) = (size_of::<ConvertConfig>(), text(SHOP));
            config.queue_capacity = QUEUE as u64;
            let [mut core, mut pump, mut question, mut context, mut experience, mut goal] = [null_mut(); 6];
            let new_pumped: unsafe extern "C" fn(
                *const ConvertConfig,
                *mut Handle,
                *mut Handle,
            ) -> ConvertStatus = function(library, "convert_core_new_pumped");
            assert_eq!(new_pumped(&raw const config, &raw mut core, &raw mut pump), ConvertStatus::Ok);
            let initialize: unsafe extern "C" fn(Handle, *mut Handle) -> ConvertStatus =
                function(library, "convert_pump_initialize");
            assert_eq!(initialize(pump, &raw mut question), ConvertStatus::Ok);
            let mut age: ConvertAttribute = MaybeUninit::zeroed().assume_init();
            (age.name, age.kind, age.number) = (text("age"), ConvertKind::Number as u32, 30.0);
            let new_context: unsafe extern "C" fn(
                Handle,
                ConvertText,
                *const ConvertAttribute,
                usize,
                *mut Handle,
            ) -> ConvertStatus = function(library, "convert_context_new");
            let made = new_context(core, text("visitor-4"), &raw const age, 1, &raw mut context);
            assert_eq!(made, ConvertStatus::Ok);
            type NewHandle = unsafe extern "C" fn(Handle, ConvertText, *mut Handle) -> ConvertStatus;
            let new_handle: NewHandle = function(library, "convert_experience_handle_new");
            assert_eq!(new_handle(core, text("checkout"), &raw mut experience), ConvertStatus::Ok);
            let new_handle: NewHandle = function(library, "convert_goal_handle_new");
            assert_eq!(new_handle(core, text("purchase"), &raw mut goal), ConvertStatus::Ok);
            let mut shown: ConvertExperience = MaybeUninit::zeroed().assume_init();
            shown.size = size_of::<ConvertExperience>();
            Self {
                run: function(library, "convert_context_run_experience_by_handle"),
                track: function(library, "convert_context_track_by_handle"),
                turn: function(library, "convert_pump_turn"),
                context,
                experience,
                goal,
                pump,
                shown,
            }
        }
    }
}

impl Side for ThroughC {
    fn evaluate(&mut self) {
        // SAFETY: the handles live as long as the process.
        let status = unsafe { (self.run)(self.context, self.experience, null(), &raw mut self.shown) };
        black_box(status == ConvertStatus::Ok && black_box(&self.shown).variation_key.length == 8);
    }

    fn convert(&mut self) {
        // SAFETY: as above.
        assert_eq!(unsafe { (self.track)(self.context, self.goal, null()) }, ConvertStatus::Ok);
    }

    fn turn(&mut self) {
        // SAFETY: as above.
        unsafe { (self.turn)(self.pump, 1_000_000, null_mut()) };
    }
}

/// Nanoseconds per call.
fn timed<S: Side>(side: &mut S, call: impl Fn(&mut S)) -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        call(side);
    }
    let each = start.elapsed().as_nanos() as f64 / CALLS as f64;
    side.turn();
    each
}

fn compare(
    name: &str,
    rust: &mut InRust,
    c: &mut ThroughC,
    in_rust: fn(&mut InRust),
    through_c: fn(&mut ThroughC),
) -> bool {
    let mut rounds: Vec<[f64; 2]> = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        // Alternating, so that neither is always second.
        rounds.push(if round % 2 == 0 {
            let first = timed(rust, in_rust);
            [first, timed(c, through_c)]
        } else {
            let first = timed(c, through_c);
            [timed(rust, in_rust), first]
        });
    }
    let middle = |of: fn(&[f64; 2]) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (first, second, more) = (middle(|it| it[0]), middle(|it| it[1]), middle(|it| it[1] - it[0]));
    println!("{name:<24} {first:>7.1} {second:>7.1} {more:>7.1}");
    more <= BAR
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let library = arguments.next().expect("usage: call LIBRARY [SIDE CALL COUNT]");
    let (mut c, mut rust) = (ThroughC::new(&library), InRust::new());
    rust.evaluate();
    c.evaluate();
    rust.turn();
    c.turn();
    let Some(side) = arguments.next() else {
        println!("{:<24} {:>7} {:>7} {:>7}", "nanoseconds", "Rust", "C", "more");
        let evaluates =
            compare("evaluation by handle", &mut rust, &mut c, InRust::evaluate, ThroughC::evaluate);
        let converts = compare("conversion by handle", &mut rust, &mut c, InRust::convert, ThroughC::convert);
        assert!(evaluates && converts, "a call takes {BAR} ns more through C");
        return;
    };
    let (call, count) = (arguments.next().expect("a call"), arguments.next().expect("a count"));
    for _ in 0..count.parse().expect("a count") {
        match (&*side, &*call) {
            ("rust", "evaluation") => rust.evaluate(),
            ("rust", _) => rust.convert(),
            (_, "evaluation") => c.evaluate(),
            _ => c.convert(),
        }
    }
    // Freeing the records is not part of the calls; the other side's core is not freed either.
    std::mem::forget(rust);
}
