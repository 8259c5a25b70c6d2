// Between a Godot 3 script and libconvert: each function takes the texts of an array and returns a text.
// The script calls them by `GDNative.call_native("standard_varcall", name, [arguments])`.
#include <convert.h>

#include <stdio.h>
#include <stdlib.h>

// What of Godot's native interface is needed. The headers are in no package of the distribution; the layout of the
// core interface 1.0, and so each function's place in it, is the same in all of Godot 3.
typedef struct { void *hidden; } GodotString, GodotCharString, GodotArray;
typedef struct { uint8_t hidden[24]; } GodotVariant;
typedef void (*GodotFunction)(void);

typedef struct {
    unsigned type, major, minor;
    const void *next;
    unsigned extension_count;
    const void **extensions;
    GodotFunction functions[744];
} GodotCore;

typedef struct {
    bool in_editor;
    uint64_t hashes[3];
    GodotFunction report[2];
    void *library;
    const GodotCore *core;
} GodotOptions;

#define GODOT(index, type) ((type)godot->functions[index])
#define GODOT_ARRAY_GET GODOT(333, GodotVariant(*)(const GodotArray *, int))
#define GODOT_ARRAY_SIZE GODOT(356, int (*)(const GodotArray *))
#define GODOT_VARIANT_NEW_STRING GODOT(514, void (*)(GodotVariant *, const GodotString *))
#define GODOT_VARIANT_AS_STRING GODOT(541, GodotString(*)(const GodotVariant *))
#define GODOT_VARIANT_DESTROY GODOT(570, void (*)(GodotVariant *))
#define GODOT_CHAR_STRING_LENGTH GODOT(571, int (*)(const GodotCharString *))
#define GODOT_CHAR_STRING_GET_DATA GODOT(572, const char *(*)(const GodotCharString *))
#define GODOT_CHAR_STRING_DESTROY GODOT(573, void (*)(GodotCharString *))
#define GODOT_STRING_UTF8 GODOT(678, GodotCharString(*)(const GodotString *))
#define GODOT_STRING_FROM_UTF8 GODOT(682, GodotString(*)(const char *, int))
#define GODOT_STRING_DESTROY GODOT(721, void (*)(GodotString *))

static const GodotCore *godot;
static ConvertCore *core;
static ConvertPump *pump;
static ConvertQuestion *question;
static ConvertContext *visitor;

enum { MOST = 8 };

// The arguments of one call, as texts.
typedef struct {
    GodotCharString texts[MOST];
    int count;
} Arguments;

static Arguments arguments_of(const GodotArray *array)
{
    Arguments arguments = {.count = GODOT_ARRAY_SIZE(array)};
    if (arguments.count > MOST) {
        arguments.count = MOST;
    }
    for (int index = 0; index < arguments.count; index++) {
        GodotVariant value = GODOT_ARRAY_GET(array, index);
        GodotString string = GODOT_VARIANT_AS_STRING(&value);
        arguments.texts[index] = GODOT_STRING_UTF8(&string);
        GODOT_STRING_DESTROY(&string);
        GODOT_VARIANT_DESTROY(&value);
    }
    return arguments;
}

static ConvertText text_at(const Arguments *arguments, int index)
{
    ConvertText text = {NULL, 0};
    if (index < arguments->count) {
        text.data = GODOT_CHAR_STRING_GET_DATA(&arguments->texts[index]);
        text.length = (size_t)GODOT_CHAR_STRING_LENGTH(&arguments->texts[index]);
    }
    return text;
}

static double number_at(const Arguments *arguments, int index)
{
    const ConvertText text = text_at(arguments, index);
    return text.data == NULL ? 0 : strtod(text.data, NULL);
}

static uint64_t id_at(const Arguments *arguments, int index)
{
    const ConvertText text = text_at(arguments, index);
    return text.data == NULL ? 0 : strtoull(text.data, NULL, 10);
}

static void free_arguments(Arguments *arguments)
{
    for (int index = 0; index < arguments->count; index++) {
        GODOT_CHAR_STRING_DESTROY(&arguments->texts[index]);
    }
}

