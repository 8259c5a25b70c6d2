/* Convert Experiences for C: A/B tests, feature flags and personalization, decided in-process.
 *
 * Generated from the Rust crate convert-capi: change that, then run `scripts/capi header`.
 *
 *   ConvertConfig config = {.size = sizeof config, .sdk_key = convert_text("10035569/10034190"), .for_server = 1};
 *   ConvertCore *core;
 *   if (convert_core_new(&config, &core) != CONVERT_STATUS_OK) { ... convert_last_error() ... }
 *   convert_core_initialize(core, 0);
 *   ConvertContext *visitor;
 *   convert_context_new(core, convert_text("visitor-1"), NULL, 0, &visitor);
 *   ConvertExperience shown = {.size = sizeof shown};
 *   if (convert_context_run_experience(visitor, convert_text("checkout"), NULL, &shown) == CONVERT_STATUS_OK) { ... }
 *   convert_context_track(visitor, convert_text("purchase"), NULL);
 *   convert_context_free(visitor);
 *   convert_core_shutdown(core, 5000, NULL);
 *   convert_core_free(core);
 *
 * - Handles are opaque. Whoever creates one frees it, with the function named after it; freeing null does nothing.
 *   Using a handle after or while it is freed is undefined behavior, as for any pointer.
 * - A null pointer where a value is required gives CONVERT_STATUS_NULL_POINTER.
 * - Nothing unwinds out of a function: a bug in the library gives CONVERT_STATUS_PANIC.
 * - Structs that begin with `size` may grow in later versions. Set `size` to sizeof and the rest to zero.
 * - "Any thread" means any thread at any time, even several at once.
 */

#ifndef CONVERT_H
#define CONVERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// The result of a call. The numbers never change; later versions may add some.
//
// From 1 to 39 the call failed, and `convert_last_error` says why. From 40 on it is an ordinary outcome without
// further detail: no last error is set.
enum ConvertStatus
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Done.
    CONVERT_STATUS_OK = 0,
    // A required pointer is null.
    CONVERT_STATUS_NULL_POINTER = 1,
    // A text is not UTF-8.
    CONVERT_STATUS_INVALID_TEXT = 2,
    // An argument is out of range, or a struct's `size` is not one of this library's, or it sets options
    // that this version does not know, or a reserved field. Nothing has been done.
    CONVERT_STATUS_INVALID_ARGUMENT = 3,
    // An option of the configuration was rejected; the last error names it.
    CONVERT_STATUS_INVALID_OPTION = 4,
    // A bug in the library, caught at its boundary. The core still works, but please report it.
    CONVERT_STATUS_PANIC = 5,
    // This build or this kind of core does not support that.
    CONVERT_STATUS_UNSUPPORTED = 6,
    // A core without threads cannot wait: use its pump.
    CONVERT_STATUS_WOULD_BLOCK = 7,
    // A callback has called the pump whose turn is calling it: call it after the turn.
    CONVERT_STATUS_BUSY = 8,
    // The core has no config yet.
    CONVERT_STATUS_NOT_READY = 10,
    // The core is closed.
    CONVERT_STATUS_CLOSED = 11,
    // The time limit was reached first.
    CONVERT_STATUS_TIMEOUT = 12,
    // A thread could not be started.
    CONVERT_STATUS_THREAD = 13,
    // The config could not be fetched.
    CONVERT_STATUS_CONFIG_UNAVAILABLE = 14,
    // The given or fetched config is not valid.
    CONVERT_STATUS_CONFIG_INVALID = 15,
    // The fetched config belongs to another account or project.
    CONVERT_STATUS_OTHER_PROJECT = 16,
    // Config data passed in directly cannot be refreshed.
    CONVERT_STATUS_DIRECT_CONFIG = 17,
    // Not everything was delivered: records were dropped, or the only attempt failed.
    CONVERT_STATUS_INCOMPLETE = 18,
    // `accept_config` has refused the config, and there was none before.
    CONVERT_STATUS_CONFIG_NOT_ACCEPTED = 19,
    // The preview parameter, or an id in it, is empty or malformed.
    CONVERT_STATUS_PREVIEW_MALFORMED = 20,
    // The experience to preview was not found.
    CONVERT_STATUS_PREVIEW_NO_EXPERIENCE = 21,
    // The experience to preview has no such variation.
    CONVERT_STATUS_PREVIEW_NO_VARIATION = 22,
    // The experience to preview could not be fetched.
    CONVERT_STATUS_PREVIEW_UNAVAILABLE = 23,
    // The config has no experience, feature, goal or other entity with this key or id.
    CONVERT_STATUS_NOT_IN_CONFIG = 40,
    // The visitor id is empty.
    CONVERT_STATUS_NO_VISITOR = 41,
    // The experience is archived.
    CONVERT_STATUS_ARCHIVED = 42,
    // The experience has no usable id.
    CONVERT_STATUS_NO_ID = 43,
    // The experience runs in another environment.
    CONVERT_STATUS_ENVIRONMENT = 44,
    // The location attributes do not match.
    CONVERT_STATUS_LOCATION = 45,
    // The visitor is not in the audience.
    CONVERT_STATUS_AUDIENCE = 46,
    // The visitor has none of the custom segments.
    CONVERT_STATUS_SEGMENTS = 47,
    // The experience has no variations.
    CONVERT_STATUS_NO_VARIATIONS = 48,
    // The visitor's bucket belongs to no variation that takes visitors.
    CONVERT_STATUS_NOT_BUCKETED = 49,
    // Two experiences share an id, and the first lacks the variation that owns the visitor's bucket.
    CONVERT_STATUS_OTHER_VARIATIONS = 50,
    // There is no variation, for a reason that this version of the library does not know.
    CONVERT_STATUS_UNDECIDED = 51,
    // The config is older than `max_stale`, and `withdraw_when_stale` is set.
    CONVERT_STATUS_WITHDRAWN = 52,
    // None of the visitor's variations carries the feature.
    CONVERT_STATUS_NOT_CARRIED = 60,
    // The feature has no variable with this name and type, or none at this index.
    CONVERT_STATUS_NO_VARIABLE = 61,
    // The list has nothing at this index, or there is nothing to read at the moment.
    CONVERT_STATUS_NOTHING = 62,
    // No turn has answered the question yet, or the answer was already taken.
    CONVERT_STATUS_PENDING = 63,
    // Handed to the tracker, which did not say in time whether it is a duplicate. It is counted.
    CONVERT_STATUS_UNCONFIRMED = 80,
    // A duplicate, or suppressed by a preview: nothing is sent.
    CONVERT_STATUS_DEDUPLICATED = 81,
    // The goal's rules do not match the rule data.
    CONVERT_STATUS_GOAL_NOT_MATCHED = 82,
    // The revenue or another number is not finite.
    CONVERT_STATUS_INVALID_DATA = 83,
    // Tracking is off.
    CONVERT_STATUS_TRACKING_DISABLED = 84,
    // The queue has no room for the record, which is counted as dropped.
    CONVERT_STATUS_QUEUE_FULL = 85,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ConvertStatus ConvertStatus;
