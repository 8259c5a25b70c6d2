// Convert Experiences for C++17: owning handles around convert.h, without exceptions. convert.h documents what each call
// means, which threads may make it, and how long texts are valid.
#ifndef CONVERT_HPP
#define CONVERT_HPP

#include "convert.h"

#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace convert {

inline ConvertText text(std::string_view view)
{
    // An empty view may have null data, which would mean no text.
    return {view.data() == nullptr ? "" : view.data(), view.size()};
}

inline std::string_view view(ConvertText text)
{
    return {text.data, text.length};
}

inline std::string_view last_error()
{
    return view(convert_last_error());
}

template <typename T, void (*free)(T *)> struct Free {
    void operator()(T *handle) const
    {
        free(handle);
    }
};

template <typename T, void (*free)(T *)> using Handle = std::unique_ptr<T, Free<T, free>>;

using Core = Handle<ConvertCore, convert_core_free>;
using ExperienceHandle = Handle<ConvertExperienceHandle, convert_experience_handle_free>;
using FeatureHandle = Handle<ConvertFeatureHandle, convert_feature_handle_free>;
using GoalHandle = Handle<ConvertGoalHandle, convert_goal_handle_free>;
using String = Handle<ConvertString, convert_string_free>;

// What a call reads: a list in braces, an array, a vector or another container with its elements side by side.
template <typename T> class Span {
  public:
    Span() = default;
    Span(const T *data, size_t size) : data_(data), size_(size) {}
    Span(std::initializer_list<T> list) : Span(std::data(list), list.size()) {}
    template <typename C, typename = std::enable_if_t<
                              std::is_convertible_v<decltype(std::data(std::declval<const C &>())), const T *>>>
    Span(const C &container) : Span(std::data(container), std::size(container))
    {
    }

    const T *data() const { return data_; }
    size_t size() const { return size_; }

  private:
    const T *data_ = nullptr;
    size_t size_ = 0;
};

// A value, or the status that says why there is none.
template <typename T> class Result {
  public:
    Result(ConvertStatus status, std::optional<T> value) : status_(status), value_(std::move(value)) {}

    explicit operator bool() const { return value_.has_value(); }
    ConvertStatus status() const { return status_; }
    T &operator*() { return *value_; }
    const T &operator*() const { return *value_; }
    T *operator->() { return &*value_; }
    const T *operator->() const { return &*value_; }

  private:
    ConvertStatus status_;
    std::optional<T> value_;
};

// Like convert_attribute, with a name that need not end with a zero.
inline ConvertAttribute attribute(std::string_view name, ConvertKind kind)
{
    ConvertAttribute attribute = convert_attribute("", kind);
    attribute.name = text(name);
    return attribute;
}

inline ConvertAttribute attribute_text(std::string_view name, std::string_view value)
{
    ConvertAttribute made = attribute(name, CONVERT_KIND_TEXT);
    made.text = text(value);
    return made;
}

inline ConvertAttribute attribute_number(std::string_view name, double value)
{
    ConvertAttribute made = attribute(name, CONVERT_KIND_NUMBER);
    made.number = value;
    return made;
}

inline ConvertAttribute attribute_boolean(std::string_view name, bool value)
{
    ConvertAttribute made = attribute(name, CONVERT_KIND_BOOLEAN);
    made.boolean = value ? 1 : 0;
    return made;
}

// A configuration with nothing set.
inline ConvertConfig config()
{
    ConvertConfig config{};
    config.size = sizeof config;
    return config;
}

inline Result<Core> make_core(const ConvertConfig &config)
{
    ConvertCore *core = nullptr;
    const ConvertStatus status = convert_core_new(&config, &core);
    if (status != CONVERT_STATUS_OK) {
        return {status, std::nullopt};
    }
    return {status, Core(core)};
}

template <typename Made, typename Given>
Result<Made> make_handle(const Core &core, std::string_view key,
                         ConvertStatus (*make)(const ConvertCore *, ConvertText, Given **))
{
    Given *handle = nullptr;
    const ConvertStatus status = make(core.get(), text(key), &handle);
    if (status != CONVERT_STATUS_OK) {
        return {status, std::nullopt};
    }
    return {status, Made(handle)};
}

