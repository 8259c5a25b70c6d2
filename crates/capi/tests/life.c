/* The whole life of a core through the C API, against direct data and an endpoint where nobody answers. */
#define _POSIX_C_SOURCE 200809L

#include "convert.h"
#include "convert.h" /* again, as another header may */

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT(literal) ((ConvertText){literal, sizeof(literal) - 1})

static int failures;

#define CHECK(condition)                                                           \
    do {                                                                           \
        if (!(condition)) {                                                        \
            ConvertText why = convert_last_error();                                \
            fprintf(stderr, "%s:%d: %s (last error: %.*s)\n", __FILE__, __LINE__,  \
                    #condition, (int)why.length, why.data);                        \
            failures++;                                                            \
        }                                                                          \
    } while (0)

static int equals(ConvertText text, const char *expected)
{
    return text.data != NULL && text.length == strlen(expected) && memcmp(text.data, expected, text.length) == 0;
}

static int contains(ConvertString *string, const char *part)
{
    ConvertText text = convert_string_text(string);
    char *copy = malloc(text.length + 1);
    int found;
    memcpy(copy, text.data, text.length);
    copy[text.length] = 0;
    found = strstr(copy, part) != NULL;
    free(copy);
    convert_string_free(string);
    return found;
}

static void count_event(void *user, ConvertEventKind kind, ConvertText json)
{
    (void)kind;
    if (json.length > 0) {
        __atomic_fetch_add((int *)user, 1, __ATOMIC_SEQ_CST);
    }
}

static void count_release(void *user)
{
    __atomic_fetch_add((int *)user, 100, __ATOMIC_SEQ_CST);
}

static void count_message(void *user, ConvertLogLevel level, ConvertText message)
{
    if (level <= CONVERT_LOG_LEVEL_DEBUG && message.length > 0) {
        __atomic_fetch_add((int *)user, 1, __ATOMIC_SEQ_CST);
    }
}

static ConvertCore *shop(const char *path)
{
    ConvertConfig config = {.size = sizeof config};
    ConvertCore *core = NULL;
    config.data_file = convert_text(path);
    config.track_base_url = TEXT("http://127.0.0.1:9");
    config.danger_allow_http_on_loopback = 1;
    CHECK(convert_core_new(&config, &core) == CONVERT_STATUS_OK);
    return core;
}

static void keeps_to_itself_offline(const char *path)
{
    ConvertConfig config = {.size = sizeof config, .offline = 1};
    ConvertCore *core = NULL;
    ConvertContext *context = NULL;
    ConvertFlushReport report = {.size = sizeof report};
    ConvertStats stats = {.size = sizeof stats};
    config.sdk_key = TEXT("10035569/10034190");
    CHECK(convert_core_new(&config, &core) == CONVERT_STATUS_OK);
    CHECK(convert_core_initialize(core, 30000) == CONVERT_STATUS_CONFIG_UNAVAILABLE);
    convert_core_free(core);
    config.data_file = convert_text(path);
    CHECK(convert_core_new(&config, &core) == CONVERT_STATUS_OK);
    CHECK(convert_core_initialize(core, 0) == CONVERT_STATUS_OK);
    CHECK(convert_context_new(core, TEXT("visitor-4"), NULL, 0, &context) == CONVERT_STATUS_OK);
    CHECK(convert_context_track(context, TEXT("purchase"), NULL) == CONVERT_STATUS_OK);
    CHECK(convert_core_shutdown(core, 30000, &report) == CONVERT_STATUS_OK && report.pending == 0);
    CHECK(convert_core_stats(core, &stats) == CONVERT_STATUS_OK && stats.withheld == 1 && stats.requests == 0);
    convert_context_free(context);
    convert_core_free(core);
}

static void nothing_is_a_status(void)
{
    ConvertCore *core = (ConvertCore *)&failures;
    ConvertContext *context = NULL;
    ConvertConfig config = {.size = sizeof config};
    struct { ConvertConfig config; uint64_t later[2]; } *newer = calloc(1, sizeof *newer);

    CHECK(convert_core_new(NULL, &core) == CONVERT_STATUS_NULL_POINTER && core == NULL);
    CHECK(convert_core_new(&config, NULL) == CONVERT_STATUS_NULL_POINTER);
    CHECK(convert_core_new(&config, &core) == CONVERT_STATUS_INVALID_OPTION);
    CHECK(convert_last_status() == CONVERT_STATUS_INVALID_OPTION && convert_last_error().length > 0);
    config.size = 3;
    CHECK(convert_core_new(&config, &core) == CONVERT_STATUS_INVALID_ARGUMENT);
    config.size = sizeof config;
    config.sdk_key = TEXT("\xff");
    CHECK(convert_core_new(&config, &core) == CONVERT_STATUS_INVALID_TEXT);
    config.sdk_key.data = NULL;
    CHECK(convert_core_new(&config, &core) == CONVERT_STATUS_NULL_POINTER);
    CHECK(convert_core_initialize(NULL, 0) == CONVERT_STATUS_NULL_POINTER);
    CHECK(!convert_core_is_ready(NULL));
    CHECK(convert_context_new(NULL, TEXT("v"), NULL, 0, &context) == CONVERT_STATUS_NULL_POINTER);
    CHECK(convert_context_visitor_id(NULL).data == NULL);
    convert_core_free(NULL);
    convert_context_free(NULL);
    convert_string_free(NULL);

    /* A caller of a later version: what it has set and we do not know is refused, zeros are not. */
    newer->config.size = sizeof *newer;
    newer->config.data_json = TEXT("{}");
    CHECK(convert_core_new(&newer->config, &core) == CONVERT_STATUS_OK);
    CHECK(convert_core_initialize(core, 0) == CONVERT_STATUS_CONFIG_INVALID);
    convert_core_free(core);
    newer->later[1] = 1;
    CHECK(convert_core_new(&newer->config, &core) == CONVERT_STATUS_INVALID_ARGUMENT);

    /* One of the first version has less, and what comes after that is not read. */
    newer->config.size = offsetof(ConvertConfig, max_stale);
    CHECK(convert_core_new(&newer->config, &core) == CONVERT_STATUS_OK);
    convert_core_free(core);
    newer->config.size--;
    CHECK(convert_core_new(&newer->config, &core) == CONVERT_STATUS_INVALID_ARGUMENT);
    free(newer);
}

static void decides(ConvertCore *core)
{
    ConvertAttribute adult = convert_attribute_number("age", 30);
    ConvertAttribute member = convert_attribute_boolean("member", true);
    ConvertAttribute odd = convert_attribute("odd", CONVERT_KIND_NULL);
    ConvertContext *context = NULL;
    ConvertExperience shown = {.size = sizeof shown};
    ConvertExperienceHandle *checkout = NULL;
    ConvertExperiences *all = NULL;
    ConvertRunOptions options = {.size = sizeof options};
    ConvertText segment = TEXT("members");
    ConvertTexts *matched = NULL;
    ConvertString *json = NULL;

    CHECK(convert_context_new(core, TEXT("visitor-4"), NULL, 0, &context) == CONVERT_STATUS_OK);
    CHECK(equals(convert_context_visitor_id(context), "visitor-4"));
    CHECK(convert_context_run_experience(context, TEXT("checkout"), NULL, &shown) == CONVERT_STATUS_AUDIENCE);
    CHECK(convert_context_run_experience(context, TEXT("none"), NULL, &shown) == CONVERT_STATUS_NOT_IN_CONFIG);
    options.attributes = &adult;
    options.attribute_count = 1;
    options.tracking_off = 1;
    options.storage_off = 1;
    options.reserved = 1;
    CHECK(convert_context_run_experience(context, TEXT("checkout"), &options, &shown) == CONVERT_STATUS_INVALID_ARGUMENT);
    options.reserved = 0;
    CHECK(convert_context_run_experience(context, TEXT("checkout"), &options, &shown) == CONVERT_STATUS_OK);
    CHECK(convert_context_set_attributes(context, &adult, 1) == CONVERT_STATUS_OK);
    CHECK(convert_context_run_experience(context, TEXT("checkout"), NULL, &shown) == CONVERT_STATUS_OK);
    CHECK(equals(shown.variation_key, "one-page") && equals(shown.experience_key, "checkout"));
    CHECK(shown.source == CONVERT_SOURCE_HASHED && shown.bucket_value == 9229);
    CHECK(convert_experience_handle_new(core, TEXT("none"), &checkout) == CONVERT_STATUS_NOT_IN_CONFIG);
    CHECK(checkout == NULL);
    CHECK(convert_experience_handle_new(core, TEXT("checkout"), &checkout) == CONVERT_STATUS_OK);
    CHECK(convert_context_run_experience_by_handle(context, checkout, NULL, &shown) == CONVERT_STATUS_OK);
    CHECK(shown.source == CONVERT_SOURCE_STORED);
    CHECK(convert_context_run_experience_by_handle(context, NULL, NULL, &shown) == CONVERT_STATUS_NULL_POINTER);
    CHECK(convert_context_run_experience_by_handle(context, checkout, NULL, NULL) == CONVERT_STATUS_NULL_POINTER);
    shown.size = 1;
    CHECK(convert_context_run_experience_by_handle(context, checkout, NULL, &shown) == CONVERT_STATUS_INVALID_ARGUMENT);
    shown.size = sizeof shown;

    CHECK(convert_context_run_experiences(context, NULL, &all) == CONVERT_STATUS_OK);
    CHECK(convert_experiences_count(all) == 1);
    CHECK(convert_experiences_at(all, 0, &shown) == CONVERT_STATUS_OK && equals(shown.experience_key, "checkout"));
    CHECK(convert_experiences_at(all, 1, &shown) == CONVERT_STATUS_NOTHING);
    convert_experiences_free(all);

    CHECK(convert_context_set_attributes(context, &member, 1) == CONVERT_STATUS_OK);
    CHECK(convert_context_run_custom_segments(context, &segment, 1, NULL, 0, &matched) == CONVERT_STATUS_OK);
    CHECK(convert_texts_count(matched) == 1 && convert_texts_at(matched, 0).length > 0);
    CHECK(convert_texts_at(matched, 1).data == NULL);
    convert_texts_free(matched);
    CHECK(convert_context_run_experience(context, TEXT("welcome-back"), NULL, &shown) == CONVERT_STATUS_OK);

    odd.kind = 77;
    CHECK(convert_context_set_location(context, &odd, 1) == CONVERT_STATUS_INVALID_ARGUMENT);
    odd.kind = CONVERT_KIND_LIST;
    odd.items = &odd;
    odd.count = 1;
    CHECK(convert_context_set_location(context, &odd, 1) == CONVERT_STATUS_INVALID_ARGUMENT);
    odd.items = NULL;
    CHECK(convert_context_set_location(context, &odd, 1) == CONVERT_STATUS_NULL_POINTER);

    CHECK(convert_context_diagnose_experience(context, TEXT("checkout"), NULL, &json) == CONVERT_STATUS_OK);
    CHECK(contains(json, "one-page"));
    CHECK(convert_context_diagnose_goal(context, TEXT("none"), &json) == CONVERT_STATUS_OK);
    CHECK(contains(json, "goal_not_found"));
    CHECK(convert_context_diagnose_feature(context, TEXT("checkout-form"), NULL, &json) == CONVERT_STATUS_OK);
    CHECK(contains(json, "checkout-form"));
    CHECK(convert_context_diagnose_feature(context, TEXT("none"), NULL, &json) == CONVERT_STATUS_OK);
    CHECK(contains(json, "feature_not_found"));
    CHECK(convert_context_entity(context, TEXT("goal"), TEXT("purchase"), &json) == CONVERT_STATUS_OK);
    CHECK(contains(json, "purchase"));
    CHECK(convert_context_entity(context, TEXT("thing"), TEXT("x"), &json) == CONVERT_STATUS_INVALID_ARGUMENT);
    CHECK(convert_context_entity_by_id(context, TEXT("experience"), TEXT("100218245"), &json) == CONVERT_STATUS_OK);
    CHECK(contains(json, "\"checkout\""));
    CHECK(convert_context_entity_by_id(context, TEXT("experience"), TEXT("1"), &json) == CONVERT_STATUS_NOT_IN_CONFIG);
    CHECK(json == NULL);

    CHECK(convert_context_set_preview_param(context, TEXT("nonsense")) == CONVERT_STATUS_PREVIEW_MALFORMED);
    CHECK(convert_context_set_preview(context, TEXT("1"), TEXT("2")) == CONVERT_STATUS_PREVIEW_NO_EXPERIENCE);
    CHECK(convert_context_set_preview_param(context, TEXT("100218245.100299456")) == CONVERT_STATUS_OK);
    CHECK(convert_context_is_preview(context));
    CHECK(convert_context_run_experience(context, TEXT("checkout"), NULL, &shown) == CONVERT_STATUS_OK);
    CHECK(shown.source == CONVERT_SOURCE_FORCED && equals(shown.variation_key, "original"));
    CHECK(convert_context_set_preview_param(context, TEXT("nonsense")) == CONVERT_STATUS_PREVIEW_MALFORMED);
    CHECK(!convert_context_is_preview(context));
    CHECK(convert_context_set_preview(context, TEXT("100218245"), TEXT("100299456")) == CONVERT_STATUS_OK);
    CHECK(convert_context_set_preview(context, TEXT("\xff"), TEXT("2")) == CONVERT_STATUS_INVALID_TEXT);
    CHECK(!convert_context_is_preview(context));
    CHECK(convert_context_set_preview_param(context, TEXT("100218245.100299456")) == CONVERT_STATUS_OK);
    CHECK(convert_context_set_preview_param(context, (ConvertText){NULL, 0}) == CONVERT_STATUS_NULL_POINTER);
    CHECK(!convert_context_is_preview(context));
    CHECK(convert_context_set_preview_param(context, TEXT("100218245.100299456")) == CONVERT_STATUS_OK);
    CHECK(convert_context_clear_preview(context) == CONVERT_STATUS_OK && !convert_context_is_preview(context));

    convert_experience_handle_free(checkout);
    convert_context_free(context);
}

static void carries_features(ConvertCore *core)
{
    ConvertAttribute adult = convert_attribute_number("age", 30);
    ConvertContext *context = NULL;
    ConvertFeature form = {.size = sizeof form};
    struct { ConvertFeature feature; uint64_t later[2]; } newer = {{.size = sizeof newer}, {7, 7}};
    ConvertFeatureHandle *handle = NULL;
    ConvertFeatures *all = NULL;
    ConvertAttribute variable;
    ConvertString *json = NULL;
    ConvertText title;
    int64_t steps = 0;
    bool sticky = false;
    double discount = 0;
    size_t at;

    CHECK(convert_feature_boolean(&form, TEXT("sticky"), &sticky) == CONVERT_STATUS_INVALID_ARGUMENT);
    CHECK(convert_context_new(core, TEXT("visitor-4"), &adult, 1, &context) == CONVERT_STATUS_OK);
    CHECK(convert_context_run_feature(context, TEXT("checkout-form"), NULL, &form) == CONVERT_STATUS_OK);
    CHECK(equals(form.feature_key, "checkout-form") && equals(form.variation_key, "one-page"));
    CHECK(convert_feature_integer(&form, TEXT("steps"), &steps) == CONVERT_STATUS_OK && steps == 1);
    CHECK(convert_feature_boolean(&form, TEXT("sticky"), &sticky) == CONVERT_STATUS_OK && sticky);
    CHECK(convert_feature_number(&form, TEXT("discount"), &discount) == CONVERT_STATUS_OK && discount > 7.4);
    CHECK(convert_feature_text(&form, TEXT("title"), &title) == CONVERT_STATUS_OK && equals(title, "Pay now"));
    CHECK(convert_feature_json(&form, TEXT("methods"), &json) == CONVERT_STATUS_OK);
    CHECK(contains(json, "[\"card\",\"transfer\"]"));
    CHECK(convert_feature_text(&form, TEXT("steps"), &title) == CONVERT_STATUS_NO_VARIABLE);
    CHECK(convert_feature_text(&form, TEXT("none"), &title) == CONVERT_STATUS_NO_VARIABLE);
    for (at = 0; at < form.variable_count; at++) {
        CHECK(convert_feature_variable_at(&form, at, &variable) == CONVERT_STATUS_OK && variable.name.length > 0);
    }
    CHECK(at == 5 && convert_feature_variable_at(&form, at, &variable) == CONVERT_STATUS_NO_VARIABLE);
    CHECK(convert_feature_handle_new(NULL, TEXT("checkout-form"), &handle) == CONVERT_STATUS_OK);
    CHECK(convert_context_run_feature_by_handle(context, handle, NULL, &form) == CONVERT_STATUS_OK);
    CHECK(convert_context_run_features(context, NULL, &all) == CONVERT_STATUS_OK);
    CHECK(convert_features_count(all) == 1 && convert_features_at(all, 0, &form) == CONVERT_STATUS_OK);
    CHECK(convert_feature_integer(&form, TEXT("steps"), &steps) == CONVERT_STATUS_OK && steps == 1);

    /* A caller of a later version: what it gets, it can ask about. */
    CHECK(convert_context_run_feature(context, TEXT("checkout-form"), NULL, &newer.feature) == CONVERT_STATUS_OK);
    CHECK(newer.feature.size == sizeof newer && newer.later[0] == 7 && newer.feature.variable_count == 5);
    CHECK(convert_feature_integer(&newer.feature, TEXT("steps"), &steps) == CONVERT_STATUS_OK && steps == 1);
    CHECK(convert_feature_variable_at(&newer.feature, 0, &variable) == CONVERT_STATUS_OK);
    CHECK(convert_features_at(all, 0, &newer.feature) == CONVERT_STATUS_OK);
    CHECK(convert_feature_text(&newer.feature, TEXT("title"), &title) == CONVERT_STATUS_OK && equals(title, "Pay now"));
    convert_features_free(all);
    convert_feature_handle_free(handle);
    convert_context_free(context);
}

static void converts_and_closes(ConvertCore *core)
{
    ConvertContext *context = NULL;
    ConvertGoalHandle *goal = NULL;
    ConvertGoalData data[2];
    ConvertConversionOptions order = {.size = sizeof order};
    ConvertFlushReport report = {.size = sizeof report};
    ConvertStats stats = {.size = sizeof stats};
    ConvertSubscription *subscription = NULL;
    ConvertEventKind kind;
    ConvertString *json = NULL;
    int events = 0, refused = 0;

    CHECK(convert_core_on(core, CONVERT_EVENT_KIND_CONVERSION, count_event, &events, count_release) == CONVERT_STATUS_OK);
    CHECK(convert_core_on(core, 77, count_event, &refused, count_release) == CONVERT_STATUS_INVALID_ARGUMENT);
    CHECK(refused == 100);
    CHECK(convert_core_subscribe(core, &subscription) == CONVERT_STATUS_OK);
    CHECK(convert_subscription_next(subscription, &kind, &json) == CONVERT_STATUS_NOTHING && json == NULL);

    data[0] = convert_goal_number(CONVERT_GOAL_KEY_AMOUNT, 49.9);
    data[1] = convert_goal_text(CONVERT_GOAL_KEY_TRANSACTION_ID, TEXT("tx-1"));
    order.data = data;
    order.data_count = 2;
    order.force_multiple = 1;
    CHECK(convert_context_new(core, TEXT("visitor-9"), NULL, 0, &context) == CONVERT_STATUS_OK);
    order.reserved = 1;
    CHECK(convert_context_track(context, TEXT("purchase"), &order) == CONVERT_STATUS_INVALID_ARGUMENT);
    order.reserved = 0;
    CHECK(convert_context_track_confirmed(context, TEXT("purchase"), &order, 30000) == CONVERT_STATUS_OK);
    CHECK(convert_context_track_confirmed(context, TEXT("purchase"), NULL, 30000) == CONVERT_STATUS_DEDUPLICATED);
    CHECK(convert_context_track(context, TEXT("none"), NULL) == CONVERT_STATUS_NOT_IN_CONFIG);
    data[0].number = NAN;
    CHECK(convert_context_track(context, TEXT("purchase"), &order) == CONVERT_STATUS_INVALID_DATA);
    data[0].key = 99;
    CHECK(convert_context_track(context, TEXT("purchase"), &order) == CONVERT_STATUS_INVALID_ARGUMENT);
    CHECK(convert_goal_handle_new(core, TEXT("purchase"), &goal) == CONVERT_STATUS_OK);
    CHECK(convert_context_track_by_handle(context, goal, NULL) == CONVERT_STATUS_OK);
    CHECK(convert_context_track_by_handle(context, goal, &order) == CONVERT_STATUS_INVALID_ARGUMENT);
    /* The tracker may tell of earlier exposures first. The first conversion is confirmed, so its event is there. */
    do {
        convert_string_free(json);
        CHECK(convert_subscription_next(subscription, &kind, &json) == CONVERT_STATUS_OK);
    } while (json != NULL && kind != CONVERT_EVENT_KIND_CONVERSION);
    CHECK(json != NULL && contains(json, "purchase"));

    /* Nobody listens at the endpoint: a flush says so, and the ledger balances. */
    CHECK(convert_core_flush(core, 10000, 1, &report) == CONVERT_STATUS_INCOMPLETE && report.pending > 0);
    CHECK(convert_core_stats(core, &stats) == CONVERT_STATUS_OK);
    CHECK(stats.recorded == stats.deduplicated + stats.delivered + stats.pending + stats.dropped);
    CHECK(convert_core_stats_json(core, &json) == CONVERT_STATUS_OK && contains(json, "\"recorded\""));
    CHECK(convert_core_refresh(core, 1000) == CONVERT_STATUS_DIRECT_CONFIG);
    CHECK(convert_core_refresh_soon(core) == CONVERT_STATUS_OK);
    CHECK(convert_core_shutdown(core, 200, &report) != CONVERT_STATUS_OK && report.delivered == 0);
    CHECK(report.dropped + report.pending == stats.pending);
    CHECK(convert_core_close(core, &stats) == CONVERT_STATUS_OK);
    CHECK(stats.recorded == stats.deduplicated + stats.delivered + stats.pending + stats.dropped && stats.dropped > 0);
    CHECK(convert_context_track(context, TEXT("purchase"), NULL) == CONVERT_STATUS_CLOSED);
    CHECK(convert_last_status() == CONVERT_STATUS_CLOSED && convert_last_error().length > 0);
    CHECK(convert_core_initialize(NULL, 0) == CONVERT_STATUS_NULL_POINTER);
    CHECK(convert_context_track_by_handle(context, goal, NULL) == CONVERT_STATUS_CLOSED);
    CHECK(convert_last_status() == CONVERT_STATUS_CLOSED);
    convert_subscription_free(subscription);
    convert_goal_handle_free(goal);
    convert_context_free(context);
    CHECK(__atomic_load_n(&events, __ATOMIC_SEQ_CST) % 100 >= 2);
}

/* What an endpoint of this process gets on its one connection until that is closed. */
static size_t served_on(int listener, char *got, size_t room)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "Content-Length: 2\r\nConnection: close\r\n\r\n{}";
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    size_t length = 0;
    ssize_t count = 0;
    int peer, answered = 0;
    got[0] = 0;
    if (poll(&waiting, 1, 60000) != 1 || (peer = accept(listener, NULL, NULL)) < 0) {
        return 0;
    }
    while (length + 1 < room && (count = read(peer, got + length, room - length - 1)) > 0) {
        length += (size_t)count;
        got[length] = 0;
        if (!answered && strstr(got, "\r\n\r\n") != NULL && strstr(got, "leaving") != NULL) {
            answered = write(peer, ok, sizeof ok - 1) > 0 && shutdown(peer, SHUT_WR) == 0;
        }
    }
    close(peer);
    return length;
}