#else
typedef int32_t ConvertStatus;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The severity of a log message.
enum ConvertLogLevel
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Something failed.
    CONVERT_LOG_LEVEL_ERROR = 1,
    // Something is odd.
    CONVERT_LOG_LEVEL_WARNING = 2,
    // Something of interest happened.
    CONVERT_LOG_LEVEL_INFORMATION = 3,
    // Details.
    CONVERT_LOG_LEVEL_DEBUG = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ConvertLogLevel ConvertLogLevel;
#else
typedef uint32_t ConvertLogLevel;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Where a decision came from.
enum ConvertSource
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It was made earlier and remembered.
    CONVERT_SOURCE_STORED = 0,
    // It was made now, from the visitor's hash.
    CONVERT_SOURCE_HASHED = 1,
    // A preview or the call requested this variation.
    CONVERT_SOURCE_FORCED = 2,
    // A source that this version of the library does not know.
    CONVERT_SOURCE_OTHER = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ConvertSource ConvertSource;
#else
typedef uint32_t ConvertSource;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The kinds of lifecycle events.
enum ConvertEventKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The first config is in place.
    CONVERT_EVENT_KIND_READY = 0,
    // A fetched config has replaced the previous one.
    CONVERT_EVENT_KIND_CONFIG_UPDATED = 1,
    // A visitor's first exposure to an experience was accepted for delivery.
    CONVERT_EVENT_KIND_BUCKETING = 2,
    // The tracker has decided whether a conversion is the first.
    CONVERT_EVENT_KIND_CONVERSION = 3,
    // A delivery has ended.
    CONVERT_EVENT_KIND_API_QUEUE_RELEASED = 4,
    // The endpoint refuses all events: the key, the account or the URL is wrong.
    CONVERT_EVENT_KIND_DELIVERY_REFUSED = 5,
    // Visitor state was written to a data store.
    CONVERT_EVENT_KIND_DATA_STORE_QUEUE_RELEASED = 6,
    // A diagnosis did not resolve.
    CONVERT_EVENT_KIND_DIAGNOSTIC = 7,
    // A kind that this version of the library does not know.
    CONVERT_EVENT_KIND_OTHER = 8,
    // The config could not be confirmed for longer than `max_stale`.
    CONVERT_EVENT_KIND_CONFIG_STALE = 9,
    // A config that was stale is confirmed again.
    CONVERT_EVENT_KIND_CONFIG_CONFIRMED = 10,
    // `accept_config` has refused a config.
    CONVERT_EVENT_KIND_CONFIG_NOT_ACCEPTED = 11,
    // The config cache could not be read or written.
    CONVERT_EVENT_KIND_CONFIG_CACHE_FAILED = 12,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ConvertEventKind ConvertEventKind;
#else
typedef uint32_t ConvertEventKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The type of an attribute or of a variable.
enum ConvertKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // JSON's null.
    CONVERT_KIND_NULL = 0,
    // `boolean`, 0 or another number.
    CONVERT_KIND_BOOLEAN = 1,
    // `number`.
    CONVERT_KIND_NUMBER = 2,
    // `text`.
    CONVERT_KIND_TEXT = 3,
    // `count` values in `items`; their names are ignored.
    CONVERT_KIND_LIST = 4,
    // `count` named values in `items`.
    CONVERT_KIND_OBJECT = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ConvertKind ConvertKind;
#else
typedef uint32_t ConvertKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The keys of goal data.
enum ConvertGoalKey
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The revenue, in the project's currency; a number.
    CONVERT_GOAL_KEY_AMOUNT = 0,
    // The number of products.
    CONVERT_GOAL_KEY_PRODUCTS_COUNT = 1,
    // The transaction's id.
    CONVERT_GOAL_KEY_TRANSACTION_ID = 2,
    // A custom dimension of the project.
    CONVERT_GOAL_KEY_CUSTOM_DIMENSION1 = 3,
    // A custom dimension of the project.
    CONVERT_GOAL_KEY_CUSTOM_DIMENSION2 = 4,
    // A custom dimension of the project.
    CONVERT_GOAL_KEY_CUSTOM_DIMENSION3 = 5,
    // A custom dimension of the project.
    CONVERT_GOAL_KEY_CUSTOM_DIMENSION4 = 6,
    // A custom dimension of the project.
    CONVERT_GOAL_KEY_CUSTOM_DIMENSION5 = 7,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ConvertGoalKey ConvertGoalKey;
#else
typedef uint32_t ConvertGoalKey;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// One visitor, with the config that was current when the context was made.
//
// Calls that take it as `const` may run on any number of threads at the same time; calls that change it, and
// `convert_context_free`, need exclusive access. Texts in results belong to it: they are valid until it is
// changed or freed.
typedef struct ConvertContext ConvertContext;

// One SDK instance. Any number of threads may use it at the same time; `convert_core_free` must be the last call.
//
// After a fork the child uses its cores, contexts and handles as they are, without any further call; the
// parent delivers what it has recorded.
typedef struct ConvertCore ConvertCore;

// An experience whose key is looked up once per config. Any thread, with any context, even after its core is
// freed.
typedef struct ConvertExperienceHandle ConvertExperienceHandle;

// The visitor's experiences; valid until the context is changed or freed. Free it as well, before or after the context.
typedef struct ConvertExperiences ConvertExperiences;

// A feature; see `ConvertExperienceHandle`.
typedef struct ConvertFeatureHandle ConvertFeatureHandle;

// The visitor's features; valid until the context is changed or freed. Free it as well, before or after the context.
typedef struct ConvertFeatures ConvertFeatures;

// A goal; see `ConvertExperienceHandle`.
typedef struct ConvertGoalHandle ConvertGoalHandle;

// Does the work of a core without threads. One thread at a time; the core, its contexts and handles can be
// used on any thread.
//
// Event callbacks and `accept_config` run in a turn. There, every call of that turn's pump gives
// `CONVERT_STATUS_BUSY` and changes nothing, except `convert_pump_free`.
//
// In a forked child the pump is the child's own; the parent sends its own requests.
typedef struct ConvertPump ConvertPump;

// A question to a pump, answered by a later turn. One thread at a time. In a child that is forked before
// the answer was given, it stays `CONVERT_STATUS_PENDING` for ever: ask anew there.
typedef struct ConvertQuestion ConvertQuestion;

// An HTTP request for the application to carry. Its texts are valid until it is freed. Any thread.
typedef struct ConvertRequest ConvertRequest;

// Text that the caller owns and frees with `convert_string_free`.
typedef struct ConvertString ConvertString;

// Lifecycle events that are kept until read, at most 1,024. One thread at a time.
typedef struct ConvertSubscription ConvertSubscription;

