/* Answers recorded decisions through the C API: JSON lines on standard input, in the format of tests/parity/vectors. */
#define _POSIX_C_SOURCE 200809L

#include "convert.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

/* What is compared, at least how often, and how often it was. What an application never sees, the payload, is the
   replay's in Rust. The numbers of the vectors, rounded down. */
enum part { SEGMENTS, DECISIONS, EXPERIENCES, AGAIN, FEATURES, VARIABLES, ALL_FEATURES, CONVERSIONS, PREVIEWS, PARTS };
static const struct { const char *name; long least; } parts[PARTS] = {
    {"custom segments", 770}, {"decisions", 12500}, {"lists of experiences", 2200}, {"the same lists again", 2200},
    {"features", 51000}, {"variables", 24000}, {"lists of features", 2150}, {"conversions", 2900}, {"previews", 1500},
};
static long compared[PARTS];

/* Why a line, or a part of one, is not compared. */
enum reason { STATE, ZERO, THROWS, RULED, REASONS };
static const char *const reasons[REASONS] = {
    "lines with stored state, which C has no data store for",
    "lines with a zero in a text, where cJSON ends it",
    "answers that JavaScript throws instead of, with none recommended",
    "answers that a ruling in docs/parity.md changes",
};
static long left_out[REASONS], different;

/* Attributes are made for one call; what they are made of lives until the next line. */
static ConvertAttribute *pool[4096];
static size_t pooled;

static ConvertAttribute *attributes(const cJSON *object, size_t *count);

static ConvertAttribute value(const cJSON *json)
{
    ConvertAttribute attribute = convert_attribute(json->string, CONVERT_KIND_NULL);
    if (json->string == NULL) {
        attribute.name = convert_text("");
    }
    if (cJSON_IsBool(json)) {
        attribute.kind = CONVERT_KIND_BOOLEAN;
        attribute.boolean = cJSON_IsTrue(json) ? 1 : 0;
    } else if (cJSON_IsNumber(json)) {
        attribute.kind = CONVERT_KIND_NUMBER;
        attribute.number = json->valuedouble;
    } else if (cJSON_IsString(json)) {
        attribute.kind = CONVERT_KIND_TEXT;
        attribute.text = convert_text(json->valuestring);
    } else if (cJSON_IsArray(json) || cJSON_IsObject(json)) {
        attribute.kind = cJSON_IsArray(json) ? CONVERT_KIND_LIST : CONVERT_KIND_OBJECT;
        attribute.items = attributes(json, &attribute.count);
    }
    return attribute;
}

static ConvertAttribute *attributes(const cJSON *object, size_t *count)
{
    ConvertAttribute *list;
    const cJSON *item;
    *count = 0;
    if (object == NULL || cJSON_IsNull(object) || pooled == sizeof pool / sizeof *pool) {
        return NULL;
    }
    list = calloc((size_t)cJSON_GetArraySize(object) + 1, sizeof *list);
    pool[pooled++] = list;
    cJSON_ArrayForEach(item, object)
    {
        list[(*count)++] = value(item);
    }
    return list;
}