// Without a core, as {}, nothing is checked.
inline Result<ExperienceHandle> make_experience_handle(const Core &core, std::string_view key)
{
    return make_handle<ExperienceHandle>(core, key, convert_experience_handle_new);
}

inline Result<FeatureHandle> make_feature_handle(const Core &core, std::string_view key)
{
    return make_handle<FeatureHandle>(core, key, convert_feature_handle_new);
}

inline Result<GoalHandle> make_goal_handle(const Core &core, std::string_view key)
{
    return make_handle<GoalHandle>(core, key, convert_goal_handle_new);
}

// A feature of a context, which must outlive it.
class Feature : public ConvertFeature {
  public:
    std::optional<bool> boolean(std::string_view key) const { return get<bool>(key, convert_feature_boolean); }
    std::optional<int64_t> integer(std::string_view key) const { return get<int64_t>(key, convert_feature_integer); }
    std::optional<double> number(std::string_view key) const { return get<double>(key, convert_feature_number); }
    std::optional<std::string_view> text(std::string_view key) const
    {
        const auto found = get<ConvertText>(key, convert_feature_text);
        return found ? std::optional(view(*found)) : std::nullopt;
    }

  private:
    template <typename T>
    std::optional<T> get(std::string_view key, ConvertStatus (*getter)(const ConvertFeature *, ConvertText, T *)) const
    {
        T value{};
        const bool found = getter(this, convert::text(key), &value) == CONVERT_STATUS_OK;
        return found ? std::optional(value) : std::nullopt;
    }
};

// The visitor's experiences or features, of a context that must outlive them.
template <typename Item, typename Filled, typename List, void (*free)(List *), size_t (*count)(const List *),
          ConvertStatus (*get)(const List *, size_t, Filled *)>
class Items {
  public:
    explicit Items(List *list) : list_(list) {}

    size_t size() const { return count(list_.get()); }

    // Empty beyond the last.
    Item operator[](size_t index) const
    {
        Item item{};
        item.size = sizeof item;
        get(list_.get(), index, &item);
        return item;
    }

  private:
    Handle<List, free> list_;
};

using Experiences = Items<ConvertExperience, ConvertExperience, ConvertExperiences, convert_experiences_free,
                          convert_experiences_count, convert_experiences_at>;
using Features =
    Items<Feature, ConvertFeature, ConvertFeatures, convert_features_free, convert_features_count, convert_features_at>;

// Texts, such as the ids of custom segments.
class Texts {
  public:
    explicit Texts(ConvertTexts *texts) : texts_(texts) {}

    size_t size() const { return convert_texts_count(texts_.get()); }
    std::string_view operator[](size_t index) const { return view(convert_texts_at(texts_.get(), index)); }

  private:
    Handle<ConvertTexts, convert_texts_free> texts_;
};

struct Event {
    ConvertEventKind kind;
    String json;
};

// Lifecycle events, kept until read.
class Subscription {
  public:
    static Result<Subscription> make(const Core &core)
    {
        ConvertSubscription *subscription = nullptr;
        const ConvertStatus status = convert_core_subscribe(core.get(), &subscription);
        if (status != CONVERT_STATUS_OK) {
            return {status, std::nullopt};
        }
        return {status, Subscription(subscription)};
    }

    std::optional<Event> next()
    {
        ConvertEventKind kind{};
        ConvertString *json = nullptr;
        const ConvertStatus status = convert_subscription_next(subscription_.get(), &kind, &json);
        return status == CONVERT_STATUS_OK ? std::optional<Event>(Event{kind, String(json)}) : std::nullopt;
    }

  private:
    explicit Subscription(ConvertSubscription *subscription) : subscription_(subscription) {}

    Handle<ConvertSubscription, convert_subscription_free> subscription_;
};