// Ids of custom segments; see `convert_context_run_custom_segments`.
typedef struct ConvertTexts ConvertTexts;

// UTF-8 text: a pointer and a length in bytes, without a terminating zero. A null pointer with length zero
// is no text, which differs from an empty one. Texts that are passed in are only read during the call.
typedef struct ConvertText {
    // The first byte.
    const char *data;
    // The number of bytes.
    size_t length;
} ConvertText;

// A name and a value. A list of them is only read during the call that it is passed to. The last value of a
// duplicate name counts.
typedef struct ConvertAttribute {
    // The name; case-sensitive.
    struct ConvertText name;
    // Which of the following fields is used: a `ConvertKind`.
    uint32_t kind;
    // The value of a boolean: true if not 0.
    uint32_t boolean;
    // The value of a number.
    double number;
    // The value of a text.
    struct ConvertText text;
    // The values of a list or an object, up to 32 levels deep.
    const struct ConvertAttribute *items;
    // The number of items.
    size_t count;
} ConvertAttribute;

// An HTTP header.
typedef struct ConvertHeader {
    // Its name.
    struct ConvertText name;
    // Its value. Never appears in logs or errors.
    struct ConvertText value;
} ConvertHeader;

// Called with a config, as served, and with what it changes compared with the current one: JSON text with
// `added`, `removed` and `changed` for each kind of entity. `keeps_two_thirds` is 0 if more than a third of the
// current config's experiences are gone. Returns 0 to refuse the config; the current one then stays, and
// `CONVERT_EVENT_KIND_CONFIG_NOT_ACCEPTED` comes.
//
// Called on a thread of the library, or in `convert_pump_turn`, whose pump is
// busy meanwhile. The texts are valid during the call. It must not throw, unwind or `longjmp`, nor wait for
// the core.
typedef uint32_t (*ConvertAcceptCallback)(void *user,
                                          struct ConvertText config,
                                          struct ConvertText changes,
                                          uint32_t keeps_two_thirds);

// Called once with `user`, when it is no longer needed.
typedef void (*ConvertRelease)(void *user);

// The configuration of a core, read only while a core is created. Set `size` to `sizeof(ConvertConfig)`
// and the rest to zero, then what you need: zero, or no text, is the default of every field. Times are in
// milliseconds. `sdk_key`, or one of `data_json` and `data_file`, is required; with both, the core starts
// from the data, then follows the key.
typedef struct ConvertConfig {
    // `sizeof(ConvertConfig)`.
    size_t size;
    // Fetches the config of this key over HTTPS.
    struct ConvertText sdk_key;
    // Uses the config in this JSON text. Events are still sent, unless `offline` is set.
    struct ConvertText data_json;
    // Uses the config in this file, read by `convert_core_new`. Otherwise like `data_json`.
    struct ConvertText data_file;
    // Not 0: the settings for a long-running program, see `auto_flush_interval`, `batch_size` and `refresh_interval`;
    // each can be overridden. A first attempt to deliver may take 2 s, each further one twice as long. With 0, the
    // official Python SDK's defaults.
    uint32_t for_server;
    // Not 0: nothing is recorded. Decisions stay the same.
    uint32_t tracking_off;
    // The environment that this program runs in, as named in Convert. By default experiences of every environment are
    // decided.
    struct ConvertText environment;
    // Not 0: requests the CDN's low-cache mode, to see edits quickly.
    uint32_t low_cache;
    // Not 0: hashes the visitor id alone, which gives a visitor the same bucket value in every experience.
    uint32_t exclude_experience_id_hash;
    // Sent with config fetches only; implies `low_cache`.
    struct ConvertText debug_token;
    // The number of events that triggers a delivery: 1 to 10,000. By default 10, for a server 100, for a
    // game loop 500.
    uint64_t batch_size;
    // The longest that an event waits for a full batch. By default until a flush, for a server 5,000, for a game loop
    // 30,000.
    uint64_t auto_flush_interval;
    // The time between fetches of the config, at least 1,000. By default none but the first, for a server and for a
    // game loop 300,000.
    uint64_t refresh_interval;
    // The upper bound of the random time added to each; by default 30,000. Only together with `refresh_interval`,
    // also for a server and for a game loop.
    uint64_t refresh_jitter;
    // How long `convert_core_initialize` waits by default: 10,000.
    uint64_t initialize_timeout;
    // The visitors whose state is kept in memory; by default 100,000.
    uint64_t max_visitors;
    // The memory for them in bytes, at least 1 MiB; by default 2 KiB per visitor, but at least 64 MiB.
    uint64_t max_visitor_bytes;
    // How long a visitor's state is kept after its last change; at least 1,000. By default no such limit.
    uint64_t visitor_ttl;
    // The hash seed; by default 9999. Any other value buckets visitors differently from every other SDK.
    uint32_t hash_seed;
    // The number of bucket values; by default 10,000, which layouts are designed for.
    uint32_t max_traffic;
    // Not 0: variations of packed layouts keep the config's order, as in the Python and PHP SDKs, instead of
    // the JavaScript SDK's.
    uint32_t bucket_order_of_config;
    // Not 0: allows plain HTTP to loopback hosts, for tests.
    uint32_t danger_allow_http_on_loopback;
    // Where configs come from, instead of Convert's CDN.
    struct ConvertText config_base_url;
    // Where events go, instead of Convert's endpoint.
    struct ConvertText track_base_url;
    // The SDK key's secret.
    struct ConvertText auth_secret;
    // The proxy's URL; by default none, whatever the environment variables say.
    struct ConvertText proxy;
    // Certificate authorities to trust besides Mozilla's, in PEM.
    struct ConvertText root_certificates_pem;
    // Headers for config fetches; deliveries have none.
    const struct ConvertHeader *headers;
    // The number of headers.
    size_t header_count;
    // The time limit for connecting; by default 10,000.
    uint64_t connect_timeout;
    // The time limit for a whole request; by default 10,000.
    uint64_t total_timeout;
    // The limit on a response's body in bytes, decompressed too; by default 32 MiB.
    uint64_t max_response_bytes;
    // Records that may wait for the tracker: 1 to 1,048,576; by default 16,384.
    uint64_t queue_capacity;
    // Records that may wait for delivery; by default 65,536.
    uint64_t max_pending_records;
    // Bytes of records that may wait for delivery; by default 32 MiB.
    uint64_t max_pending_bytes;
    // Events in one request: 1 to 10,000; by default 1,000, for a game loop 500.
    uint64_t max_request_events;
    // Bytes of records in one request; by default 1 MiB.
    uint64_t max_request_bytes;
    // Concurrent requests: 1 to 16; by default 2.
    uint64_t lanes;
    // The age at which an undelivered event is dropped and counted; at least 1,000, by default 24 hours.
    uint64_t max_age;
    // The longest wait after a first failed delivery; it doubles with each further one. By default 1,000.
    uint64_t backoff;
    // The longest wait after any; by default 60,000.
    uint64_t backoff_ceiling;
    // Not 0: when the queue is full, the new record is refused. By default the least valuable ones are
    // dropped.
    uint32_t drop_newest;
    // Consecutive failed deliveries that open the circuit breaker; by default 5.
    uint32_t breaker_threshold;
    // Not 0: the settings for a game loop, which keep requests rare and small. Not with `for_server`.
    uint32_t for_game_loop;
    // Not 0: nothing leaves this process, and records are counted as withheld; for development and tests.
    // Without `data_json` or `data_file` the core never becomes ready.
    uint32_t offline;
    // A file in which the last good config is kept, so that a restart succeeds while the endpoint is down;
    // not with a pump. By default none.
    struct ConvertText config_cache;
    // How long a config is used without being confirmed as current before `CONVERT_EVENT_KIND_CONFIG_STALE`
    // comes; with `sdk_key`. It should exceed `refresh_interval` several times. By default no such limit.
    uint64_t max_stale;
    // Not 0: a config older than `max_stale` no longer decides, which is `CONVERT_STATUS_WITHDRAWN`.
    uint32_t withdraw_when_stale;
    // Not 0: each batch of events has an id, the header `convert-batch-id`, for an endpoint that takes a batch once for
    // each id, as `convert-relay` does.
    uint32_t batch_ids;
    // Asked about each config that is fetched or cached, before it is used. May be null.
    ConvertAcceptCallback accept_config;
    // Passed to `accept_config`.
    void *accept_user;
    // Called once with `accept_user`, when no core needs it any more; not if no core was created, which leaves
    // it to the application. May be null.
    ConvertRelease accept_release;
} ConvertConfig;

