// A pumped core through the C++ header: no thread, the requests carried by this program, and the ledger at the end.
#include "convert.h" // first, as another header may
#include "convert.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

static int failures = 0;

#define CHECK(condition)                                                                              \
    do {                                                                                              \
        if (!(condition)) {                                                                           \
            std::fprintf(stderr, "%s:%d: %s (last error: %s)\n", __FILE__, __LINE__, #condition,      \
                         std::string(convert::last_error()).c_str());                                 \
            failures++;                                                                               \
        }                                                                                             \
    } while (0)

static long threads()
{
    std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
}

// A core whose direct data needs no request, ready after a turn.
static std::optional<convert::PumpedCore> ready_core(const std::string &served)
{
    auto config = convert::config();
    config.sdk_key = convert::text("10035569/10034190");
    config.data_json = convert::text(served);
    config.for_game_loop = 1;
    auto made = convert::PumpedCore::make(config);
    CHECK(made);
    convert::Question ready = made->pump.initialize();
    ConvertStatus status = ready.check();
    for (int turn = 0; status == CONVERT_STATUS_PENDING && turn < 1000; turn++) {
        CHECK(made->pump.turn(1000));
        status = ready.check();
    }
    CHECK(status == CONVERT_STATUS_OK);
    return std::move(*made);
}

static uint64_t recorded(const convert::PumpedCore &sdk)
{
    ConvertStats stats{};
    stats.size = sizeof stats;
    CHECK(convert_core_stats(sdk.core.get(), &stats) == CONVERT_STATUS_OK);
    return stats.recorded;
}

static void turn_until(convert::PumpedCore &sdk, const int &calls, int wanted)
{
    for (int turn = 0; calls < wanted && turn < 1000; turn++) {
        CHECK(sdk.pump.turn(0));
    }
    CHECK(calls == wanted);
}

static void a_wrong_result_changes_nothing(const std::string &served)
{
    auto sdk = *ready_core(served);
    const std::vector<ConvertAttribute> adult = {convert::attribute_number("age", 30)};
    auto player = convert::Context::make(sdk.core, "visitor-4", adult);
    CHECK(player);
    ConvertExperience shown{};
    ConvertFeature form{};
    const auto checkout = convert::make_experience_handle({}, "checkout");
    const auto feature = convert::make_feature_handle({}, "checkout-form");
    const auto key = convert::text("checkout"), form_key = convert::text("checkout-form");
    auto *context = player->get();
    CHECK(convert_context_run_experience(context, key, nullptr, &shown) == CONVERT_STATUS_INVALID_ARGUMENT);
    CHECK(convert_context_run_experience(context, key, nullptr, nullptr) == CONVERT_STATUS_NULL_POINTER);
    CHECK(convert_context_run_experience_by_handle(context, checkout->get(), nullptr, &shown) == CONVERT_STATUS_INVALID_ARGUMENT);
    CHECK(convert_context_run_feature(context, form_key, nullptr, &form) == CONVERT_STATUS_INVALID_ARGUMENT);
    CHECK(convert_context_run_feature(context, form_key, nullptr, nullptr) == CONVERT_STATUS_NULL_POINTER);
    CHECK(convert_context_run_feature_by_handle(context, feature->get(), nullptr, &form) == CONVERT_STATUS_INVALID_ARGUMENT);
    CHECK(convert_context_run_experiences(context, nullptr, nullptr) == CONVERT_STATUS_NULL_POINTER);
    CHECK(convert_context_run_features(context, nullptr, nullptr) == CONVERT_STATUS_NULL_POINTER);
    CHECK(sdk.pump.turn(100000) && recorded(sdk) == 0);
    const auto decided = player->run_experience(*checkout);
    CHECK(decided && decided->source == CONVERT_SOURCE_HASHED);
    CHECK(sdk.pump.turn(100000) && recorded(sdk) == 1);

    // Nor does it take an answer, close a core or take a turn.
    ConvertPumpReport turn{};
    CHECK(convert_pump_turn(sdk.pump.get(), 100, &turn) == CONVERT_STATUS_INVALID_ARGUMENT);
    ConvertStats stats{};
    CHECK(convert_core_close(sdk.core.get(), &stats) == CONVERT_STATUS_INVALID_ARGUMENT);
    CHECK(player->track("purchase") == CONVERT_STATUS_OK);
    convert::Question over = sdk.pump.close();
    ConvertFlushReport report{};
    ConvertStatus status = CONVERT_STATUS_PENDING;
    for (int turns = 0; status == CONVERT_STATUS_PENDING && turns < 1000; turns++) {
        CHECK(sdk.pump.turn(1000));
        CHECK(over.check(&report) == CONVERT_STATUS_INVALID_ARGUMENT);
        status = over.check();
    }
    CHECK(status == CONVERT_STATUS_OK && over.check() == CONVERT_STATUS_PENDING);
    stats.size = sizeof stats;
    CHECK(convert_core_stats(sdk.core.get(), &stats) == CONVERT_STATUS_OK);
    CHECK(stats.recorded == 2 && stats.dropped == 2 && stats.pending == 0);
}

