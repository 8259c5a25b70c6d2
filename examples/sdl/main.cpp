// An arcade game whose enemies and levels are decided by Convert, in the loop of the game: no thread, no wait.
#include "carrier.hpp"
#include "game.hpp"
#include "screen.hpp"

#include <convert.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

namespace {

constexpr uint64_t budget = 200; // microseconds for the SDK in each frame

// The witness: how many threads this process has, and how many of them the SDK's.
struct Threads {
    int all = 0, sdk = 0;

    void look()
    {
        Threads now;
        for (const auto &task : std::filesystem::directory_iterator("/proc/self/task")) {
            std::string name;
            std::getline(std::ifstream(task.path() / "comm"), name);
            now.all++;
            now.sdk += name.rfind("convert-", 0) == 0 ? 1 : 0;
        }
        all = std::max(all, now.all);
        sdk = std::max(sdk, now.sdk);
    }
};

// One coin: a player, and the rules that were decided for them. Without a config it is the game's own.
struct Play {
    std::optional<convert::Context> visitor;
    Rules rules;
    std::string decided = "OFFLINE";

    Play(const convert::Core &core, std::string name) : player(std::move(name))
    {
        auto made = convert::Context::make(core, player);
        if (!made) {
            return;
        }
        visitor = std::move(*made);
        if (auto layout = visitor->run_experience("level-layout")) {
            rules.layout = convert::view(layout->variation_key);
            shown(player, layout->experience_id, layout->variation_id);
        }
        if (auto enemies = visitor->run_feature("enemies")) {
            const std::string colour(enemies->text("colour").value_or("#d0d0d0"));
            rules.colour = static_cast<uint32_t>(std::strtoul(colour.c_str() + 1, nullptr, 16));
            rules.speed = enemies->number("speed").value_or(rules.speed);
            shown(player, enemies->experience_id, enemies->variation_id);
            decided = "LAYOUT " + rules.layout + "   ENEMIES " + colour + " SPEED " + std::to_string(std::lround(rules.speed));
        }
    }

    void cleared(int score) const
    {
        const double revenue = score / 100.0;
        if (visitor && visitor->track("level-cleared", {convert_goal_number(CONVERT_GOAL_KEY_AMOUNT, revenue)}) ==
                           CONVERT_STATUS_OK) {
            std::printf("{\"visitor\": \"%s\", \"goal\": \"level-cleared\", \"amount\": %.2f}\n", player.c_str(), revenue);
        }
    }

  private:
    std::string player;

    // What the endpoint must have received in the end.
    static void shown(const std::string &player, ConvertText experience, ConvertText variation)
    {
        std::printf("{\"visitor\": \"%s\", \"experience\": \"%.*s\", \"variation\": \"%.*s\"}\n", player.c_str(),
                    static_cast<int>(experience.length), experience.data, static_cast<int>(variation.length),
                    variation.data);
    }
};

const char *environment(const char *name)
{
    const char *value = std::getenv(name);
    return value == nullptr ? "" : value;
}

class Arcade {
  public:
    Arcade(convert::PumpedCore &sdk, Screen &screen, int self_play, const char *screenshot)
        : core_(sdk.core), pump_(sdk.pump), screen_(screen), self_play_(self_play), screenshot_(screenshot),
          carrier_(std::getenv("CONVERT_CA_FILE")), ready_(pump_.initialize())
    {
    }

    // Whether there is another one.
    bool frame()
    {
        const auto start = Clock::now();
        sdk_ = 0;
        turn();
        play();
        draw();
        frames_.push_back({since(start), sdk_});
        if (frames_.size() % 30 == 1) {
            threads_.look();
        }
        if (self_play_ == 0) {
            SDL_Delay(static_cast<uint32_t>(std::max(0.0, 16.0 - since(start) / 1000)));
        }
        return ended_ == CONVERT_STATUS_PENDING;
    }

    // Says what the frames took and whether everything went well.
    bool report()
    {
        threads_.look();
        std::vector<double> shares;
        std::transform(frames_.begin(), frames_.end(), std::back_inserter(shares), [](Frame it) { return it.sdk; });
        std::sort(shares.begin(), shares.end());
        const auto share = [&](double part) { return shares[static_cast<size_t>(part * (shares.size() - 1.0))]; };
        std::fprintf(stderr, "the SDK in %zu frames, in microseconds: p50 %.1f, p99 %.1f, p99.9 %.1f\n",
                     shares.size(), share(0.5), share(0.99), share(0.999));
        std::printf("{\"threads\": %d, \"sdk_threads\": %d, \"undelivered\": %llu}\n", threads_.all, threads_.sdk,
                    static_cast<unsigned long long>(delivered_.pending + delivered_.dropped));
        return loaded_ == CONVERT_STATUS_OK && ended_ == CONVERT_STATUS_OK && threads_.sdk == 0;
    }

  private:
    using Clock = std::chrono::steady_clock;

    static double since(Clock::time_point start)
    {
        return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
    }

    template <typename Work> void timed(Work work)
    {
        const auto start = Clock::now();
        work();
        sdk_ += since(start);
    }

