// Draws: sprites and letters as bits, the game, and the graph of what each frame took.
#ifndef SCREEN_HPP
#define SCREEN_HPP

#include "game.hpp"

#include <SDL.h>
#include <png.h>

#include <array>
#include <cctype>
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

// What one frame took, in microseconds.
struct Frame {
    double whole, sdk;
};

class Screen {
  public:
    static constexpr int width = static_cast<int>(Game::width), height = 560;

    bool open()
    {
        window_ = SDL_CreateWindow("Arcade", SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED, width, height, 0);
        renderer_ = window_ == nullptr ? nullptr : SDL_CreateRenderer(window_, -1, SDL_RENDERER_SOFTWARE);
        return renderer_ != nullptr;
    }

    ~Screen()
    {
        SDL_DestroyRenderer(renderer_);
        SDL_DestroyWindow(window_);
    }

    void clear()
    {
        colour(0x0a0e1f);
        SDL_RenderClear(renderer_);
        // Stars, the near ones faster.
        sky_ += Game::step;
        for (uint32_t star = 0; star < 110; star++) {
            const uint32_t place = star * 2654435761U;
            const int depth = 1 + static_cast<int>(star % 3);
            const double y = std::fmod(place / 65536 % 420 + sky_ * 9 * depth, Game::height);
            box(place % width, y, depth == 3 ? 2 : 1, depth == 3 ? 2 : 1, depth == 1 ? 0x39406a : 0x8088b8);
        }
    }

    void draw(const Game &game)
    {
        const bool step = std::fmod(game.time, 0.8) < 0.4;
        for (const Enemy &enemy : game.enemies) {
            if (enemy.alive) {
                const uint32_t of = game.rules.colour;
                // The second kind is half as bright.
                sprite(enemies[enemy.kind * 2 + (step ? 1 : 0)], game.position(enemy),
                       enemy.kind == 0 ? of : (of >> 1 & 0x7f7f7f) + 0x302030);
            }
        }
        for (const Point &shot : game.shots) {
            box(shot.x - 1, shot.y - 6, 3, 12, 0xfff3b0);
        }
        for (const Point &bomb : game.bombs) {
            box(bomb.x - 2, bomb.y - 5, 4, 4, 0xff9f43);
            box(bomb.x - 1, bomb.y - 1, 2, 7, 0xffd166);
        }
        for (const Spark &spark : game.sparks) {
            box(spark.at.x, spark.at.y, 3, 3, spark.colour);
        }
        if (game.safe <= 0 || std::fmod(game.safe, 0.2) < 0.1) {
            sprite(ship, {game.ship, Game::ship_y}, 0x7fd8ff);
            box(game.ship - 1, Game::ship_y + 9, 3, step ? 7 : 4, 0xff9f43);
        }
        for (int life = 0; life < game.lives; life++) {
            sprite(ship, {width - 30.0 - life * 32, 20}, 0x7fd8ff);
        }
        write(14, 14, 2, 0xffffff, "SCORE " + std::to_string(game.score));
    }

    // What the last frames took, on a logarithmic scale, and what was decided for this player.
    void panel(const std::vector<Frame> &frames, double budget, const std::string &decided,
               const std::string &threads)
    {
        const double top = Game::height, foot = height - 10;
        // 17.5 pixels for a factor of ten, from 1 microsecond on.
        const auto tall = [](double microseconds) { return std::max(1.0, std::log10(microseconds) * 17.5); };
        box(0, top, width, height - top, 0x151a33);
        box(0, top, width, 2, 0x39406a);
        write(14, top + 10, 2, 0xffffff, decided);
        const size_t columns = 310, first = frames.size() < columns ? 0 : frames.size() - columns;
        for (size_t index = first; index < frames.size(); index++) {
            const double x = 14 + 2.0 * static_cast<double>(index - first);
            box(x, foot - tall(frames[index].whole), 2, tall(frames[index].whole), 0x3f6fb5);
            box(x, foot - tall(frames[index].sdk), 2, tall(frames[index].sdk), 0xffa94d);
        }
        line(foot - tall(16667), 0xff6b6b, "16.7 MS");
        line(foot - tall(budget), 0xffe08a, "BUDGET");
        line(foot - tall(10), 0x6c76b0, "10 US");
        legend(14, 0x3f6fb5, "FRAME", frames.empty() ? 0 : frames.back().whole);
        legend(170, 0xffa94d, "OF IT THE SDK", frames.empty() ? 0 : frames.back().sdk);
        write(width - 14 - 6 * static_cast<double>(threads.size()), top + 31, 1, 0x5ce1a0, threads);
    }

    void banner(std::string_view text)
    {
        write((width - text.size() * 24.0) / 2, 250, 4, 0xffffff, text);
    }

    bool save(const char *file)
    {
        std::vector<uint8_t> pixels(static_cast<size_t>(width) * height * 3);
        if (SDL_RenderReadPixels(renderer_, nullptr, SDL_PIXELFORMAT_RGB24, pixels.data(), width * 3) != 0) {
            return false;
        }
        png_image image;
        std::memset(&image, 0, sizeof image);
        image.version = PNG_IMAGE_VERSION;
        image.width = width;
        image.height = height;
        image.format = PNG_FORMAT_RGB;
        return png_image_write_to_file(&image, file, 0, pixels.data(), 0, nullptr) != 0;
    }

    void show() { SDL_RenderPresent(renderer_); }

  private:
    using Sprite = std::array<const char *, 8>;