static void both_handles_are_null_if_one_is_not_wanted(const std::string &served)
{
    auto config = convert::config();
    config.data_json = convert::text(served);
    ConvertCore *core = reinterpret_cast<ConvertCore *>(&failures);
    ConvertPump *pump = reinterpret_cast<ConvertPump *>(&failures);
    CHECK(convert_core_new_pumped(&config, &core, nullptr) == CONVERT_STATUS_NULL_POINTER && core == nullptr);
    CHECK(convert_core_new_pumped(&config, nullptr, &pump) == CONVERT_STATUS_NULL_POINTER && pump == nullptr);
}

// What a callback of the pump's own turn does with the pump.
struct Meddler {
    ConvertPump *pump;
    ConvertQuestion *question;
    int calls = 0;

    static void asks_for_everything(void *user, ConvertEventKind, ConvertText)
    {
        auto &self = *static_cast<Meddler *>(user);
        ConvertRequest *request = nullptr;
        ConvertQuestion *question = nullptr;
        self.calls++;
        CHECK(convert_pump_turn(self.pump, 1000, nullptr) == CONVERT_STATUS_BUSY);
        CHECK(convert_last_status() == CONVERT_STATUS_BUSY && convert_last_error().length > 0);
        CHECK(convert_pump_next_request(self.pump, &request) == CONVERT_STATUS_BUSY && request == nullptr);
        CHECK(convert_pump_answer(self.pump, 1, 200, nullptr, 0, convert::text("")) == CONVERT_STATUS_BUSY);
        CHECK(convert_pump_fail(self.pump, 1, 1) == CONVERT_STATUS_BUSY);
        CHECK(convert_pump_initialize(self.pump, &question) == CONVERT_STATUS_BUSY && question == nullptr);
        CHECK(convert_pump_refresh(self.pump, 1000, &question) == CONVERT_STATUS_BUSY && question == nullptr);
        CHECK(convert_pump_flush(self.pump, 1000, 0, &question) == CONVERT_STATUS_BUSY && question == nullptr);
        CHECK(convert_pump_shutdown(self.pump, 1000, &question) == CONVERT_STATUS_BUSY && question == nullptr);
        CHECK(convert_pump_close(self.pump, &question) == CONVERT_STATUS_BUSY && question == nullptr);
        if (self.question != nullptr) {
            CHECK(convert_question_check(self.question, nullptr) == CONVERT_STATUS_PENDING);
            convert_question_free(self.question);
            self.question = nullptr;
        }
    }

    static void frees(void *user, ConvertEventKind, ConvertText)
    {
        auto &self = *static_cast<Meddler *>(user);
        self.calls++;
        convert_pump_free(self.pump);
    }

    static void turns_another(void *user, ConvertEventKind, ConvertText)
    {
        auto &self = *static_cast<Meddler *>(user);
        self.calls++;
        CHECK(convert_pump_turn(self.pump, 1000, nullptr) == CONVERT_STATUS_OK);
    }
};