static GodotVariant returned(ConvertText text)
{
    GodotVariant value;
    GodotString string = GODOT_STRING_FROM_UTF8(text.data == NULL ? "" : text.data, (int)text.length);
    GODOT_VARIANT_NEW_STRING(&value, &string);
    GODOT_STRING_DESTROY(&string);
    return value;
}

static GodotVariant returned_number(double number)
{
    char text[40];
    snprintf(text, sizeof text, "%.17g", number);
    return returned(convert_text(text));
}

// Texts in one, a line each.
typedef struct {
    char *data;
    size_t length, capacity;
} Lines;

static void add(Lines *lines, ConvertText text)
{
    if (lines->length + text.length > lines->capacity) {
        lines->capacity = (lines->length + text.length) * 2;
        lines->data = realloc(lines->data, lines->capacity);
        if (lines->data == NULL) {
            abort();
        }
    }
    if (text.length > 0) {
        memcpy(lines->data + lines->length, text.data, text.length);
        lines->length += text.length;
    }
}

static void add_line(Lines *lines, ConvertText text)
{
    add(lines, text);
    add(lines, convert_text("\n"));
}

static GodotVariant returned_lines(Lines *lines)
{
    const ConvertText text = {lines->data, lines->length};
    const GodotVariant value = returned(text);
    free(lines->data);
    return value;
}

void godot_gdnative_init(const GodotOptions *options)
{
    godot = options->core;
}

void godot_gdnative_terminate(const void *options)
{
    (void)options;
    convert_context_free(visitor);
    convert_question_free(question);
    convert_pump_free(pump);
    convert_core_free(core);
}

// The key, the config endpoint, the track endpoint; the endpoints may be empty. Returns a status.
GodotVariant arcade_open(const GodotArray *array)
{
    Arguments arguments = arguments_of(array);
    ConvertConfig config = {.size = sizeof config, .for_game_loop = 1};
    config.sdk_key = text_at(&arguments, 0);
    if (text_at(&arguments, 1).length > 0) {
        config.config_base_url = text_at(&arguments, 1);
        config.track_base_url = text_at(&arguments, 2);
        config.danger_allow_http_on_loopback = 1;
    }
    ConvertStatus status = convert_core_new_pumped(&config, &core, &pump);
    if (status == CONVERT_STATUS_OK) {
        status = convert_pump_initialize(pump, &question);
    }
    free_arguments(&arguments);
    return returned_number(status);
}

// A budget in microseconds. Returns a status.
GodotVariant arcade_turn(const GodotArray *array)
{
    Arguments arguments = arguments_of(array);
    const ConvertStatus status = convert_pump_turn(pump, id_at(&arguments, 0), NULL);
    free_arguments(&arguments);
    return returned_number(status);
}

// Returns the lines of a request: its id, method, URL, time limit in milliseconds, body, and headers; nothing if
// there is none.
GodotVariant arcade_next_request(const GodotArray *array)
{
    (void)array;
    Lines lines = {NULL, 0, 0};
    ConvertRequest *request;
    if (convert_pump_next_request(pump, &request) != CONVERT_STATUS_OK) {
        return returned_lines(&lines);
    }
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)convert_request_id(request));
    add_line(&lines, convert_text(number));
    add_line(&lines, convert_request_method(request));
    add_line(&lines, convert_request_url(request));
    snprintf(number, sizeof number, "%llu", (unsigned long long)convert_request_timeout(request));
    add_line(&lines, convert_text(number));
    // JSON, in one line.
    add_line(&lines, convert_request_body(request));
    ConvertHeader header;
    for (size_t index = 0; convert_request_header_at(request, index, &header) == CONVERT_STATUS_OK; index++) {
        add(&lines, header.name);
        add(&lines, convert_text(": "));
        add_line(&lines, header.value);
    }
    convert_request_free(request);
    return returned_lines(&lines);
}

// A request's id, the HTTP status, the body, the ETag, Retry-After and Date. Returns a status.
GodotVariant arcade_answer(const GodotArray *array)
{
    static const char *const names[] = {"etag", "retry-after", "date"};
    Arguments arguments = arguments_of(array);
    ConvertHeader headers[3];
    size_t count = 0;
    for (int index = 0; index < 3; index++) {
        if (text_at(&arguments, 3 + index).length > 0) {
            headers[count].name = convert_text(names[index]);
            headers[count++].value = text_at(&arguments, 3 + index);
        }
    }
    const ConvertStatus status = convert_pump_answer(pump, id_at(&arguments, 0), (uint16_t)id_at(&arguments, 1), headers,
                                                     count, text_at(&arguments, 2));
    free_arguments(&arguments);
    return returned_number(status);
}

