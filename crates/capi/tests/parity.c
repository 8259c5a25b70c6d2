/* Answers recorded decisions through the C API: JSON lines on standard input, in the format of tests/parity/vectors. */
#define _POSIX_C_SOURCE 200809L

#include "convert.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

static long compared, different, left_out;

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

/* Numbers like NaN are spelled as objects, and cJSON ends texts at a zero: neither can be asked from here. JavaScript
   drops a name `__proto__` where it merges; the replay in Rust knows where. */
static int is_askable(const char *line)
{
    return strstr(line, "\"$js\"") == NULL && strstr(line, "\\u0000") == NULL && strstr(line, "__proto__") == NULL;
}

static ConvertCore *core_of(const cJSON *line, const char *text)
{
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(line, "options");
    const cJSON *environment = cJSON_GetObjectItemCaseSensitive(options, "environment");
    ConvertConfig config = {.size = sizeof config};
    ConvertCore *core = NULL;
    /* As served: cJSON would write numbers otherwise. */
    const char *served = strstr(text, "\"config\":") + strlen("\"config\":"), *end = served;
    cJSON_Delete(cJSON_ParseWithOpts(served, &end, 0));
    config.data_json.data = served;
    config.data_json.length = (size_t)(end - served);
    config.tracking_off = 1;
    config.exclude_experience_id_hash =
        cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(options, "exclude_experience_id_hash")) ? 1 : 0;
    if (cJSON_IsString(environment)) {
        config.environment = convert_text(environment->valuestring);
    }
    if (convert_core_new(&config, &core) != CONVERT_STATUS_OK || convert_core_initialize(core, 0) != CONVERT_STATUS_OK) {
        ConvertText why = convert_last_error();
        fprintf(stderr, "a config was refused: %.*s\n", (int)why.length, why.data);
        different++;
    }
    return core;
}

static void differs(const char *id, const char *key, const char *wanted, const ConvertExperience *shown)
{
    different++;
    fprintf(stderr, "%s: %s: expected %s, got %.*s\n", id, key, wanted, (int)shown->variation_id.length,
            shown->variation_id.data == NULL ? "" : shown->variation_id.data);
}

static void ask(ConvertCore *core, const cJSON *line)
{
    const char *id = cJSON_GetObjectItemCaseSensitive(line, "id")->valuestring;
    const cJSON *request = cJSON_GetObjectItemCaseSensitive(line, "request");
    const cJSON *recommended = cJSON_GetObjectItemCaseSensitive(line, "recommended");
    const cJSON *decisions =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(line, "expected"), "decisions");
    const cJSON *segments = cJSON_GetObjectItemCaseSensitive(request, "custom_segments");
    const cJSON *expected;
    ConvertRunOptions options = {.size = sizeof options};
    ConvertContext *context = NULL;
    size_t count;
    const ConvertAttribute *items = attributes(cJSON_GetObjectItemCaseSensitive(request, "attributes"), &count);

    /* What a store held before is for the replay in Rust; so are the answers that a ruling changes. */
    if (cJSON_HasObjectItem(request, "state") || recommended != NULL) {
        left_out++;
        return;
    }
    if (convert_context_new(core, convert_text(cJSON_GetObjectItemCaseSensitive(request, "visitor_id")->valuestring),
                            items, count, &context) != CONVERT_STATUS_OK) {
        fprintf(stderr, "%s: no context\n", id);
        different++;
        return;
    }
    items = attributes(cJSON_GetObjectItemCaseSensitive(request, "default_segments"), &count);
    if (items != NULL) {
        convert_context_set_segments(context, items, count);
    }
    if (segments != NULL) {
        const cJSON *keys = cJSON_GetObjectItemCaseSensitive(segments, "keys"), *key;
        ConvertText *texts = calloc((size_t)cJSON_GetArraySize(keys) + 1, sizeof *texts);
        size_t at = 0;
        cJSON_ArrayForEach(key, keys)
        {
            texts[at++] = convert_text(key->valuestring);
        }
        items = attributes(cJSON_GetObjectItemCaseSensitive(segments, "rule_data"), &count);
        convert_context_run_custom_segments(context, texts, at, items, count, NULL);
        free(texts);
    }
    options.attributes = attributes(cJSON_GetObjectItemCaseSensitive(request, "call_attributes"), &options.attribute_count);
    options.location = attributes(cJSON_GetObjectItemCaseSensitive(request, "location"), &options.location_count);
    options.storage_off = 1;
    cJSON_ArrayForEach(expected, decisions)
    {
        const cJSON *variation = cJSON_GetObjectItemCaseSensitive(expected, "variation_id");
        const cJSON *bucket = cJSON_GetObjectItemCaseSensitive(expected, "bucket");
        ConvertExperience shown = {.size = sizeof shown};
        ConvertStatus status = convert_context_run_experience(context, convert_text(expected->string), &options, &shown);
        if (cJSON_HasObjectItem(expected, "throws")) {
            left_out++;
            continue;
        }
        compared++;
        if (variation == NULL) {
            if (status < CONVERT_STATUS_NOT_IN_CONFIG || status > CONVERT_STATUS_UNDECIDED) {
                differs(id, expected->string, "none", &shown);
            }
        } else if (status != CONVERT_STATUS_OK || shown.variation_id.length != strlen(variation->valuestring) ||
                   memcmp(shown.variation_id.data, variation->valuestring, shown.variation_id.length) != 0 ||
                   (bucket != NULL) != (shown.source == CONVERT_SOURCE_HASHED) ||
                   (bucket != NULL && shown.bucket_value != (uint32_t)bucket->valuedouble)) {
            differs(id, expected->string, variation->valuestring, &shown);
        }
    }
    convert_context_free(context);
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    ConvertCore *core = NULL;
    while (getline(&line, &room, stdin) > 0) {
        cJSON *json = cJSON_Parse(line);
        const cJSON *kind = cJSON_GetObjectItemCaseSensitive(json, "kind");
        const int config = cJSON_IsString(kind) && strcmp(kind->valuestring, "config") == 0;
        const int request = cJSON_IsString(kind) && strcmp(kind->valuestring, "request") == 0;
        if (json == NULL || (!is_askable(line) && (config || request))) {
            left_out++;
            if (config) {
                convert_core_free(core);
                core = NULL;
            }
        } else if (config) {
            convert_core_free(core);
            core = core_of(json, line);
        } else if (request && core != NULL) {
            ask(core, json);
        } else if (request) {
            left_out++;
        }
        while (pooled > 0) {
            free(pool[--pooled]);
        }
        cJSON_Delete(json);
    }
    convert_core_free(core);
    free(line);
    printf("parity: %ld decisions compared, %ld differ, %ld lines or decisions left to the replay in Rust\n", compared,
           different, left_out);
    return different != 0 || compared == 0;
}