static void a_callback_finds_its_own_pump_busy(const std::string &served)
{
    auto sdk = *ready_core(served);
    Meddler meddler{sdk.pump.get(), nullptr};
    CHECK(convert_core_on(sdk.core.get(), CONVERT_EVENT_KIND_CONVERSION, Meddler::asks_for_everything, &meddler, nullptr) ==
          CONVERT_STATUS_OK);
    auto player = convert::Context::make(sdk.core, "visitor-4");
    CHECK(player && player->track("purchase") == CONVERT_STATUS_OK);
    CHECK(convert_pump_flush(sdk.pump.get(), 60000, 0, &meddler.question) == CONVERT_STATUS_OK);
    turn_until(sdk, meddler.calls, 1);

    // Its turn is over; the next one calls again, and one that calls another core's pump may do so.
    auto other = *ready_core(served);
    Meddler outer{sdk.pump.get(), nullptr};
    CHECK(convert_core_on(other.core.get(), CONVERT_EVENT_KIND_CONVERSION, Meddler::turns_another, &outer, nullptr) ==
          CONVERT_STATUS_OK);
    auto visitor = convert::Context::make(other.core, "visitor-4");
    CHECK(visitor && visitor->track("purchase") == CONVERT_STATUS_OK);
    CHECK(convert::Context::make(sdk.core, "visitor-5")->track("purchase") == CONVERT_STATUS_OK);
    turn_until(other, outer.calls, 1);
    turn_until(sdk, meddler.calls, 2);
}

static void a_callback_may_free_its_own_pump(const std::string &served)
{
    auto sdk = *ready_core(served);
    auto subscription = convert::Subscription::make(sdk.core);
    Meddler meddler{sdk.pump.release(), nullptr};
    CHECK(convert_core_on(sdk.core.get(), CONVERT_EVENT_KIND_CONVERSION, Meddler::frees, &meddler, nullptr) == CONVERT_STATUS_OK);
    auto player = convert::Context::make(sdk.core, "visitor-4");
    CHECK(player && player->track("purchase") == CONVERT_STATUS_OK);
    CHECK(convert_pump_turn(meddler.pump, 1000000, nullptr) == CONVERT_STATUS_OK && meddler.calls == 1);
    CHECK(player->track("purchase") == CONVERT_STATUS_CLOSED);
    const auto event = subscription->next();
    CHECK(event && event->kind == CONVERT_EVENT_KIND_CONVERSION);
    CHECK(event && convert::view(convert_string_text(event->json.get())).find("purchase") != std::string_view::npos);
}

static void an_answer_stands_whatever_its_headers(const std::string &served)
{
    auto sdk = *ready_core(served);
    auto player = convert::Context::make(sdk.core, "visitor-4");
    CHECK(player && player->track("purchase") == CONVERT_STATUS_OK);
    convert::Question flushed = sdk.pump.flush(60000);
    int answers = 0;
    ConvertStatus status;
    for (int turns = 0; (status = flushed.check()) == CONVERT_STATUS_PENDING && turns < 1000; turns++) {
        CHECK(sdk.pump.turn(1000));
        while (auto request = sdk.pump.next_request()) {
            const std::vector<ConvertHeader> headers = {{convert::text("x-\xff"), convert::text("1")},
                                                        {convert::text("x-1"), convert::text("\xff")}};
            // A missing request has no id, and answers to it are for none.
            CHECK(sdk.pump.answer(convert_request_id(nullptr), 200, "{}") == CONVERT_STATUS_NOTHING && request->id() > 0);
            CHECK(sdk.pump.answer(request->id(), 200, request->method() == "GET" ? served : "{}", headers) ==
                  CONVERT_STATUS_OK);
            answers++;
        }
    }
    CHECK(status == CONVERT_STATUS_OK && answers > 0);
}