// The result of a flush or a shutdown, in records. Set `size` before the call.
typedef struct ConvertFlushReport {
    // `sizeof(ConvertFlushReport)`.
    size_t size;
    // Accepted by the endpoint while the call waited.
    uint64_t delivered;
    // Dropped since the last flush that ended with `CONVERT_STATUS_OK` or `CONVERT_STATUS_INCOMPLETE`; for a
    // shutdown, also what its close dropped.
    uint64_t dropped;
    // Kept, and retried unless the core is closed.
    uint64_t pending;
} ConvertFlushReport;

// The ledger of a core, in records: each exposure and each conversion is one. Always
// `recorded == deduplicated + delivered + withheld + pending + dropped`. Set `size` before the call.
typedef struct ConvertStats {
    // `sizeof(ConvertStats)`.
    size_t size;
    // All exposures and conversions handed to the tracker, including those it refused.
    uint64_t recorded;
    // Duplicates, for which nothing is sent.
    uint64_t deduplicated;
    // Accepted by the endpoint.
    uint64_t delivered;
    // Neither delivered nor dropped yet.
    uint64_t pending;
    // Lost, for any reason.
    uint64_t dropped;
    // Wire events in the delivered records; a conversion with goal data is two.
    uint64_t delivered_events;
    // Delivery requests sent.
    uint64_t requests;
    // How many of them carried records that an earlier one had carried.
    uint64_t retries;
    // How many of them ended without a response.
    uint64_t fate_unknown;
    // Bytes of all request bodies.
    uint64_t sent_bytes;
    // Lifecycle events that a slow callback or subscriber missed.
    uint64_t events_missed;
    // Caught panics.
    uint64_t panics;
    // The number of forks between the process that first used the library and this one.
    uint64_t fork_generation;
    // Withheld by an offline core.
    uint64_t withheld;
} ConvertStats;

// Options of one evaluation, only read during the call. Set `size` and the rest to zero, then what you need.
typedef struct ConvertRunOptions {
    // `sizeof(ConvertRunOptions)`.
    size_t size;
    // Merged over the context's attributes for this call.
    const struct ConvertAttribute *attributes;
    // The number of attributes.
    size_t attribute_count;
    // Merged over the context's location attributes for this call.
    const struct ConvertAttribute *location;
    // The number of location attributes.
    size_t location_count;
    // The environment for this call, instead of the configured one.
    struct ConvertText environment;
    // Forces the variation with this id for a visitor who passes every check of the experience.
    struct ConvertText force_variation_id;
    // The experiences that a feature call evaluates; none means all.
    const struct ConvertText *experience_keys;
    // The number of keys.
    size_t experience_key_count;
    // Not 0: the exposure is not recorded.
    uint32_t tracking_off;
    // Not 0: a new decision is not remembered.
    uint32_t storage_off;
    // Not 0: feature variables are as served instead of converted to their declared types.
    uint32_t type_casting_off;
    // Must be zero.
    uint32_t reserved;
} ConvertRunOptions;

// A feature as one variation carries it. Set `size`, and the rest to zero, before the call. Its texts and
// variables are valid until the context is changed or freed.
typedef struct ConvertFeature {
    // `sizeof(ConvertFeature)`.
    size_t size;
    // The feature's id.
    struct ConvertText feature_id;
    // The feature's key.
    struct ConvertText feature_key;
    // The feature's name, if it has one.
    struct ConvertText feature_name;
    // The id of the experience that carries the feature.
    struct ConvertText experience_id;
    // The key of the experience that carries the feature.
    struct ConvertText experience_key;
    // The id of the variation that carries the feature.
    struct ConvertText variation_id;
    // The key of the variation that carries the feature.
    struct ConvertText variation_key;
    // The number of variables.
    size_t variable_count;
    // For the library; do not change.
    size_t reserved[10];
} ConvertFeature;

// Called with a log message, which is valid during the call and contains no secrets or visitor data. It must
// not throw, unwind or `longjmp`, nor call this library.
typedef void (*ConvertLogCallback)(void *user, ConvertLogLevel level, struct ConvertText message);

// What a turn did, and what is left. Set `size` before the call.
typedef struct ConvertPumpReport {
    // `sizeof(ConvertPumpReport)`.
    size_t size;
    // Callbacks that were called.
    uint64_t handlers_run;
    // Requests that became ready for `convert_pump_next_request`.
    uint64_t requests_started;
    // Requests that were concluded: answered, timed out or ended by a close.
    uint64_t requests_ended;
    // Not 0: there was more to do than the budget allowed.
    uint64_t work_left;
    // In how many microseconds there is work again if nothing else happens; `UINT64_MAX` if none is to come.
    uint64_t next_due;
} ConvertPumpReport;

// A visitor's variation of an experience. Set `size` before the call. The texts are valid until the context
// is changed or freed.
typedef struct ConvertExperience {
    // `sizeof(ConvertExperience)`.
    size_t size;
    // Where the decision came from.
    ConvertSource source;
    // The bucket value, if `source` is `CONVERT_SOURCE_HASHED`.
    uint32_t bucket_value;
    // The experience's id.
    struct ConvertText experience_id;
    // The experience's key.
    struct ConvertText experience_key;
    // The experience's name, if it has one.
    struct ConvertText experience_name;
    // The variation's id.
    struct ConvertText variation_id;
    // The variation's key; empty if the config has none.
    struct ConvertText variation_key;
    // The variation's name, if it has one.
    struct ConvertText variation_name;
} ConvertExperience;