class Context {
  public:
    static Result<Context> make(const Core &core, std::string_view visitor, Span<ConvertAttribute> attributes = {})
    {
        ConvertContext *context = nullptr;
        const ConvertStatus status =
            convert_context_new(core.get(), text(visitor), attributes.data(), attributes.size(), &context);
        if (status != CONVERT_STATUS_OK) {
            return {status, std::nullopt};
        }
        return {status, Context(context)};
    }

    ConvertContext *get() const { return context_.get(); }

    Result<ConvertExperience> run_experience(std::string_view key, const ConvertRunOptions *options = nullptr) const
    {
        return run<ConvertExperience>(
            [&](auto *result) { return convert_context_run_experience(get(), text(key), options, result); });
    }

    Result<ConvertExperience> run_experience(const ExperienceHandle &handle,
                                             const ConvertRunOptions *options = nullptr) const
    {
        return run<ConvertExperience>([&](auto *result) {
            return convert_context_run_experience_by_handle(get(), handle.get(), options, result);
        });
    }

    Result<Feature> run_feature(std::string_view key, const ConvertRunOptions *options = nullptr) const
    {
        return run<Feature>(
            [&](auto *result) { return convert_context_run_feature(get(), text(key), options, result); });
    }

    Result<Feature> run_feature(const FeatureHandle &handle, const ConvertRunOptions *options = nullptr) const
    {
        return run<Feature>([&](auto *result) {
            return convert_context_run_feature_by_handle(get(), handle.get(), options, result);
        });
    }

    Result<Experiences> run_experiences(const ConvertRunOptions *options = nullptr) const
    {
        return list<Experiences, ConvertExperiences>(
            [&](auto **results) { return convert_context_run_experiences(get(), options, results); });
    }

    Result<Features> run_features(const ConvertRunOptions *options = nullptr) const
    {
        return list<Features, ConvertFeatures>(
            [&](auto **results) { return convert_context_run_features(get(), options, results); });
    }

    // The ids of those of the segments that were newly recorded.
    Result<Texts> run_custom_segments(Span<ConvertText> keys, Span<ConvertAttribute> attributes = {})
    {
        return list<Texts, ConvertTexts>([&](auto **matched) {
            return convert_context_run_custom_segments(get(), keys.data(), keys.size(), attributes.data(),
                                                       attributes.size(), matched);
        });
    }

    ConvertStatus track(std::string_view goal) const { return convert_context_track(get(), text(goal), nullptr); }

    ConvertStatus track(const GoalHandle &goal) const
    {
        return convert_context_track_by_handle(get(), goal.get(), nullptr);
    }

    ConvertStatus track(std::string_view goal, Span<ConvertGoalData> data, bool force_multiple = false) const
    {
        const auto options = conversion(data, force_multiple);
        return convert_context_track(get(), text(goal), &options);
    }

    ConvertStatus track(const GoalHandle &goal, Span<ConvertGoalData> data, bool force_multiple = false) const
    {
        const auto options = conversion(data, force_multiple);
        return convert_context_track_by_handle(get(), goal.get(), &options);
    }

    ConvertStatus set_attributes(Span<ConvertAttribute> attributes)
    {
        return convert_context_set_attributes(get(), attributes.data(), attributes.size());
    }

  private:
    explicit Context(ConvertContext *context) : context_(context) {}

    static ConvertConversionOptions conversion(const Span<ConvertGoalData> &data, bool force_multiple)
    {
        ConvertConversionOptions options{};
        options.size = sizeof options;
        options.data = data.data();
        options.data_count = data.size();
        options.force_multiple = force_multiple ? 1 : 0;
        return options;
    }

    template <typename T, typename Call> static Result<T> run(Call call)
    {
        T result{};
        result.size = sizeof(result);
        const ConvertStatus status = call(&result);
        if (status != CONVERT_STATUS_OK) {
            return {status, std::nullopt};
        }
        return {status, result};
    }

    template <typename T, typename List, typename Call> static Result<T> list(Call call)
    {
        List *list = nullptr;
        const ConvertStatus status = call(&list);
        if (status != CONVERT_STATUS_OK) {
            return {status, std::nullopt};
        }
        return {status, T(list)};
    }