// A request's id, and 1 if the server may have received it. Returns a status.
GodotVariant arcade_fail(const GodotArray *array)
{
    Arguments arguments = arguments_of(array);
    const ConvertStatus status = convert_pump_fail(pump, id_at(&arguments, 0), (uint32_t)id_at(&arguments, 1));
    free_arguments(&arguments);
    return returned_number(status);
}

// The time to end in, in milliseconds. Returns a status.
GodotVariant arcade_shutdown(const GodotArray *array)
{
    Arguments arguments = arguments_of(array);
    convert_question_free(question);
    question = NULL;
    const ConvertStatus status = convert_pump_shutdown(pump, id_at(&arguments, 0), &question);
    free_arguments(&arguments);
    return returned_number(status);
}

// Whether `open` or `shutdown` has been done: the lines of a status and of how many records were not delivered.
GodotVariant arcade_check(const GodotArray *array)
{
    (void)array;
    ConvertFlushReport report = {.size = sizeof report};
    const ConvertStatus status = convert_question_check(question, &report);
    char text[48];
    snprintf(text, sizeof text, "%d\n%llu\n", (int)status, (unsigned long long)(report.pending + report.dropped));
    return returned(convert_text(text));
}

// A visitor's id, for the calls that follow. Returns a status.
GodotVariant arcade_visitor(const GodotArray *array)
{
    Arguments arguments = arguments_of(array);
    convert_context_free(visitor);
    visitor = NULL;
    const ConvertStatus status = convert_context_new(core, text_at(&arguments, 0), NULL, 0, &visitor);
    free_arguments(&arguments);
    return returned_number(status);
}

// An experience's key. Returns the lines of its id, the variation's id and key; nothing without a variation.
GodotVariant arcade_experience(const GodotArray *array)
{
    Arguments arguments = arguments_of(array);
    Lines lines = {NULL, 0, 0};
    ConvertExperience shown = {.size = sizeof shown};
    if (convert_context_run_experience(visitor, text_at(&arguments, 0), NULL, &shown) == CONVERT_STATUS_OK) {
        add_line(&lines, shown.experience_id);
        add_line(&lines, shown.variation_id);
        add_line(&lines, shown.variation_key);
    }
    free_arguments(&arguments);
    return returned_lines(&lines);
}

// A feature's key. Returns the lines of the experience's id, the variation's id and the variables as JSON texts, by
// their names; nothing if it is off.
GodotVariant arcade_feature(const GodotArray *array)
{
    Arguments arguments = arguments_of(array);
    Lines lines = {NULL, 0, 0};
    ConvertFeature feature = {.size = sizeof feature};
    if (convert_context_run_feature(visitor, text_at(&arguments, 0), NULL, &feature) == CONVERT_STATUS_OK) {
        add_line(&lines, feature.experience_id);
        add_line(&lines, feature.variation_id);
        ConvertAttribute variable;
        for (size_t index = 0; convert_feature_variable_at(&feature, index, &variable) == CONVERT_STATUS_OK; index++) {
            ConvertString *json;
            if (convert_feature_json(&feature, variable.name, &json) == CONVERT_STATUS_OK) {
                add_line(&lines, convert_string_text(json));
                convert_string_free(json);
            }
        }
    }
    free_arguments(&arguments);
    return returned_lines(&lines);
}

// A goal's key and the revenue. Returns a status.
GodotVariant arcade_track(const GodotArray *array)
{
    Arguments arguments = arguments_of(array);
    const ConvertGoalData revenue = convert_goal_number(CONVERT_GOAL_KEY_AMOUNT, number_at(&arguments, 1));
    const ConvertConversionOptions options = {.size = sizeof options, .data = &revenue, .data_count = 1};
    const ConvertStatus status = convert_context_track(visitor, text_at(&arguments, 0), &options);
    free_arguments(&arguments);
    return returned_number(status);
}