// An entry of a conversion's data. The last value of a duplicate key counts.
typedef struct ConvertGoalData {
    // Which one: a `ConvertGoalKey`.
    uint32_t key;
    // `CONVERT_KIND_NUMBER` or `CONVERT_KIND_TEXT`.
    uint32_t kind;
    // The value of a number; must be finite.
    double number;
    // The value of a text.
    struct ConvertText text;
} ConvertGoalData;

// Options of a conversion, only read during the call. Set `size` and the rest to zero, then what you need.
typedef struct ConvertConversionOptions {
    // `sizeof(ConvertConversionOptions)`.
    size_t size;
    // The goal data, including the revenue. An empty list that is not null counts as goal data, too.
    const struct ConvertGoalData *data;
    // The number of entries.
    size_t data_count;
    // Converts only if the goal's rules match these. With a null pointer the rules are not evaluated.
    const struct ConvertAttribute *rule_data;
    // The number of attributes.
    size_t rule_data_count;
    // Not 0: the goal data of every call is sent, even if the visitor has already converted the goal.
    // Otherwise later orders are not sent, whatever their revenue.
    uint32_t force_multiple;
    // Must be zero.
    uint32_t reserved;
} ConvertConversionOptions;

// Called with an event as JSON text, which is valid during the call and identifies visitors by a hash. It
// must not throw, unwind or `longjmp`, nor wait for the core. The pump whose turn calls it is busy until that
// turn ends: see `ConvertPump`.
typedef void (*ConvertEventCallback)(void *user, ConvertEventKind kind, struct ConvertText json);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The text; valid as long as the string. Any thread.
struct ConvertText convert_string_text(const struct ConvertString *string);

// Frees the string; no other thread may be in a call with it. Null is allowed.
void convert_string_free(struct ConvertString *string);

// Makes a context for a visitor. The attributes apply to this context only; report keys among them (`country`,
// `browser`, ...) become segments, which are remembered. Does not wait.
//
// `CONVERT_STATUS_NOT_READY` or `CONVERT_STATUS_CLOSED` if the core is not ready or closed. Any thread.
ConvertStatus convert_context_new(const struct ConvertCore *core,
                                  struct ConvertText visitor_id,
                                  const struct ConvertAttribute *items,
                                  size_t count,
                                  struct ConvertContext **context);

// Frees the context and everything that results borrow from it; no other thread may be in a call with it. Null
// is allowed.
void convert_context_free(struct ConvertContext *context);

// The visitor's id; valid as long as the context. Any thread.
struct ConvertText convert_context_visitor_id(const struct ConvertContext *context);

// Sets attributes for this context and the visitor's later ones, replacing equal names. Changes the context:
// no other thread may be in a call with it.
ConvertStatus convert_context_set_attributes(struct ConvertContext *context,
                                             const struct ConvertAttribute *items,
                                             size_t count);

// Replaces the location attributes, against which location rules are evaluated. Changes the context:
// no other thread may be in a call with it.
ConvertStatus convert_context_set_location(struct ConvertContext *context,
                                           const struct ConvertAttribute *items,
                                           size_t count);

// Sets segments for this context and the visitor's later ones; only report keys are kept. Changes the context:
// no other thread may be in a call with it.
ConvertStatus convert_context_set_segments(struct ConvertContext *context,
                                           const struct ConvertAttribute *items,
                                           size_t count);

// Records the custom segments with these keys that the visitor belongs to; the attributes are merged over
// the visitor's for this call only. `matched`, which may be null, receives the ids that were newly recorded;
// free it with `convert_texts_free`. Changes the context: no other thread may be in a call with it.
ConvertStatus convert_context_run_custom_segments(struct ConvertContext *context,
                                                  const struct ConvertText *keys,
                                                  size_t key_count,
                                                  const struct ConvertAttribute *items,
                                                  size_t count,
                                                  struct ConvertTexts **matched);

// The number of texts. Any thread.
size_t convert_texts_count(const struct ConvertTexts *texts);

// The text at an index from 0; valid as long as the list. Any thread.
struct ConvertText convert_texts_at(const struct ConvertTexts *texts, size_t index);

// Frees the list; no other thread may be in a call with it. Null is allowed.
void convert_texts_free(struct ConvertTexts *texts);

// Forces one variation of one experience, given by their ids, in this context; nothing is stored or recorded
// meanwhile. An experience that is not in the config is fetched, waiting up to 10 s; on a core with a pump the
// call returns `CONVERT_STATUS_WOULD_BLOCK` instead, and is to be repeated once the request that it caused has
// been answered. On failure, any earlier preview is off. Changes the context: no other thread may be in a call
// with it.
ConvertStatus convert_context_set_preview(struct ConvertContext *context,
                                          struct ConvertText experience_id,
                                          struct ConvertText variation_id);

// Like `convert_context_set_preview`, with the value of a preview parameter, such as `100218245.1002185190`;
// `CONVERT_STATUS_PREVIEW_MALFORMED` if it is not one. Changes the context: no other thread may be in a call with it.
ConvertStatus convert_context_set_preview_param(struct ConvertContext *context,
                                                struct ConvertText param);

// Turns the preview off. Changes the context: no other thread may be in a call with it.
ConvertStatus convert_context_clear_preview(struct ConvertContext *context);

// Whether a preview is on. Any thread.
bool convert_context_is_preview(const struct ConvertContext *context);

// Creates a core. It starts no thread and uses no network until needed.
//
// Fails with `CONVERT_STATUS_INVALID_OPTION` and the like; `*core` is then null. Any thread.
ConvertStatus convert_core_new(const struct ConvertConfig *options, struct ConvertCore **core);

// Frees the core's handle; no other thread may be in a call with it. This delivers nothing: call
// `convert_core_shutdown` first. Contexts stay usable, and the core's threads end with the last of them.
// Null is allowed.
void convert_core_free(struct ConvertCore *core);

// Loads the first config, waiting up to `timeout` milliseconds (0: the configured time). Does nothing if the
// core is ready; after a failure it can be called again. Any thread.
ConvertStatus convert_core_initialize(const struct ConvertCore *core, uint64_t timeout);

// Whether the core has a config. Never waits. Any thread.
bool convert_core_is_ready(const struct ConvertCore *core);

// Triggers a fetch of the config and returns at once. Any thread.
ConvertStatus convert_core_refresh_soon(const struct ConvertCore *core);

// Fetches the config, waiting up to `timeout` milliseconds. Existing contexts keep theirs. Any thread.
ConvertStatus convert_core_refresh(const struct ConvertCore *core, uint64_t timeout);

