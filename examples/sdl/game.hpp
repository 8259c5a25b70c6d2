// The game itself, which knows nothing of experiments: a level, a ship, what flies; and a player for it.
#ifndef GAME_HPP
#define GAME_HPP

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

// What the level and its enemies are like; a game must also run without a config.
struct Rules {
    std::string layout = "ranks";
    uint32_t colour = 0xd0d0d0;
    double speed = 60;
};

struct Controls {
    double steer = 0; // -1 left, 1 right
    bool fire = false;
};

struct Point {
    double x, y;
};

struct Enemy {
    Point at;
    int kind;
    bool alive = true;
};

struct Spark {
    Point at, speed;
    double left, age;
    uint32_t colour;
};

class Game {
  public:
    static constexpr double width = 720, height = 420, step = 1.0 / 60;
    static constexpr double ship_y = height - 34;
    static constexpr double reach = 15; // half an enemy, in x

    enum class State { playing, cleared, lost };

    Game(const Rules &rules, uint32_t seed) : rules(rules), random_(seed * 2654435761U + 1) { place(); }

    State state() const
    {
        if (lives <= 0) {
            return State::lost;
        }
        return std::any_of(enemies.begin(), enemies.end(), [](const Enemy &enemy) { return enemy.alive; })
                   ? State::playing
                   : State::cleared;
    }

    void advance(const Controls &controls)
    {
        time += step;
        ship = std::clamp(ship + controls.steer * 280 * step, 24.0, width - 24);
        cooldown_ -= step;
        safe -= step;
        if (controls.fire && cooldown_ <= 0) {
            shots.push_back({ship, ship_y - 18});
            cooldown_ = 0.26;
        }
        march();
        drop_bombs();
        fly();
    }

    // Where the formation has moved since the start.
    Point position(const Enemy &enemy) const { return {enemy.at.x + shift_.x, enemy.at.y + shift_.y}; }

    double speed() const
    {
        const auto alive = std::count_if(enemies.begin(), enemies.end(), [](const Enemy &it) { return it.alive; });
        return rules.speed * (2 - static_cast<double>(alive) / static_cast<double>(enemies.size()));
    }

    // Plays like somebody who has put in a coin: evades what falls, aims ahead of what marches.
    Controls play() const
    {
        for (const Point &bomb : bombs) {
            if (std::abs(bomb.x - ship) < 26 && bomb.y > ship_y - 120 && bomb.y < ship_y + 10) {
                const bool right = ship < 60 || (bomb.x <= ship && ship < width - 60);
                return {right ? 1.0 : -1.0, true};
            }
        }
        double nearest = 1e9;
        for (const Enemy &enemy : enemies) {
            if (enemy.alive) {
                const Point at = position(enemy);
                const double ahead = direction_ * speed() * (ship_y - at.y) / shot_speed;
                double x = at.x + ahead;
                x = x > width - 20 ? 2 * (width - 20) - x : x < 20 ? 40 - x : x;
                if (std::abs(x - ship) < std::abs(nearest)) {
                    nearest = x - ship;
                }
            }
        }
        return {std::clamp(nearest / 6, -1.0, 1.0), std::abs(nearest) < 8};
    }

    const Rules rules;
    std::vector<Enemy> enemies;
    std::vector<Point> shots, bombs;
    std::vector<Spark> sparks;
    double ship = width / 2, time = 0, safe = 0;
    int lives = 3, score = 0;

  private:
    static constexpr double shot_speed = 520;

    void place()
    {
        auto add = [&](double x, double y, int kind) { enemies.push_back({{width / 2 + x, y}, kind}); };
        if (rules.layout == "wedge") {
            for (int row = 0; row < 6; row++) {
                for (int column = -row; column <= row; column++) {
                    add(column * 40, 235 - row * 34, std::abs(column) == row ? 1 : 0);
                }
            }
        } else if (rules.layout == "rings") {
            for (int ring = 0; ring < 3; ring++) {
                const int count = 6 + ring * 6;
                for (int place = 0; place < count; place++) {
                    const double angle = 6.2831853 * place / count;
                    add(std::cos(angle) * (50 + ring * 74), 148 + std::sin(angle) * (26 + ring * 36), ring % 2);
                }
            }
        } else {
            for (int row = 0; row < 4; row++) {
                for (int column = 0; column < 9; column++) {
                    add((column - 4) * 44, 70 + row * 38, row % 2);
                }
            }
        }
    }

    void march()
    {
        shift_.x += direction_ * speed() * step;
        bool turn = false;
        for (const Enemy &enemy : enemies) {
            const Point at = position(enemy);
            turn |= enemy.alive && (direction_ > 0 ? at.x > width - 20 : at.x < 20);
            if (enemy.alive && at.y > ship_y - 24) {
                lives = 0;
            }
        }
        if (turn) {
            direction_ = -direction_;
            shift_.y += 8;
        }
    }

    void drop_bombs()
    {
        next_bomb_ -= step;
        if (next_bomb_ <= 0 && state() == State::playing) {
            next_bomb_ = 0.55;
            size_t index = random() % enemies.size();
            while (!enemies[index].alive) {
                index = (index + 1) % enemies.size();
            }
            bombs.push_back(position(enemies[index]));
        }
    }

    void fly()
    {
        for (Point &shot : shots) {
            shot.y -= shot_speed * step;
            for (Enemy &enemy : enemies) {
                const Point at = position(enemy);
                if (enemy.alive && std::abs(at.x - shot.x) < reach && std::abs(at.y - shot.y) < 13) {
                    enemy.alive = false;
                    score += enemy.kind == 1 ? 20 : 10;
                    burst(at, rules.colour, 26);
                    shot.y = -1;
                    break;
                }
            }
        }
        for (Point &bomb : bombs) {
            bomb.y += 150 * step;
            if (safe <= 0 && std::abs(bomb.x - ship) < 17 && std::abs(bomb.y - ship_y) < 14) {
                lives--;
                safe = 1.5;
                burst({ship, ship_y}, 0xffd166, 40);
                bomb.y = height + 1;
            }
        }
        for (Spark &spark : sparks) {
            spark.at = {spark.at.x + spark.speed.x * step, spark.at.y + spark.speed.y * step};
            spark.left -= step;
            spark.age += step;
        }
        erase_if(shots, [](const Point &shot) { return shot.y < 0; });
        erase_if(bombs, [](const Point &bomb) { return bomb.y > height; });
        erase_if(sparks, [](const Spark &spark) { return spark.left <= 0; });
    }

    void burst(Point at, uint32_t colour, int count)
    {
        for (int index = 0; index < count; index++) {
            const double angle = random() % 628 / 100.0, fast = 30 + random() % 120;
            sparks.push_back({at, {std::cos(angle) * fast, std::sin(angle) * fast}, 0.2 + random() % 50 / 100.0, 0, colour});
        }
    }

    template <typename T, typename Condition> static void erase_if(std::vector<T> &list, Condition condition)
    {
        list.erase(std::remove_if(list.begin(), list.end(), condition), list.end());
    }

    uint32_t random()
    {
        random_ = random_ * 1664525 + 1013904223;
        return random_ >> 8;
    }

    Point shift_ = {0, 0};
    double direction_ = 1, cooldown_ = 0, next_bomb_ = 1;
    uint32_t random_;
};

#endif