    // The SDK's part of the frame, and its requests.
    void turn()
    {
        timed([&] { pump_.turn(budget); });
        carrier_.carry(pump_);
        if (loaded_ == CONVERT_STATUS_PENDING && (loaded_ = ready_.check()) < 40 && loaded_ != CONVERT_STATUS_OK) {
            std::fprintf(stderr, "playing offline: %s\n", std::string(convert::last_error()).c_str());
        }
        if (over_) {
            ended_ = over_->check(&delivered_);
        }
    }

    void play()
    {
        bool quit = false;
        for (SDL_Event event; SDL_PollEvent(&event) != 0;) {
            quit |= event.type == SDL_QUIT;
        }
        const bool played = game_ && game_->state() != Game::State::playing && --pause_ <= 0;
        if (!over_ && (quit || (played && plays_ == self_play_))) {
            over_ = pump_.shutdown(1000);
        } else if (!over_ && loaded_ != CONVERT_STATUS_PENDING && (played || !game_)) {
            const std::string player = "sdl-" + std::to_string(++plays_);
            timed([&] { play_.emplace(core_, player); });
            game_.emplace(play_->rules, static_cast<uint32_t>(plays_));
            pause_ = 40;
        } else if (game_ && game_->state() == Game::State::playing) {
            game_->advance(self_play_ > 0 ? game_->play() : keyboard());
            if (game_->state() == Game::State::cleared) {
                timed([&] { play_->cleared(game_->score); });
            }
        }
    }

    static Controls keyboard()
    {
        const uint8_t *keys = SDL_GetKeyboardState(nullptr);
        return {static_cast<double>(keys[SDL_SCANCODE_RIGHT]) - keys[SDL_SCANCODE_LEFT],
                keys[SDL_SCANCODE_SPACE] != 0};
    }

    void draw()
    {
        screen_.clear();
        if (game_) {
            screen_.draw(*game_);
        }
        screen_.banner(!game_                                   ? "INSERT COIN"
                       : over_                                  ? "THANK YOU"
                       : game_->state() == Game::State::cleared ? "LEVEL CLEARED"
                       : game_->state() == Game::State::lost    ? "GAME OVER"
                                                                : "");
        screen_.panel(frames_, budget, play_ ? play_->decided : "CONVERT",
                      "THREADS " + std::to_string(threads_.all) + " OF THE SDK " + std::to_string(threads_.sdk));
        // In the middle of the last game, when something has just burst.
        if (screenshot_ != nullptr && plays_ == self_play_ && game_ && game_->score >= 220 &&
            game_->sparks.size() > 20 && game_->sparks.back().age > 0.15) {
            if (!screen_.save(screenshot_)) {
                std::fprintf(stderr, "%s cannot be written\n", screenshot_);
            }
            screenshot_ = nullptr;
        }
        screen_.show();
    }

    convert::Core &core_;
    convert::Pump &pump_;
    Screen &screen_;
    const int self_play_;
    const char *screenshot_;
    Carrier carrier_;
    convert::Question ready_;
    std::optional<convert::Question> over_;
    ConvertStatus loaded_ = CONVERT_STATUS_PENDING, ended_ = CONVERT_STATUS_PENDING;
    ConvertFlushReport delivered_ = {sizeof delivered_, 0, 0, 0};
    std::optional<Play> play_;
    std::optional<Game> game_;
    int plays_ = 0, pause_ = 0;
    std::vector<Frame> frames_;
    double sdk_ = 0;
    Threads threads_;
};

int run(int self_play, const char *screenshot)
{
    auto config = convert::config();
    config.sdk_key = convert::text(environment("CONVERT_SDK_KEY"));
    config.for_game_loop = 1;
    if (std::getenv("CONVERT_CONFIG_ENDPOINT") != nullptr) {
        config.config_base_url = convert::text(environment("CONVERT_CONFIG_ENDPOINT"));
        config.track_base_url = convert::text(environment("CONVERT_TRACK_ENDPOINT"));
    }
    auto sdk = convert::PumpedCore::make(config);
    Screen screen;
    if (!sdk || !screen.open()) {
        std::fprintf(stderr, "%s %s\n", std::string(convert::last_error()).c_str(), SDL_GetError());
        return 1;
    }
    Arcade arcade(*sdk, screen, self_play, screenshot);
    while (arcade.frame()) {
    }
    return arcade.report() ? 0 : 1;
}

} // namespace

int main(int count, char **arguments)
{
    int self_play = 0;
    const char *screenshot = nullptr;
    for (int index = 1; index + 1 < count; index += 2) {
        const std::string_view option = arguments[index];
        if (option == "--self-play") {
            self_play = std::atoi(arguments[index + 1]);
        } else if (option == "--screenshot") {
            screenshot = arguments[index + 1];
        }
    }
    if (SDL_Init(SDL_INIT_VIDEO) != 0) {
        std::fprintf(stderr, "%s\n", SDL_GetError());
        return 1;
    }
    const int status = run(self_play, screenshot);
    SDL_Quit();
    return status;
}