// Waits up to `timeout` milliseconds until everything recorded before is delivered; if `single_attempt` is
// not 0, the wait ends with the first failed attempt. `report` may be null. Any thread except that of an
// event callback.
//
// `CONVERT_STATUS_OK` means that everything was delivered and nothing was lost since the last flush.
ConvertStatus convert_core_flush(const struct ConvertCore *core,
                                 uint64_t timeout,
                                 uint32_t single_attempt,
                                 struct ConvertFlushReport *report);

// Flushes and closes, waiting up to `timeout` milliseconds for both. The core is closed in any case: nothing
// is recorded afterwards, but contexts still decide. `report` may be null. Any thread except that of an
// event callback.
ConvertStatus convert_core_shutdown(const struct ConvertCore *core,
                                    uint64_t timeout,
                                    struct ConvertFlushReport *report);

// Closes without a flush; waits up to 5 s for the core's threads. `final_stats` may be null. With a pump it
// only begins to close, and `final_stats` is the ledger at that moment: see `convert_pump_close`. Any thread
// except that of an event callback of a core with threads.
ConvertStatus convert_core_close(const struct ConvertCore *core, struct ConvertStats *final_stats);

// Flushes the core at a normal exit of the process, for at most `timeout` milliseconds, unless the core was
// freed before. `CONVERT_STATUS_UNSUPPORTED` if the system gives no notice of an exit, and for a core with a
// pump. Any thread.
ConvertStatus convert_core_flush_at_exit(const struct ConvertCore *core, uint64_t timeout);

// The current ledger. Never waits. Any thread.
ConvertStatus convert_core_stats(const struct ConvertCore *core, struct ConvertStats *result);

// The whole ledger, with the reasons of drops, as JSON text, to be freed with `convert_string_free`. Any
// thread.
ConvertStatus convert_core_stats_json(const struct ConvertCore *core, struct ConvertString **json);

// What an experience would decide, and why, step by step; nothing is stored or recorded. `call_options` may be
// null. Free the JSON text with `convert_string_free`. Any thread.
ConvertStatus convert_context_diagnose_experience(const struct ConvertContext *context,
                                                  struct ConvertText key,
                                                  const struct ConvertRunOptions *call_options,
                                                  struct ConvertString **json);

// Why a visitor has a feature or not; otherwise like `convert_context_diagnose_experience`. Any thread.
ConvertStatus convert_context_diagnose_feature(const struct ConvertContext *context,
                                               struct ConvertText key,
                                               const struct ConvertRunOptions *call_options,
                                               struct ConvertString **json);

// Whether the config has a goal; otherwise like `convert_context_diagnose_experience`. Any thread.
ConvertStatus convert_context_diagnose_goal(const struct ConvertContext *context,
                                            struct ConvertText key,
                                            struct ConvertString **json);

// An entity of the config as served. `kind` is `experience`, `feature`, `goal`, `audience`, `segment`,
// `location` or `variation`. `CONVERT_STATUS_NOT_IN_CONFIG` if none has this key. For occasional use. Any
// thread.
ConvertStatus convert_context_entity(const struct ConvertContext *context,
                                     struct ConvertText kind,
                                     struct ConvertText key,
                                     struct ConvertString **json);

// Like `convert_context_entity`, by the entity's id. Any thread.
ConvertStatus convert_context_entity_by_id(const struct ConvertContext *context,
                                           struct ConvertText kind,
                                           struct ConvertText id,
                                           struct ConvertString **json);

// A feature, with the variables of the first of the visitor's experiences that carries it. Decides,
// remembers and reports every experience that it evaluates.
//
// `call_options` may be null. `CONVERT_STATUS_NOT_IN_CONFIG` or `CONVERT_STATUS_NOT_CARRIED` if the visitor does
// not have it; `result` is then unchanged. Any thread.
ConvertStatus convert_context_run_feature(const struct ConvertContext *context,
                                          struct ConvertText key,
                                          const struct ConvertRunOptions *call_options,
                                          struct ConvertFeature *result);

// Like `convert_context_run_feature`, without the key lookup. Any thread.
ConvertStatus convert_context_run_feature_by_handle(const struct ConvertContext *context,
                                                    const struct ConvertFeatureHandle *handle,
                                                    const struct ConvertRunOptions *call_options,
                                                    struct ConvertFeature *result);

// Every feature that one of the visitor's experiences carries. `call_options` may be null. Any thread.
ConvertStatus convert_context_run_features(const struct ConvertContext *context,
                                           const struct ConvertRunOptions *call_options,
                                           struct ConvertFeatures **results);

// The number of features. Any thread.
size_t convert_features_count(const struct ConvertFeatures *results);

// The feature at an index from 0; `CONVERT_STATUS_NOTHING` beyond the last. Any thread.
ConvertStatus convert_features_at(const struct ConvertFeatures *results,
                                  size_t index,
                                  struct ConvertFeature *result);

// Frees the list; no other thread may be in a call with it. Null is allowed.
void convert_features_free(struct ConvertFeatures *results);

// A boolean variable; `CONVERT_STATUS_NO_VARIABLE` if none has that name and type. Any thread.
ConvertStatus convert_feature_boolean(const struct ConvertFeature *feature,
                                      struct ConvertText key,
                                      bool *value);

// An integer variable; `CONVERT_STATUS_NO_VARIABLE` if none has that name, or its value is not an integer
// that fits. Any thread.
ConvertStatus convert_feature_integer(const struct ConvertFeature *feature,
                                      struct ConvertText key,
                                      int64_t *value);

// A number variable; `CONVERT_STATUS_NO_VARIABLE` if none has that name and type. Any thread.
ConvertStatus convert_feature_number(const struct ConvertFeature *feature,
                                     struct ConvertText key,
                                     double *value);

// A text variable; `CONVERT_STATUS_NO_VARIABLE` if none has that name and type. The text is valid until the
// context is changed or freed. Any thread.
ConvertStatus convert_feature_text(const struct ConvertFeature *feature,
                                   struct ConvertText key,
                                   struct ConvertText *value);

// A variable of any type as JSON text, to be freed with `convert_string_free`; `CONVERT_STATUS_NO_VARIABLE`
// if none has that name. Any thread.
ConvertStatus convert_feature_json(const struct ConvertFeature *feature,
                                   struct ConvertText key,
                                   struct ConvertString **json);

// The variable at an index from 0, in order of name; `CONVERT_STATUS_NO_VARIABLE` beyond the last. For a
// list or an object only the kind and the count are set; `convert_feature_json` has the rest. The texts are
// valid until the context is changed or freed. Any thread.
ConvertStatus convert_feature_variable_at(const struct ConvertFeature *feature,
                                          size_t index,
                                          struct ConvertAttribute *value);

// A handle to an experience. With a core, `CONVERT_STATUS_NOT_IN_CONFIG` if its config lacks the key, and
// `CONVERT_STATUS_NOT_READY` if it has no config; with a null core nothing is checked, so the handle can be
// created at any time. Any thread.
ConvertStatus convert_experience_handle_new(const struct ConvertCore *core,
                                            struct ConvertText key,
                                            struct ConvertExperienceHandle **handle);