static const cJSON *in(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* What a config has as a number or a truth value is text here. To be freed. */
static char *text_of(const cJSON *json)
{
    return cJSON_IsString(json) ? strdup(json->valuestring) : json != NULL ? cJSON_PrintUnformatted(json) : NULL;
}

static int is(ConvertText text, const cJSON *expected)
{
    char *wanted = text_of(expected);
    const int equal = wanted != NULL && text.length == strlen(wanted) && memcmp(text.data, wanted, text.length) == 0;
    free(wanted);
    return equal;
}

static int is_word(const cJSON *json, const char *word)
{
    return cJSON_IsString(json) && strcmp(json->valuestring, word) == 0;
}

static int are_equal(const cJSON *one, const cJSON *other)
{
    return cJSON_Compare(one, other, 1);
}

/* Counts an answer that is compared. */
static void check(int equal, enum part part, const char *id, const char *key, const cJSON *expected)
{
    compared[part]++;
    if (!equal) {
        char *wanted = cJSON_PrintUnformatted(expected);
        fprintf(stderr, "%s: %s: %s: expected %s\n", id, parts[part].name, key, wanted);
        free(wanted);
        different++;
    }
}

static int throws(const cJSON *expected)
{
    if (cJSON_HasObjectItem(expected, "throws")) {
        left_out[THROWS]++;
        return 1;
    }
    return 0;
}

/* JavaScript merges these maps before a rule sees them, which loses a name `__proto__`. */
static ConvertAttribute *merged(cJSON *object, size_t *count)
{
    cJSON_DeleteItemFromObjectCaseSensitive(object, "__proto__");
    return attributes(object, count);
}

/* One line, and what its contexts are made of. */
struct asked {
    const char *id;
    const cJSON *served, *request, *recommended;
    cJSON *expected;
    ConvertCore *core;
    const ConvertAttribute *attributes;
    size_t attribute_count;
    ConvertRunOptions options;
};

static ConvertCore *core_of(const cJSON *options, ConvertText served)
{
    const cJSON *environment = in(options, "environment");
    ConvertConfig config = {.size = sizeof config, .data_json = served, .batch_size = 10000};
    ConvertCore *core = NULL;
    /* Nobody listens there, and nothing is sent. */
    config.track_base_url = convert_text("http://127.0.0.1:9");
    config.danger_allow_http_on_loopback = 1;
    config.exclude_experience_id_hash = cJSON_IsTrue(in(options, "exclude_experience_id_hash")) ? 1 : 0;
    if (cJSON_IsString(environment)) {
        config.environment = convert_text(environment->valuestring);
    }
    if (convert_core_new(&config, &core) != CONVERT_STATUS_OK ||
        convert_core_initialize(core, 0) != CONVERT_STATUS_OK) {
        ConvertText why = convert_last_error();
        fprintf(stderr, "a config was refused: %.*s\n", (int)why.length, why.data);
        different++;
        convert_core_free(core);
        return NULL;
    }
    return core;
}

/* One more context of the visitor, with what the core remembers of them. */
static ConvertContext *context_of(const struct asked *asked)
{
    ConvertContext *context = NULL;
    size_t count;
    const ConvertAttribute *segments = attributes(in(asked->request, "default_segments"), &count);
    if (convert_context_new(asked->core, convert_text(in(asked->request, "visitor_id")->valuestring), asked->attributes,
                            asked->attribute_count, &context) != CONVERT_STATUS_OK) {
        fprintf(stderr, "%s: no context\n", asked->id);
        different++;
    }
    if (segments != NULL) {
        convert_context_set_segments(context, segments, count);
    }
    return context;
}

/* Recommended answers replace JavaScript's: whole parts, or only some of their keys. */
static void recommend(cJSON *expected, const cJSON *recommended)
{
    const cJSON *part, *key;
    cJSON_ArrayForEach(part, recommended)
    {
        cJSON *whole = cJSON_GetObjectItemCaseSensitive(expected, part->string);
        if (cJSON_IsObject(whole) && cJSON_IsObject(part) && !cJSON_HasObjectItem(whole, "throws")) {
            cJSON_ArrayForEach(key, part)
            {
                cJSON_DeleteItemFromObjectCaseSensitive(whole, key->string);
                cJSON_AddItemToObject(whole, key->string, cJSON_Duplicate(key, 1));
            }
        } else if (whole != NULL) {
            cJSON_ReplaceItemInObjectCaseSensitive(expected, part->string, cJSON_Duplicate(part, 1));
        }
    }
}

static const char *none_of(ConvertContext *context, ConvertStatus status)
{
    if (convert_context_visitor_id(context).length == 0 && status >= CONVERT_STATUS_NOT_IN_CONFIG) {
        return "no_visitor";
    }
    switch (status) {
    case CONVERT_STATUS_NOT_BUCKETED:
    case CONVERT_STATUS_OTHER_VARIATIONS:
        return "not_decided";
    default:
        return status >= CONVERT_STATUS_NOT_IN_CONFIG && status <= CONVERT_STATUS_UNDECIDED ? "no_match" : "an error";
    }
}

static void check_decision(ConvertContext *context, const struct asked *asked, enum part part, const cJSON *expected)
{
    const cJSON *bucket = in(expected, "bucket"), *none = in(expected, "none");
    ConvertRunOptions quiet = asked->options;
    ConvertExperience shown = {.size = sizeof shown};
    ConvertStatus status;
    int equal;
    quiet.storage_off = 1;
    quiet.tracking_off = 1;
    status = convert_context_run_experience(context, convert_text(expected->string), &quiet, &shown);
    if (none != NULL) {
        equal = is_word(none, none_of(context, status));
    } else {
        equal = status == CONVERT_STATUS_OK && is(shown.variation_id, in(expected, "variation_id")) &&
                (bucket != NULL) == (shown.source == CONVERT_SOURCE_HASHED) &&
                (bucket == NULL || shown.bucket_value == (uint32_t)bucket->valuedouble);
    }
    check(equal, part, asked->id, expected->string, expected);
}

/* Pairs of an experience key and a variation id, of which there are none without a visitor. */
static void check_experiences(ConvertContext *context, const ConvertRunOptions *options, enum part part, const char *id,
                              const cJSON *expected)
{
    ConvertExperiences *all = NULL;
    ConvertExperience shown = {.size = sizeof shown};
    const size_t count = cJSON_IsArray(expected) ? (size_t)cJSON_GetArraySize(expected) : 0;
    size_t at;
    int equal = convert_context_run_experiences(context, options, &all) == CONVERT_STATUS_OK &&
                convert_experiences_count(all) == count;
    for (at = 0; equal && at < count; at++) {
        const cJSON *pair = cJSON_GetArrayItem(expected, (int)at);
        equal = convert_experiences_at(all, at, &shown) == CONVERT_STATUS_OK &&
                is(shown.experience_key, cJSON_GetArrayItem(pair, 0)) &&
                is(shown.variation_id, cJSON_GetArrayItem(pair, 1));
    }
    check(equal, part, id, "all", expected);
    convert_experiences_free(all);
}

/* A variable by its own getter; every other getter says that it has no such variable. */
static int is_variable(const ConvertFeature *feature, const cJSON *expected)
{
    const ConvertText name = convert_text(expected->string);
    const cJSON *special = in(expected, "$js");
    bool boolean = false;
    double number = 0;
    int64_t integer = 0;
    ConvertText text = {NULL, 0};
    ConvertString *string = NULL;
    const int is_boolean = convert_feature_boolean(feature, name, &boolean) == CONVERT_STATUS_OK;
    const int is_number = convert_feature_number(feature, name, &number) == CONVERT_STATUS_OK;
    const int is_integer = convert_feature_integer(feature, name, &integer) == CONVERT_STATUS_OK;
    const int is_text = convert_feature_text(feature, name, &text) == CONVERT_STATUS_OK;
    int equal;
    if (convert_feature_json(feature, name, &string) != CONVERT_STATUS_OK) {
        return 0;
    }
    if (special != NULL) {
        /* JSON has no such number: the variable is as served. */
        equal = 1;
    } else if (cJSON_IsBool(expected)) {
        equal = is_boolean && !is_number && !is_integer && !is_text && boolean == cJSON_IsTrue(expected);
    } else if (cJSON_IsNumber(expected)) {
        equal = !is_boolean && is_number && !is_text && number == expected->valuedouble &&
                (!is_integer || (double)integer == expected->valuedouble);
    } else if (cJSON_IsString(expected)) {
        equal = !is_boolean && !is_number && !is_integer && is_text && is(text, expected);
    } else {
        const ConvertText json = convert_string_text(string);
        cJSON *value = cJSON_ParseWithLength(json.data, json.length);
        equal = !is_boolean && !is_number && !is_integer && !is_text && are_equal(value, expected);
        cJSON_Delete(value);
    }
    convert_string_free(string);
    return equal;
}

static int is_undefined(const cJSON *value)
{
    return is_word(in(value, "$js"), "undefined");
}

static void check_feature(const struct asked *asked, enum part part, const ConvertFeature *feature,
                          const cJSON *expected)
{
    const cJSON *variables = in(expected, "variables"), *variable;
    size_t count = 0;
    check(is(feature->feature_key, in(expected, "key")) && is(feature->feature_id, in(expected, "id")) &&
              is(feature->experience_key, in(expected, "experience_key")),
          part, asked->id, "a feature", expected);
    cJSON_ArrayForEach(variable, (is_undefined(variables) ? NULL : variables))
    {
        if (!is_undefined(variable)) {
            count++;
            check(is_variable(feature, variable), VARIABLES, asked->id, variable->string, expected);
        }
    }
    check(feature->variable_count == count, VARIABLES, asked->id, "their number", expected);
}

/* Whether there is a result for an entry: a disabled feature has none, nor has one that the config does not declare,
   which JavaScript returns without a key. */
static int is_enabled(const cJSON *entry)
{
    return !is_word(in(entry, "status"), "disabled") && cJSON_IsString(in(entry, "key"));
}

static int is_named(const cJSON *names, const char *name)
{
    const cJSON *each;
    int found = cJSON_GetArraySize(names) == 0;
    cJSON_ArrayForEach(each, names)
    {
        found = found || is_word(each, name);
    }
    return found;
}

/* The first enabled entry of an experience, or of a feature. */
static const cJSON *first_with(const cJSON *entries, const char *field, const char *value)
{
    const cJSON *entry;
    cJSON_ArrayForEach(entry, (cJSON_IsArray(entries) ? entries : NULL))
    {
        if (is_enabled(entry) && is_word(in(entry, field), value)) {
            return entry;
        }
    }
    return NULL;
}

/* A feature as each experience carries it, and the first of them all, which alone is the result here. */
static void check_one_feature(const struct asked *asked, ConvertContext *each, ConvertContext *first,
                              const cJSON *expected)
{
    const cJSON *named = in(asked->request, "feature_experience_keys"), *experience, *entry, *wanted = NULL, *before;
    ConvertRunOptions options = asked->options;
    ConvertFeature feature = {.size = sizeof feature};
    ConvertText *keys = calloc((size_t)cJSON_GetArraySize(named) + 1, sizeof *keys);
    ConvertStatus status;
    cJSON_ArrayForEach(experience, in(asked->served, "experiences"))
    {
        const cJSON *key = in(experience, "key");
        if (!cJSON_IsString(key) || !is_named(named, key->valuestring)) {
            continue;
        }
        for (before = in(asked->served, "experiences")->child;
             before != experience && !is_word(in(before, "key"), key->valuestring); before = before->next) {
        }
        if (before != experience) {
            continue;
        }
        keys[0] = convert_text(key->valuestring);
        options.experience_keys = keys;
        options.experience_key_count = 1;
        entry = first_with(expected, "experience_key", key->valuestring);
        status = convert_context_run_feature(each, convert_text(expected->string), &options, &feature);
        if (status == CONVERT_STATUS_OK && entry != NULL) {
            check_feature(asked, FEATURES, &feature, entry);
        } else {
            check(entry == NULL && (status == CONVERT_STATUS_NOT_CARRIED || status == CONVERT_STATUS_NOT_IN_CONFIG),
                  FEATURES, asked->id, key->valuestring, expected);
        }
    }
    options.experience_key_count = 0;
    cJSON_ArrayForEach(entry, named)
    {
        keys[options.experience_key_count++] = convert_text(entry->valuestring);
    }
    options.experience_keys = keys;
    cJSON_ArrayForEach(entry, (cJSON_IsArray(expected) ? expected : NULL))
    {
        wanted = wanted == NULL && is_enabled(entry) ? entry : wanted;
    }
    status = convert_context_run_feature(first, convert_text(expected->string), &options, &feature);
    if (status == CONVERT_STATUS_OK && wanted != NULL) {
        check_feature(asked, FEATURES, &feature, wanted);
    } else {
        check(wanted == NULL && status != CONVERT_STATUS_OK, FEATURES, asked->id, "the first", expected);
    }
    free(keys);
}

/* Each feature once, in the order of the config, in which the last of a duplicate id counts. */
static void check_features(const struct asked *asked, ConvertContext *context, const cJSON *expected)
{
    ConvertFeatures *all = NULL;
    ConvertFeature feature = {.size = sizeof feature};
    const cJSON *declared, *later, *entry;
    size_t at = 0;
    const int equal = convert_context_run_features(context, &asked->options, &all) == CONVERT_STATUS_OK;
    cJSON_ArrayForEach(declared, in(asked->served, "features"))
    {
        char *id = text_of(in(declared, "id")), *other;
        for (later = declared->next; later != NULL && id != NULL; later = later->next) {
            other = text_of(in(later, "id"));
            if (other != NULL && strcmp(id, other) == 0) {
                free(id);
                id = NULL;
            }
            free(other);
        }
        entry = id != NULL ? first_with(expected, "id", id) : NULL;
        if (entry != NULL && convert_features_at(all, at, &feature) == CONVERT_STATUS_OK) {
            check_feature(asked, FEATURES, &feature, entry);
        }
        at += entry != NULL;
        free(id);
    }
    check(equal && convert_features_count(all) == at, ALL_FEATURES, asked->id, "their number", expected);
    convert_features_free(all);
}

static uint64_t recorded(ConvertCore *core)
{
    ConvertStats stats = {.size = sizeof stats};
    return convert_core_stats(core, &stats) == CONVERT_STATUS_OK ? stats.recorded : UINT64_MAX;
}

static ConvertStatus convert(ConvertContext *context, const cJSON *call)
{
    static const char *const names[] = {"amount", "productsCount", "transactionId", "customDimension1",
                                        "customDimension2", "customDimension3", "customDimension4", "customDimension5"};
    const cJSON *datum, *given = in(call, "goal_data");
    ConvertGoalData data[64];
    ConvertConversionOptions options = {.size = sizeof options};
    options.force_multiple = cJSON_IsTrue(in(call, "force_multiple")) ? 1 : 0;
    options.rule_data = attributes(in(call, "rule_data"), &options.rule_data_count);
    options.data = cJSON_IsArray(given) ? data : NULL;
    cJSON_ArrayForEach(datum, given)
    {
        const cJSON *key = in(datum, "key"), *number = in(datum, "value");
        uint32_t name = 0;
        while (name < sizeof names / sizeof *names && !is_word(key, names[name])) {
            name++;
        }
        data[options.data_count++] = cJSON_IsNumber(number)
                                         ? convert_goal_number((ConvertGoalKey)name, number->valuedouble)
                                         : convert_goal_text((ConvertGoalKey)name, convert_text(number->valuestring));
    }
    return convert_context_track_confirmed(context, convert_text(in(call, "goal_key")->valuestring), &options, 30000);
}

/* Goals are marked by id, in JavaScript by key: whether the two can differ. */
static int goals_share_an_id(const cJSON *served)
{
    const cJSON *goal, *other;
    cJSON_ArrayForEach(goal, in(served, "goals"))
    {
        for (other = goal->next; other != NULL; other = other->next) {
            if (are_equal(in(goal, "id"), in(other, "id"))) {
                return 1;
            }
        }
    }
    return 0;
}

static void check_conversions(const struct asked *asked, ConvertContext *context)
{
    const cJSON *expected = in(asked->expected, "conversions"), *call;
    int at = 0;
    if (expected == NULL || throws(expected)) {
        return;
    }
    if (goals_share_an_id(asked->served)) {
        left_out[RULED]++;
        return;
    }
    cJSON_ArrayForEach(call, in(asked->request, "conversions"))
    {
        const cJSON *answer = cJSON_GetArrayItem(expected, at++);
        const ConvertStatus status = convert(context, call);
        if (!throws(answer)) {
            check((status == CONVERT_STATUS_OK) == cJSON_IsTrue(in(answer, "accepted")), CONVERSIONS, asked->id,
                  in(call, "goal_key")->valuestring, answer);
        }
    }
}

static const cJSON *experience_with(const cJSON *served, const char *id)
{
    const cJSON *experience;
    cJSON_ArrayForEach(experience, in(served, "experiences"))
    {
        if (is_word(in(experience, "id"), id)) {
            return experience;
        }
    }
    return NULL;
}

/* JavaScript lists the forced experience last, this SDK at its place in the config. */
static cJSON *with_forced_moved(const struct asked *asked, const cJSON *list, const cJSON *forced)
{
    const int last = cJSON_GetArraySize(list) - 1;
    cJSON *moved = cJSON_CreateArray();
    const cJSON *experience, *pair;
    int at, place = 0, found = 0;
    if (last < 0 || !are_equal(cJSON_GetArrayItem(cJSON_GetArrayItem(list, last), 0), forced)) {
        cJSON_Delete(moved);
        return cJSON_Duplicate(list, 1);
    }
    cJSON_ArrayForEach(experience, in(asked->served, "experiences"))
    {
        found = found || are_equal(in(experience, "key"), forced);
        pair = found ? NULL : list->child;
        while (pair != NULL && (pair->next == NULL || !are_equal(pair->child, in(experience, "key")))) {
            pair = pair->next;
        }
        place += pair != NULL;
    }
    for (at = 0; at <= last; at++) {
        const int from = at < place ? at : at == place ? last : at - 1;
        cJSON_AddItemToArray(moved, cJSON_Duplicate(cJSON_GetArrayItem(list, from), 1));
    }
    return moved;
}

static void check_preview(const struct asked *asked, ConvertContext *context)
{
    const cJSON *call = in(asked->request, "preview"), *expected = in(asked->expected, "preview"), *decision;
    const cJSON *list = in(expected, "run_experiences"), *conversion;
    const uint64_t before = recorded(asked->core);
    ConvertRunOptions options = asked->options;
    int active;
    if (throws(expected)) {
        return;
    }
    convert_context_set_preview(context, convert_text(in(call, "experience_id")->valuestring),
                                convert_text(in(call, "variation_id")->valuestring));
    active = convert_context_is_preview(context);
    check(active == cJSON_IsTrue(in(expected, "active")), PREVIEWS, asked->id, "active", expected);
    cJSON_ArrayForEach(decision, in(expected, "decisions"))
    {
        if (in(in(asked->recommended, "decisions"), decision->string) != NULL) {
            left_out[RULED]++;
        } else if (!throws(decision)) {
            check_decision(context, asked, PREVIEWS, decision);
        }
    }
    options.storage_off = !active;
    options.tracking_off = !active;
    if (in(asked->recommended, "run_experiences") != NULL) {
        left_out[RULED]++;
    } else if (list != NULL && !throws(list)) {
        const cJSON *forced = in(experience_with(asked->served, in(call, "experience_id")->valuestring), "key");
        cJSON *moved = active ? with_forced_moved(asked, list, forced) : cJSON_Duplicate(list, 1);
        check_experiences(context, &options, PREVIEWS, asked->id, moved);
        cJSON_Delete(moved);
    }
    if (in(expected, "traceless") != NULL) {
        cJSON_ArrayForEach(conversion, in(asked->request, "conversions"))
        {
            convert(context, conversion);
        }
        check((recorded(asked->core) == before) == cJSON_IsTrue(in(expected, "traceless")), PREVIEWS, asked->id,
              "traceless", expected);
    }
}

/* The ids that the preparation records, each once. */
static ConvertContext *prepare(const struct asked *asked)
{
    const cJSON *expected = in(asked->expected, "custom_segments"), *given = in(asked->request, "custom_segments");
    const cJSON *keys = in(given, "keys"), *key, *id, *earlier, *ids = in(expected, "matched");
    ConvertContext *context = context_of(asked);
    ConvertText *texts = calloc((size_t)cJSON_GetArraySize(keys) + 1, sizeof *texts);
    ConvertTexts *matched = NULL;
    size_t count, at = 0;
    const ConvertAttribute *items;
    int equal = 1;
    if (given != NULL) {
        cJSON_ArrayForEach(key, keys)
        {
            texts[at++] = convert_text(key->valuestring);
        }
        items = merged((cJSON *)in(given, "rule_data"), &count);
        equal = convert_context_run_custom_segments(context, texts, at, items, count, &matched) == CONVERT_STATUS_OK;
        at = 0;
        cJSON_ArrayForEach(id, ids)
        {
            for (earlier = ids->child; earlier != id && !are_equal(earlier, id); earlier = earlier->next) {
            }
            if (earlier == id) {
                equal = equal && is(convert_texts_at(matched, at++), id);
            }
        }
        if (expected != NULL && !throws(expected)) {
            check(equal && convert_texts_count(matched) == at, SEGMENTS, asked->id, "matched", expected);
        }
        convert_texts_free(matched);
    }
    free(texts);
    return context;
}

/* Every part starts from the prepared visitor: the contexts are all made before the first of them decides anything. */
static void ask(struct asked *asked)
{
    ConvertContext *prepared = prepare(asked), *together = context_of(asked), *previewed = context_of(asked);
    const cJSON *features = in(asked->expected, "features"), *all = in(asked->expected, "run_features"), *expected;
    const int count = cJSON_GetArraySize(features);
    ConvertContext **each = calloc(2 * (size_t)count + 1, sizeof *each);
    const ConvertRunOptions options = asked->options;
    int at;
    /* JavaScript throws for all together, and what is recommended instead need not be what it says of one. */
    const int ruled = in(asked->recommended, "run_experiences") != NULL;
    for (at = 0; at < 2 * count; at++) {
        each[at] = context_of(asked);
    }
    cJSON_ArrayForEach(expected, in(asked->expected, "decisions"))
    {
        if (!throws(expected)) {
            check_decision(prepared, asked, DECISIONS, expected);
        }
    }
    if (in(asked->request, "preview") != NULL && in(asked->expected, "preview") != NULL) {
        check_preview(asked, previewed);
    }
    asked->options.tracking_off = 1;
    asked->options.type_casting_off = cJSON_IsFalse(in(asked->request, "type_casting")) ? 1 : 0;
    at = 0;
    cJSON_ArrayForEach(expected, (cJSON_HasObjectItem(features, "throws") ? NULL : features))
    {
        if (!throws(expected)) {
            check_one_feature(asked, each[2 * at], each[2 * at + 1], expected);
        }
        at++;
    }
    if (ruled && in(asked->recommended, "run_features") == NULL) {
        left_out[RULED]++;
    } else if (!throws(all)) {
        check_features(asked, together, all);
    }
    asked->options = options;
    expected = in(asked->expected, "run_experiences");
    if (!throws(expected)) {
        check_experiences(prepared, &options, EXPERIENCES, asked->id, expected);
    } else {
        ConvertExperiences *list = NULL;
        convert_context_run_experiences(prepared, &options, &list);
        convert_experiences_free(list);
    }
    expected = in(asked->expected, "run_experiences_again");
    if (!throws(expected)) {
        check_experiences(prepared, &options, AGAIN, asked->id, expected);
    }
    check_conversions(asked, prepared);
    for (at = 0; at < 2 * count; at++) {
        convert_context_free(each[at]);
    }
    free(each);
    convert_context_free(prepared);
    convert_context_free(together);
    convert_context_free(previewed);
}

/* Asks one line of a core of its own, which remembers nothing of another line's visitor. */
static void ask_line(const cJSON *config, ConvertText served, cJSON *line, const char *text)
{
    cJSON *request = cJSON_GetObjectItemCaseSensitive(line, "request");
    struct asked asked = {.id = in(line, "id")->valuestring, .served = in(config, "config"), .request = request};
    if (cJSON_HasObjectItem(request, "state")) {
        left_out[STATE]++;
        return;
    }
    if (strstr(text, "\\u0000") != NULL) {
        left_out[ZERO]++;
        return;
    }
    asked.core = core_of(in(config, "options"), served);
    if (asked.core == NULL) {
        return;
    }
    asked.recommended = in(line, "recommended");
    asked.expected = cJSON_GetObjectItemCaseSensitive(line, "expected");
    recommend(asked.expected, asked.recommended);
    asked.attributes = merged(cJSON_GetObjectItemCaseSensitive(request, "attributes"), &asked.attribute_count);
    asked.options.size = sizeof asked.options;
    asked.options.attributes =
        merged(cJSON_GetObjectItemCaseSensitive(request, "call_attributes"), &asked.options.attribute_count);
    asked.options.location = attributes(in(request, "location"), &asked.options.location_count);
    ask(&asked);
    convert_core_close(asked.core, NULL);
    convert_core_free(asked.core);
}

/* As served: cJSON would write numbers otherwise. */
static ConvertText served_in(const char *line)
{
    const char *start = strstr(line, "\"config\":") + strlen("\"config\":"), *end = start;
    ConvertText served;
    cJSON_Delete(cJSON_ParseWithOpts(start, &end, 0));
    served.data = start;
    served.length = (size_t)(end - start);
    return served;
}

int main(void)
{
    char *line = NULL, *config_line = NULL;
    size_t room = 0, at;
    cJSON *config = NULL;
    ConvertText served = {NULL, 0};
    int too_few = 0;
    while (getline(&line, &room, stdin) > 0) {
        cJSON *json = cJSON_Parse(line);
        if (is_word(in(json, "kind"), "config")) {
            cJSON_Delete(config);
            free(config_line);
            config = json;
            config_line = line;
            served = served_in(config_line);
            line = NULL;
            room = 0;
            continue;
        }
        if (is_word(in(json, "kind"), "request")) {
            ask_line(config, served, json, line);
        }
        while (pooled > 0) {
            free(pool[--pooled]);
        }
        cJSON_Delete(json);
    }
    cJSON_Delete(config);
    free(config_line);
    free(line);
    for (at = 0; at < PARTS; at++) {
        const int enough = compared[at] >= parts[at].least;
        too_few += !enough;
        printf("parity: %6ld %s compared%s\n", compared[at], parts[at].name, enough ? "" : ": too few");
    }
    for (at = 0; at < REASONS; at++) {
        printf("parity: %6ld %s, left to the replay in Rust\n", left_out[at], reasons[at]);
    }
    printf("parity: %ld differ\n", different);
    return different != 0 || too_few != 0;
}