    static constexpr Sprite ship = {".....#.....", "....###....", "....###....", ".#.#####.#.",
                                    ".#.##.##.#.", "###########", "###.###.###", "#...#.#...#"};
    static constexpr Sprite enemies[4] = {
        {"...#####...", "..#######..", ".##..#..##.", ".##..#..##.", "..#######..", ".#.#.#.#.#.", ".#.#...#.#.",
         "#..#...#..#"},
        {"...#####...", "..#######..", ".##..#..##.", ".##..#..##.", "..#######..", ".#.#.#.#.#.", "#..#...#..#",
         ".#..#.#..#."},
        {"#...###...#", "##.#####.##", "###########", "##..###..##", ".#########.", "..##...##..", "...#...#...",
         ".##.....##."},
        {"....###....", "#..#####..#", "###########", "##..###..##", "###########", "..##...##..", "..#.....#..",
         "...#...#..."},
    };

    static constexpr std::string_view letters = " ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:#/";
    // Seven rows of five bits for each.
    static constexpr uint8_t glyphs[][7] = {
        {0, 0, 0, 0, 0, 0, 0},
        {14, 17, 17, 31, 17, 17, 17}, {30, 17, 17, 30, 17, 17, 30}, {14, 17, 16, 16, 16, 17, 14},
        {30, 17, 17, 17, 17, 17, 30}, {31, 16, 16, 30, 16, 16, 31}, {31, 16, 16, 30, 16, 16, 16},
        {14, 17, 16, 23, 17, 17, 15}, {17, 17, 17, 31, 17, 17, 17}, {14, 4, 4, 4, 4, 4, 14},
        {7, 2, 2, 2, 2, 18, 12},      {17, 18, 20, 24, 20, 18, 17}, {16, 16, 16, 16, 16, 16, 31},
        {17, 27, 21, 21, 17, 17, 17}, {17, 25, 21, 19, 17, 17, 17}, {14, 17, 17, 17, 17, 17, 14},
        {30, 17, 17, 30, 16, 16, 16}, {14, 17, 17, 17, 21, 18, 13}, {30, 17, 17, 30, 20, 18, 17},
        {15, 16, 16, 14, 1, 1, 30},   {31, 4, 4, 4, 4, 4, 4},       {17, 17, 17, 17, 17, 17, 14},
        {17, 17, 17, 17, 17, 10, 4},  {17, 17, 17, 21, 21, 27, 17}, {17, 17, 10, 4, 10, 17, 17},
        {17, 17, 10, 4, 4, 4, 4},     {31, 1, 2, 4, 8, 16, 31},     {14, 17, 19, 21, 25, 17, 14},
        {4, 12, 4, 4, 4, 4, 14},      {14, 17, 1, 6, 8, 16, 31},    {31, 2, 4, 2, 1, 17, 14},
        {2, 6, 10, 18, 31, 2, 2},     {31, 16, 30, 1, 1, 17, 14},   {6, 8, 16, 30, 17, 17, 14},
        {31, 1, 2, 4, 8, 8, 8},       {14, 17, 17, 14, 17, 17, 14}, {14, 17, 17, 15, 1, 2, 12},
        {0, 0, 0, 0, 0, 12, 12},      {0, 0, 0, 31, 0, 0, 0},       {0, 12, 12, 0, 12, 12, 0},
        {10, 10, 31, 10, 31, 10, 10}, {0, 1, 2, 4, 8, 16, 0},
    };
    static_assert(std::size(glyphs) == letters.size());

    void colour(uint32_t rgb)
    {
        SDL_SetRenderDrawColor(renderer_, static_cast<uint8_t>(rgb >> 16), static_cast<uint8_t>(rgb >> 8),
                               static_cast<uint8_t>(rgb), 255);
    }

    void box(double x, double y, double wide, double tall, uint32_t of)
    {
        const SDL_Rect area = {static_cast<int>(x), static_cast<int>(y), static_cast<int>(wide),
                               static_cast<int>(tall)};
        colour(of);
        SDL_RenderFillRect(renderer_, &area);
    }

    void sprite(const Sprite &rows, Point middle, uint32_t of)
    {
        for (size_t row = 0; row < rows.size(); row++) {
            for (size_t column = 0; rows[row][column] != 0; column++) {
                if (rows[row][column] == '#') {
                    box(middle.x - 13 + column * 2.5, middle.y - 10 + row * 2.5, 3, 3, of);
                }
            }
        }
    }

    void write(double x, double y, int scale, uint32_t of, std::string_view text)
    {
        for (const char letter : text) {
            const size_t index = letters.find(static_cast<char>(std::toupper(static_cast<unsigned char>(letter))));
            for (int row = 0; index != std::string_view::npos && row < 7; row++) {
                for (int bit = 0; bit < 5; bit++) {
                    if ((glyphs[index][row] >> (4 - bit)) % 2 == 1) {
                        box(x + bit * scale, y + row * scale, scale, scale, of);
                    }
                }
            }
            x += 6 * scale;
        }
    }

    void line(double y, uint32_t of, std::string_view text)
    {
        box(14, y, 620, 1, of);
        write(642, y - 3, 1, of, text);
    }

    void legend(double x, uint32_t of, const std::string &text, double microseconds)
    {
        box(x, Game::height + 31, 7, 7, of);
        write(x + 11, Game::height + 31, 1, 0xb8c0e8, text + " " + std::to_string(std::lround(microseconds)) + " US");
    }

    SDL_Window *window_ = nullptr;
    SDL_Renderer *renderer_ = nullptr;
    double sky_ = 0;
};

#endif