// Frees the handle; no other thread may be in a call with it. Null is allowed.
void convert_experience_handle_free(struct ConvertExperienceHandle *handle);

// A handle to a feature; see `convert_experience_handle_new`. Any thread.
ConvertStatus convert_feature_handle_new(const struct ConvertCore *core,
                                         struct ConvertText key,
                                         struct ConvertFeatureHandle **handle);

// Frees the handle; no other thread may be in a call with it. Null is allowed.
void convert_feature_handle_free(struct ConvertFeatureHandle *handle);

// A handle to a goal; see `convert_experience_handle_new`. Any thread.
ConvertStatus convert_goal_handle_new(const struct ConvertCore *core,
                                      struct ConvertText key,
                                      struct ConvertGoalHandle **handle);

// Frees the handle; no other thread may be in a call with it. Null is allowed.
void convert_goal_handle_free(struct ConvertGoalHandle *handle);

// Sends the log messages of all cores in the process to a callback, up to `level` (a `ConvertLogLevel`);
// without one they are discarded. It is called on any thread, several at a time, for the rest of the
// process: `user` must allow that. Once per process: `CONVERT_STATUS_UNSUPPORTED` from the second call on.
// Any thread.
ConvertStatus convert_log_to(uint32_t level, ConvertLogCallback callback, void *user, ConvertRelease release);

// Creates a core without threads, and the pump that does its work: no thread ever exists, and no call waits.
// Calls that wait with a threaded core are questions to the pump; the core's own versions of them return
// `CONVERT_STATUS_WOULD_BLOCK`, except `convert_core_close`, which begins to close and returns.
// `for_game_loop` in the configuration suits it. On failure, both are null. Any thread.
ConvertStatus convert_core_new_pumped(const struct ConvertConfig *options,
                                      struct ConvertCore **core,
                                      struct ConvertPump **pump);

// Works for about `budget` microseconds; if there is work, does at least one step. Callbacks are called in it,
// on this thread; in one, `CONVERT_STATUS_BUSY`. `report` may be null. One thread at a time.
ConvertStatus convert_pump_turn(struct ConvertPump *pump,
                                uint64_t budget,
                                struct ConvertPumpReport *report);

// The next request to carry, to be freed with `convert_request_free`; `CONVERT_STATUS_NOTHING` if there is
// none, `CONVERT_STATUS_BUSY` in a callback. Call it after each turn until it returns that. Follow no
// redirects, and verify the server's certificate. One thread at a time.
ConvertStatus convert_pump_next_request(struct ConvertPump *pump, struct ConvertRequest **request);

// Takes the response to a request: the HTTP status, the headers (of which only `etag`, `retry-after` and
// `date` are used; one that is not UTF-8 is skipped) and the body, decompressed. The next turns handle it.
// `CONVERT_STATUS_NOTHING` if it was not expected: it is late, a duplicate, or for no request;
// `CONVERT_STATUS_BUSY` in a callback. One thread at a time.
ConvertStatus convert_pump_answer(struct ConvertPump *pump,
                                  uint64_t request_id,
                                  uint16_t http_status,
                                  const struct ConvertHeader *headers,
                                  size_t header_count,
                                  struct ConvertText body);

// Takes the failure of a request. `was_sent` not 0: the server may have received it, for example after a
// timeout. 0: nothing reached it, for example without a connection. Otherwise like `convert_pump_answer`.
// One thread at a time.
ConvertStatus convert_pump_fail(struct ConvertPump *pump, uint64_t request_id, uint32_t was_sent);

// Requests the first config, like `convert_core_initialize`. `CONVERT_STATUS_BUSY` in a callback.
// One thread at a time.
ConvertStatus convert_pump_initialize(const struct ConvertPump *pump, struct ConvertQuestion **question);

// Requests a new config, like `convert_core_refresh`. `CONVERT_STATUS_BUSY` in a callback. One thread
// at a time.
ConvertStatus convert_pump_refresh(const struct ConvertPump *pump,
                                   uint64_t timeout,
                                   struct ConvertQuestion **question);

// Requests a flush, like `convert_core_flush`. `CONVERT_STATUS_BUSY` in a callback. One thread at a
// time.
ConvertStatus convert_pump_flush(const struct ConvertPump *pump,
                                 uint64_t timeout,
                                 uint32_t single_attempt,
                                 struct ConvertQuestion **question);

// Requests a shutdown, like `convert_core_shutdown`; answered by its deadline if turns continue. With a large backlog
// the answer may come with records still pending: further turns count them as dropped, until the ledger's `pending` is 0.
// `CONVERT_STATUS_BUSY` in a callback. One thread at a time.
ConvertStatus convert_pump_shutdown(const struct ConvertPump *pump,
                                    uint64_t timeout,
                                    struct ConvertQuestion **question);

// Requests a close without a flush. Once it is answered, `convert_core_stats` gives the final ledger, unless the
// turns came so late that the 5 s of a close were over first: then the turns that follow complete it.
// `CONVERT_STATUS_BUSY` in a callback. One thread at a time.
ConvertStatus convert_pump_close(const struct ConvertPump *pump,
                                 struct ConvertQuestion **question);

// The answer to a question: `CONVERT_STATUS_PENDING` until a turn has given it, then, once, the status that
// the core's call would return. `report`, which may be null, is filled for a flush and a shutdown. Any
// thread, one at a time, even in a callback.
ConvertStatus convert_question_check(struct ConvertQuestion *question, struct ConvertFlushReport *report);

// Frees the question; the operation continues. Null is allowed. Any thread, even in a callback.
void convert_question_free(struct ConvertQuestion *question);

// The id of a request, for `convert_pump_answer` and `convert_pump_fail`; never 0. Any thread.
uint64_t convert_request_id(const struct ConvertRequest *request);

// `GET` or `POST`. Any thread.
struct ConvertText convert_request_method(const struct ConvertRequest *request);

// The URL, which contains the SDK key. Any thread.
struct ConvertText convert_request_url(const struct ConvertRequest *request);

// The body; empty for a `GET`. Any thread.
struct ConvertText convert_request_body(const struct ConvertRequest *request);

// The time limit for the whole request in milliseconds, starting when it was handed out. Any thread.
uint64_t convert_request_timeout(const struct ConvertRequest *request);

// The number of headers to send. Any thread.
size_t convert_request_header_count(const struct ConvertRequest *request);

// The header at an index from 0; `CONVERT_STATUS_NOTHING` beyond the last. Any thread.
ConvertStatus convert_request_header_at(const struct ConvertRequest *request,
                                        size_t index,
                                        struct ConvertHeader *header);

// Frees the request, answered or not; no other thread may be in a call with it. Null is allowed.
void convert_request_free(struct ConvertRequest *request);