/* In a process of its own, whose core lives until its exit. */
static void flushes_at_exit(const char *path)
{
    static ConvertCore *core;
    static ConvertContext *context;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    char url[64], got[16384];
    int listener = socket(AF_INET, SOCK_STREAM, 0), status = -1;
    pid_t child;
    CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    child = fork();
    if (child == 0) {
        ConvertConfig config = {.size = sizeof config, .danger_allow_http_on_loopback = 1};
        close(listener);
        config.data_file = convert_text(path);
        config.track_base_url = convert_text(url);
        CHECK(convert_core_new(&config, &core) == CONVERT_STATUS_OK);
        CHECK(convert_core_initialize(core, 0) == CONVERT_STATUS_OK);
        CHECK(convert_core_flush_at_exit(NULL, 1000) == CONVERT_STATUS_NULL_POINTER);
        CHECK(convert_core_flush_at_exit(core, 30000) == CONVERT_STATUS_OK);
        CHECK(convert_context_new(core, TEXT("leaving"), NULL, 0, &context) == CONVERT_STATUS_OK);
        CHECK(convert_context_track(context, TEXT("purchase"), NULL) == CONVERT_STATUS_OK);
        exit(failures != 0);
    }
    CHECK(child > 0 && served_on(listener, got, sizeof got) > 0);
    CHECK(strncmp(got, "POST ", 5) == 0 && strstr(got, "leaving") != NULL);
    close(listener);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A core with threads that run, forked as a pre-fork server does it: what either process records is its own. */
static void a_forked_child_uses_the_handles_as_they_are(const char *path)
{
    ConvertCore *core = shop(path);
    ConvertContext *context = NULL, *another = NULL;
    ConvertExperienceHandle *checkout = NULL;
    ConvertGoalHandle *purchase = NULL;
    ConvertAttribute adult = convert_attribute_number("age", 30);
    ConvertExperience shown = {.size = sizeof shown};
    ConvertStats stats = {.size = sizeof stats};
    int status = -1;
    pid_t child;
    CHECK(convert_core_initialize(core, 0) == CONVERT_STATUS_OK);
    CHECK(convert_context_new(core, TEXT("visitor-4"), &adult, 1, &context) == CONVERT_STATUS_OK);
    CHECK(convert_experience_handle_new(core, TEXT("checkout"), &checkout) == CONVERT_STATUS_OK);
    CHECK(convert_goal_handle_new(core, TEXT("purchase"), &purchase) == CONVERT_STATUS_OK);
    /* Confirmed by the tracker, whose thread the child does not have. */
    CHECK(convert_context_track_confirmed(context, TEXT("purchase"), NULL, 30000) == CONVERT_STATUS_OK);
    child = fork();
    if (child == 0) {
        failures = 0;
        CHECK(convert_core_is_ready(core) && convert_core_stats(core, &stats) == CONVERT_STATUS_OK);
        CHECK(stats.recorded == 0 && stats.fork_generation == 1);
        CHECK(convert_context_run_experience_by_handle(context, checkout, NULL, &shown) == CONVERT_STATUS_OK);
        CHECK(equals(shown.variation_key, "one-page"));
        CHECK(convert_context_track_by_handle(context, purchase, NULL) == CONVERT_STATUS_OK);
        CHECK(convert_context_new(core, TEXT("visitor-5"), NULL, 0, &another) == CONVERT_STATUS_OK);
        CHECK(convert_context_track_confirmed(another, TEXT("purchase"), NULL, 30000) == CONVERT_STATUS_OK);
        CHECK(convert_core_close(core, &stats) == CONVERT_STATUS_OK && stats.recorded == 3 && stats.dropped == 3);
        /* A child forgets the parent's threads without freeing them, which valgrind must not take for a leak. */
        execlp(failures == 0 ? "true" : "false", "child", (char *)NULL);
        _exit(2);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(convert_core_close(core, &stats) == CONVERT_STATUS_OK && stats.recorded == 1 && stats.fork_generation == 0);
    convert_goal_handle_free(purchase);
    convert_experience_handle_free(checkout);
    convert_context_free(context);
    convert_core_free(core);
}

int main(int count, char **arguments)
{
    static int messages, refused;
    ConvertCore *core;
    if (count != 2) {
        fprintf(stderr, "usage: life CONFIG\n");
        return 2;
    }
    CHECK(convert_version().length > 0);
    flushes_at_exit(arguments[1]);
    a_forked_child_uses_the_handles_as_they_are(arguments[1]);
    CHECK(convert_log_to(77, count_message, &refused, count_release) == CONVERT_STATUS_INVALID_ARGUMENT);
    CHECK(refused == 100);
    CHECK(convert_log_to(CONVERT_LOG_LEVEL_DEBUG, NULL, NULL, NULL) == CONVERT_STATUS_NULL_POINTER);
    CHECK(convert_log_to(CONVERT_LOG_LEVEL_DEBUG, count_message, &messages, NULL) == CONVERT_STATUS_OK);
    CHECK(convert_log_to(CONVERT_LOG_LEVEL_DEBUG, count_message, &refused, count_release) ==
          CONVERT_STATUS_UNSUPPORTED);
    CHECK(refused == 200);
    nothing_is_a_status();
    keeps_to_itself_offline(arguments[1]);
    core = shop(arguments[1]);
    CHECK(!convert_core_is_ready(core));
    CHECK(convert_context_new(core, TEXT("v"), NULL, 0, &(ConvertContext *){NULL}) == CONVERT_STATUS_NOT_READY);
    CHECK(convert_core_initialize(core, 0) == CONVERT_STATUS_OK && convert_core_is_ready(core));
    decides(core);
    carries_features(core);
    converts_and_closes(core);
    convert_core_free(core);
    CHECK(__atomic_load_n(&messages, __ATOMIC_SEQ_CST) > 0 && refused == 200);
    if (failures == 0) {
        puts("life: ok");
    }
    return failures != 0;
}