    Handle<ConvertContext, convert_context_free> context_;
};

class Request {
  public:
    explicit Request(ConvertRequest *request) : request_(request) {}

    const ConvertRequest *get() const { return request_.get(); }
    uint64_t id() const { return convert_request_id(get()); }
    std::string_view method() const { return view(convert_request_method(get())); }
    std::string_view url() const { return view(convert_request_url(get())); }
    std::string_view body() const { return view(convert_request_body(get())); }
    uint64_t timeout() const { return convert_request_timeout(get()); }
    size_t headers() const { return convert_request_header_count(get()); }
    std::pair<std::string_view, std::string_view> header(size_t index) const
    {
        ConvertHeader header{};
        convert_request_header_at(get(), index, &header);
        return {view(header.name), view(header.value)};
    }

  private:
    Handle<ConvertRequest, convert_request_free> request_;
};

class Question {
  public:
    explicit Question(ConvertQuestion *question) : question_(question) {}

    // CONVERT_STATUS_PENDING until a turn has answered it.
    ConvertStatus check(ConvertFlushReport *report = nullptr)
    {
        return convert_question_check(question_.get(), report);
    }

  private:
    Handle<ConvertQuestion, convert_question_free> question_;
};

class Pump {
  public:
    explicit Pump(ConvertPump *pump) : pump_(pump) {}

    ConvertPump *get() const { return pump_.get(); }
    // From now on the caller frees it.
    ConvertPump *release() { return pump_.release(); }

    Result<ConvertPumpReport> turn(uint64_t microseconds)
    {
        ConvertPumpReport report{};
        report.size = sizeof report;
        const ConvertStatus status = convert_pump_turn(pump_.get(), microseconds, &report);
        if (status != CONVERT_STATUS_OK) {
            return {status, std::nullopt};
        }
        return {status, report};
    }

    std::optional<Request> next_request()
    {
        ConvertRequest *request = nullptr;
        const ConvertStatus status = convert_pump_next_request(pump_.get(), &request);
        return status == CONVERT_STATUS_OK ? std::optional<Request>(Request(request)) : std::nullopt;
    }

    ConvertStatus answer(uint64_t id, uint16_t status, std::string_view body, Span<ConvertHeader> headers = {})
    {
        return convert_pump_answer(pump_.get(), id, status, headers.data(), headers.size(), text(body));
    }

    ConvertStatus fail(uint64_t id, bool was_sent) { return convert_pump_fail(pump_.get(), id, was_sent ? 1 : 0); }

    // If the pump refused the question, it has no handle, and check gives CONVERT_STATUS_NULL_POINTER.
    Question initialize()
    {
        return asked([&](auto **question) { convert_pump_initialize(pump_.get(), question); });
    }
    Question refresh(uint64_t timeout)
    {
        return asked([&](auto **question) { convert_pump_refresh(pump_.get(), timeout, question); });
    }
    Question flush(uint64_t timeout)
    {
        return asked([&](auto **question) { convert_pump_flush(pump_.get(), timeout, 0, question); });
    }
    Question shutdown(uint64_t timeout)
    {
        return asked([&](auto **question) { convert_pump_shutdown(pump_.get(), timeout, question); });
    }
    Question close()
    {
        return asked([&](auto **question) { convert_pump_close(pump_.get(), question); });
    }

  private:
    template <typename Ask> static Question asked(Ask ask)
    {
        ConvertQuestion *question = nullptr;
        ask(&question);
        return Question(question);
    }

    Handle<ConvertPump, convert_pump_free> pump_;
};

struct PumpedCore {
    Core core;
    Pump pump;

    static Result<PumpedCore> make(const ConvertConfig &config)
    {
        ConvertCore *core = nullptr;
        ConvertPump *pump = nullptr;
        const ConvertStatus status = convert_core_new_pumped(&config, &core, &pump);
        if (status != CONVERT_STATUS_OK) {
            return {status, std::nullopt};
        }
        return {status, PumpedCore{Core(core), Pump(pump)}};
    }
};

} // namespace convert

#endif