// Frees the pump, which closes the core and delivers nothing: request a shutdown first. In a callback
// the pump is freed when its turn ends; do not use it any more. Null is allowed. One thread at a time.
void convert_pump_free(struct ConvertPump *pump);

// The variation of one experience for this visitor. A new decision is remembered, and the visitor's first exposure
// recorded, without waiting.
//
// `call_options` may be null. Without a variation, the status says why (`CONVERT_STATUS_NOT_IN_CONFIG` and the
// following), and `result` is unchanged. Any thread.
ConvertStatus convert_context_run_experience(const struct ConvertContext *context,
                                             struct ConvertText key,
                                             const struct ConvertRunOptions *call_options,
                                             struct ConvertExperience *result);

// Like `convert_context_run_experience`, without the key lookup. Any thread.
ConvertStatus convert_context_run_experience_by_handle(const struct ConvertContext *context,
                                                       const struct ConvertExperienceHandle *handle,
                                                       const struct ConvertRunOptions *call_options,
                                                       struct ConvertExperience *result);

// Every experience that has a variation for this visitor, in config order. `call_options` may be null.
// Any thread.
ConvertStatus convert_context_run_experiences(const struct ConvertContext *context,
                                              const struct ConvertRunOptions *call_options,
                                              struct ConvertExperiences **results);

// The number of experiences. Any thread.
size_t convert_experiences_count(const struct ConvertExperiences *results);

// The experience at an index from 0; `CONVERT_STATUS_NOTHING` beyond the last. Any thread.
ConvertStatus convert_experiences_at(const struct ConvertExperiences *results,
                                     size_t index,
                                     struct ConvertExperience *result);

// Frees the list; no other thread may be in a call with it. Null is allowed.
void convert_experiences_free(struct ConvertExperiences *results);

// The error of this thread's last failed call (a status below 40), in English, without secrets and visitor
// data; empty if none has failed yet. Valid until this thread's next failed call.
struct ConvertText convert_last_error(void);

// The status that belongs to `convert_last_error`, also this thread's; `CONVERT_STATUS_OK` if there is none. Any
// thread.
ConvertStatus convert_last_status(void);

// The version of the library, such as `0.1.0`. Valid forever. Any thread.
struct ConvertText convert_version(void);

// Records that the visitor reached a goal. Never waits. A conversion counts once per visitor and goal; see
// `force_multiple`.
//
// `call_options` may be null. `CONVERT_STATUS_OK` means that the record was handed to the tracker; any other
// status says why not. Any thread.
ConvertStatus convert_context_track(const struct ConvertContext *context,
                                    struct ConvertText goal_key,
                                    const struct ConvertConversionOptions *call_options);

// Like `convert_context_track`, without the key lookup. Any thread.
ConvertStatus convert_context_track_by_handle(const struct ConvertContext *context,
                                              const struct ConvertGoalHandle *handle,
                                              const struct ConvertConversionOptions *call_options);

// Like `convert_context_track`, but waits up to `timeout` milliseconds for the tracker to say whether it is
// a duplicate: `CONVERT_STATUS_DEDUPLICATED`, or `CONVERT_STATUS_UNCONFIRMED` if it does not say in time.
// Any thread.
ConvertStatus convert_context_track_confirmed(const struct ConvertContext *context,
                                              struct ConvertText goal_key,
                                              const struct ConvertConversionOptions *call_options,
                                              uint64_t timeout);

// Calls back for every event of one kind (a `ConvertEventKind`) from now on, one at a time: on the library's
// thread `convert-events`, or, with a pump, in `convert_pump_turn`. Events beyond 1,024 waiting ones are
// missed. On a closed core nothing is called.
//
// `release` may be null. It is called once, when no callback is to come any more: after the core has closed,
// or when the last user of the core has freed it, on the thread of the callback, of that user, or of the one that
// closes a pumped core; at once if the core is closed already, which is `CONVERT_STATUS_OK`, or if this call fails.
// Any thread.
ConvertStatus convert_core_on(const struct ConvertCore *core,
                              uint32_t kind,
                              ConvertEventCallback callback,
                              void *user,
                              ConvertRelease release);

// Keeps every event from now on until it is read by `convert_subscription_next`. Needs no thread of its own.
// Any thread.
ConvertStatus convert_core_subscribe(const struct ConvertCore *core, struct ConvertSubscription **subscription);

// The next waiting event as JSON text, to be freed with `convert_string_free`; `CONVERT_STATUS_NOTHING` if
// there is none. `kind` may be null. Never waits. One thread at a time.
ConvertStatus convert_subscription_next(const struct ConvertSubscription *subscription,
                                        ConvertEventKind *kind,
                                        struct ConvertString **json);

// Ends the subscription; no other thread may be in a call with it. Null is allowed.
void convert_subscription_free(struct ConvertSubscription *subscription);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CONVERT_H */

#ifndef CONVERT_INLINE
#ifdef __cplusplus
#define CONVERT_INLINE inline
#else
#define CONVERT_INLINE static inline
#endif

// A zero-terminated string as text; no text for a null pointer.
CONVERT_INLINE ConvertText convert_text(const char *string)
{
    ConvertText text = {string, string == NULL ? 0 : strlen(string)};
    return text;
}

CONVERT_INLINE ConvertAttribute convert_attribute(const char *name, ConvertKind kind)
{
    ConvertAttribute attribute;
    memset(&attribute, 0, sizeof attribute);
    attribute.name = convert_text(name);
    attribute.kind = kind;
    return attribute;
}

CONVERT_INLINE ConvertAttribute convert_attribute_text(const char *name, ConvertText text)
{
    ConvertAttribute attribute = convert_attribute(name, CONVERT_KIND_TEXT);
    attribute.text = text;
    return attribute;
}

CONVERT_INLINE ConvertAttribute convert_attribute_number(const char *name, double number)
{
    ConvertAttribute attribute = convert_attribute(name, CONVERT_KIND_NUMBER);
    attribute.number = number;
    return attribute;
}

CONVERT_INLINE ConvertAttribute convert_attribute_boolean(const char *name, bool boolean)
{
    ConvertAttribute attribute = convert_attribute(name, CONVERT_KIND_BOOLEAN);
    attribute.boolean = boolean ? 1 : 0;
    return attribute;
}

CONVERT_INLINE ConvertGoalData convert_goal_number(ConvertGoalKey key, double number)
{
    ConvertGoalData data;
    memset(&data, 0, sizeof data);
    data.key = key;
    data.kind = CONVERT_KIND_NUMBER;
    data.number = number;
    return data;
}

CONVERT_INLINE ConvertGoalData convert_goal_text(ConvertGoalKey key, ConvertText text)
{
    ConvertGoalData data;
    memset(&data, 0, sizeof data);
    data.key = key;
    data.kind = CONVERT_KIND_TEXT;
    data.text = text;
    return data;
}
#endif  /* CONVERT_INLINE */