static void a_shutdown_says_what_it_has_lost(const std::string &served)
{
    auto sdk = *ready_core(served);
    auto player = convert::Context::make(sdk.core, "visitor-4");
    CHECK(player && player->track("purchase") == CONVERT_STATUS_OK);
    convert::Question over = sdk.pump.shutdown(200);
    ConvertFlushReport report{};
    report.size = sizeof report;
    ConvertStatus status;
    while ((status = over.check(&report)) == CONVERT_STATUS_PENDING) {
        CHECK(sdk.pump.turn(1000));
        while (sdk.pump.next_request()) { // which nobody answers
        }
    }
    CHECK(status == CONVERT_STATUS_TIMEOUT);
    // Dropped, unless the turns came too late for that.
    CHECK(report.delivered == 0 && report.dropped + report.pending == 1);
}

// How often each of two visitors is in what is posted until a question is answered.
static std::pair<int, int> posted(convert::PumpedCore &sdk, convert::Question &question, const std::string &served)
{
    std::pair<int, int> found;
    const auto times = [](std::string_view body, std::string_view part) {
        int count = 0;
        for (size_t at = 0; (at = body.find(part, at)) != std::string_view::npos; at++) {
            count++;
        }
        return count;
    };
    ConvertStatus status;
    for (int turns = 0; (status = question.check()) == CONVERT_STATUS_PENDING && turns < 100000; turns++) {
        CHECK(sdk.pump.turn(1000));
        while (auto request = sdk.pump.next_request()) {
            found.first += times(request->body(), "of-the-parent");
            found.second += times(request->body(), "of-the-child");
            CHECK(sdk.pump.answer(request->id(), 200, request->method() == "GET" ? served : "{}") == CONVERT_STATUS_OK);
        }
    }
    CHECK(status == CONVERT_STATUS_OK);
    return found;
}

static void a_forked_child_sends_its_own_records_alone(const std::string &served)
{
    auto sdk = *ready_core(served);
    CHECK(convert::Context::make(sdk.core, "of-the-parent")->track("purchase") == CONVERT_STATUS_OK);
    convert::Question asked = sdk.pump.flush(60000);
    const int before = failures;
    const pid_t child = fork();
    if (child == 0) {
        CHECK(convert_core_is_ready(sdk.core.get()) && recorded(sdk) == 0);
        CHECK(convert::Context::make(sdk.core, "of-the-child")->track("purchase") == CONVERT_STATUS_OK);
        convert::Question own = sdk.pump.flush(60000);
        CHECK(posted(sdk, own, served) == std::make_pair(0, 1));
        CHECK(asked.check() == CONVERT_STATUS_PENDING && threads() == 1);
        // A child forgets the parent's turns without freeing them, which valgrind must not take for a leak.
        const char *verdict = failures == before ? "true" : "false";
        execlp(verdict, verdict, nullptr);
        _exit(2);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(posted(sdk, asked, served) == std::make_pair(1, 0));
}

// The application's own check of a config.
struct Check {
    ConvertPump *pump = nullptr;
    int asked = 0, released = 0;
    uint32_t verdict = 0;

    static uint32_t accepts(void *user, ConvertText config, ConvertText changes, uint32_t keeps_two_thirds)
    {
        auto &self = *static_cast<Check *>(user);
        self.asked++;
        CHECK(convert::view(config).find("checkout") != std::string_view::npos && keeps_two_thirds != 0);
        CHECK(convert::view(changes).find("\"experiences\":{\"added\":") != std::string_view::npos);
        CHECK(convert_pump_turn(self.pump, 1000, nullptr) == CONVERT_STATUS_BUSY);
        return self.verdict;
    }

    static void releases(void *user) { static_cast<Check *>(user)->released++; }
};

static ConvertStatus initialize(convert::PumpedCore &sdk, const std::string &served)
{
    convert::Question ready = sdk.pump.initialize();
    ConvertStatus status;
    for (int turns = 0; (status = ready.check()) == CONVERT_STATUS_PENDING && turns < 100000; turns++) {
        CHECK(sdk.pump.turn(200));
        while (auto request = sdk.pump.next_request()) {
            CHECK(sdk.pump.answer(request->id(), 200, served) == CONVERT_STATUS_OK);
        }
    }
    return status;
}

static bool tells_of(convert::PumpedCore &sdk, convert::Subscription &events, ConvertEventKind wanted)
{
    for (int turns = 0; turns < 10000000; turns++) {
        while (const auto event = events.next()) {
            if (event->kind == wanted) {
                return true;
            }
        }
        CHECK(sdk.pump.turn(0));
    }
    return false;
}

static void a_config_is_checked_and_withdrawn_when_stale(const std::string &served)
{
    Check check;
    auto config = convert::config();
    config.sdk_key = convert::text("10035569/10034190");
    config.for_game_loop = 1;
    config.max_stale = 1;
    config.withdraw_when_stale = 1;
    config.accept_config = Check::accepts;
    config.accept_user = &check;
    config.accept_release = Check::releases;
    config.config_cache = convert::text("cache");
    CHECK(convert::PumpedCore::make(config).status() == CONVERT_STATUS_UNSUPPORTED && check.released == 0);
    config.config_cache = {nullptr, 0};
    {
        auto sdk = convert::PumpedCore::make(config);
        CHECK(sdk);
        check.pump = sdk->pump.get();
        auto events = convert::Subscription::make(sdk->core);
        CHECK(events && initialize(*sdk, served) == CONVERT_STATUS_CONFIG_NOT_ACCEPTED && check.asked == 1);
        CHECK(tells_of(*sdk, *events, CONVERT_EVENT_KIND_CONFIG_NOT_ACCEPTED));
        check.verdict = 1;
        CHECK(initialize(*sdk, served) == CONVERT_STATUS_OK && check.asked == 2);
        CHECK(tells_of(*sdk, *events, CONVERT_EVENT_KIND_CONFIG_STALE));
        auto player = convert::Context::make(sdk->core, "visitor-4", {convert_attribute_number("age", 30)});
        CHECK(player && player->run_experience("checkout").status() == CONVERT_STATUS_WITHDRAWN);
        CHECK(player && player->run_feature("checkout-form").status() == CONVERT_STATUS_WITHDRAWN);
        CHECK(check.released == 0);
    }
    CHECK(check.released == 1);
}

int main(int count, char **arguments)
{
    if (count != 2) {
        std::fprintf(stderr, "usage: pumped CONFIG\n");
        return 2;
    }
    std::ifstream file(arguments[1]);
    const std::string served{std::istreambuf_iterator<char>(file), {}};

    auto config = convert::config();
    config.sdk_key = convert::text("10035569/10034190");
    config.for_game_loop = 1;
    config.config_cache = convert::text("cache"); // a loop must not wait for a file
    CHECK(convert::PumpedCore::make(config).status() == CONVERT_STATUS_UNSUPPORTED);
    config.config_cache = {nullptr, 0};
    auto made = convert::PumpedCore::make(config);
    CHECK(made);
    convert::PumpedCore &sdk = *made;
    CHECK(convert_core_initialize(sdk.core.get(), 0) == CONVERT_STATUS_WOULD_BLOCK);
    CHECK(convert_core_flush_at_exit(sdk.core.get(), 1000) == CONVERT_STATUS_UNSUPPORTED);
    CHECK(convert::last_error().find("pump") != std::string_view::npos);
    CHECK(convert::make_goal_handle(sdk.core, "purchase").status() == CONVERT_STATUS_NOT_READY);

    // One frame: a turn with a budget, and the answers to its requests.
    int gets = 0, posts = 0;
    auto frame = [&] {
        CHECK(sdk.pump.turn(200));
        while (auto request = sdk.pump.next_request()) {
            const bool get = request->method() == "GET";
            (get ? gets : posts)++;
            CHECK(request->url().find("10035569/10034190") != std::string_view::npos);
            CHECK(request->headers() > 0 && request->timeout() > 0);
            CHECK(get == request->body().empty());
            CHECK(sdk.pump.answer(request->id(), 200, get ? served : "{\"status\":\"ok\"}") == CONVERT_STATUS_OK);
            CHECK(sdk.pump.answer(request->id(), 200, "twice") == CONVERT_STATUS_NOTHING);
        }
    };

    convert::Question ready = sdk.pump.initialize();
    CHECK(ready.check() == CONVERT_STATUS_PENDING);
    int frames = 0;
    ConvertStatus status;
    while ((status = ready.check()) == CONVERT_STATUS_PENDING && frames++ < 100000) {
        frame();
    }
    CHECK(status == CONVERT_STATUS_OK && gets == 1);
    CHECK(ready.check() == CONVERT_STATUS_PENDING);

    auto adult = convert_attribute_number("age", 30);
    auto player = convert::Context::make(sdk.core, "visitor-4", {adult});
    CHECK(player);
    auto shown = player->run_experience("checkout");
    CHECK(shown && convert::view(shown->variation_key) == "one-page");
    auto missing = player->run_experience("none");
    CHECK(!missing && missing.status() == CONVERT_STATUS_NOT_IN_CONFIG);
    auto form = player->run_feature("checkout-form");
    CHECK(form && form->integer("steps") == 1 && form->boolean("sticky") == true);
    CHECK(form && form->text("title") == "Pay now" && !form->number("none"));
    const auto handle = convert::make_feature_handle(sdk.core, "checkout-form");
    CHECK(handle && player->run_feature(*handle)->text("title") == "Pay now");
    CHECK(convert::make_feature_handle(sdk.core, "none").status() == CONVERT_STATUS_NOT_IN_CONFIG);
    const auto checkout = convert::make_experience_handle(sdk.core, "checkout");
    CHECK(checkout && convert::view(player->run_experience(*checkout)->variation_key) == "one-page");
    auto all = player->run_experiences();
    CHECK(all && all->size() == 1 && convert::view((*all)[0].experience_key) == "checkout" && (*all)[1].experience_key.data == nullptr);
    auto features = player->run_features();
    CHECK(features && features->size() == 1 && (*features)[0].integer("steps") == 1);
    const std::string trait = "member or not";
    CHECK(player->set_attributes({convert::attribute_boolean(std::string_view(trait).substr(0, 6), true)}) == CONVERT_STATUS_OK);
    auto segments = player->run_custom_segments({convert::text("members")});
    CHECK(segments && segments->size() == 1 && !(*segments)[0].empty() && (*segments)[1].empty());
    CHECK(player->track("purchase", {convert_goal_number(CONVERT_GOAL_KEY_AMOUNT, 9.5)}) == CONVERT_STATUS_OK);
    auto buyer = convert::Context::make(sdk.core, "visitor-5");
    const auto purchase = convert::make_goal_handle(sdk.core, "purchase");
    CHECK(purchase && buyer->track(*purchase) == CONVERT_STATUS_OK);
    CHECK(buyer->track(*purchase, {convert_goal_number(CONVERT_GOAL_KEY_AMOUNT, 9.5)}, true) == CONVERT_STATUS_OK);
    CHECK(threads() == 1);

    ConvertFlushReport report{};
    report.size = sizeof report;
    convert::Question over = sdk.pump.shutdown(5000);
    for (frames = 0; (status = over.check(&report)) == CONVERT_STATUS_PENDING && frames < 1000000; frames++) {
        frame();
    }
    CHECK(status == CONVERT_STATUS_OK && report.pending == 0 && report.delivered == 4 && posts >= 1);
    CHECK(sdk.pump.answer(12345, 200, "") == CONVERT_STATUS_NOTHING && sdk.pump.fail(12345, true) == CONVERT_STATUS_NOTHING);
    CHECK(threads() == 1);
    a_wrong_result_changes_nothing(served);
    both_handles_are_null_if_one_is_not_wanted(served);
    a_callback_finds_its_own_pump_busy(served);
    a_callback_may_free_its_own_pump(served);
    an_answer_stands_whatever_its_headers(served);
    a_shutdown_says_what_it_has_lost(served);
    a_config_is_checked_and_withdrawn_when_stale(served);
    a_forked_child_sends_its_own_records_alone(served);
    CHECK(threads() == 1);
    if (failures == 0) {
        std::puts("pumped: ok");
    }
    return failures != 0;
}
