# A runner who jumps over enemies. Their colour and speed are a feature's variables, their formation is an experiment,
# and to come through is a conversion with revenue.
extends Node

const STEP = 1.0 / 60
const WIDTH = 640
const HEIGHT = 320
const GROUND = 262
const RUNNER_X = 130
const GRAVITY = 1700.0

var sdk = preload("res://sdk.gd").new()
var games = 3
var picture = ""
var game = 0
var player = ""
var ready = false
var ending = false
var failed = false
var threads = 0
var sdk_threads = 0
var layout
var colour
var speed
var enemies = []
var time = 0.0
var height = 0.0
var climb = 0.0
var score = 0
var over = true

func _ready():
	for argument in OS.get_cmdline_args():
		if argument.begins_with("--picture="):
			picture = argument.substr(10)
	add_child(sdk)

func _process(_delta):
	sdk.turn()
	count_threads()
	if ending:
		var status = sdk.check()
		if status != sdk.PENDING:
			print('{"threads": %d, "sdk_threads": %d, "undelivered": %d}' % [threads, sdk_threads, sdk.undelivered])
			OS.exit_code = 1 if failed or status != sdk.OK_STATUS or sdk_threads > 0 else 0
			get_tree().quit()
	elif not ready:
		var status = sdk.check()
		ready = status != sdk.PENDING
		failed = ready and status != sdk.OK_STATUS
	elif over and game == games:
		sdk.call_sdk("shutdown", [1000])
		ending = true
	elif over:
		begin()
	else:
		# It plays itself, and faster than anybody could watch.
		for _step in range(20):
			if not over:
				advance()

func begin():
	game += 1
	player = "godot-%d" % game
	layout = "ranks"
	colour = Color.gray
	speed = 60.0
	sdk.call_sdk("visitor", [player])
	var shown = sdk.call_sdk("experience", ["level-layout"]).split("\n")
	if shown.size() > 3:
		layout = shown[2]
		say(shown)
	var feature = sdk.call_sdk("feature", ["enemies"]).split("\n")
	if feature.size() > 4:
		# Its variables, sorted by name.
		colour = Color(JSON.parse(feature[2]).result)
		speed = float(feature[3])
		say(feature)
	enemies = []
	for index in range(24):
		var lift = 0
		var gap = 190 * index
		if layout == "wedge":
			gap = 420 * (index / 3) + 34 * (index % 3)
			lift = 26 if index % 3 == 1 else 0
		elif layout == "rings":
			lift = 12 + 12 * sin(index * 1.3)
		enemies.append(Vector2(WIDTH + gap, lift))
	time = 0.0
	height = 0.0
	climb = 0.0
	score = 0
	over = false

func say(shown):
	print('{"visitor": "%s", "experience": "%s", "variation": "%s"}' % [player, shown[0], shown[1]])

func advance():
	time += STEP
	var pace = speed * 2.4
	var kept = []
	for enemy in enemies:
		var before = enemy.x
		enemy.x -= pace * STEP
		var near = abs(enemy.x - RUNNER_X) < 22 and abs(enemy.y - height) < 22
		if near:
			score -= 5
		elif before >= RUNNER_X and enemy.x < RUNNER_X:
			score += 20
		# Jumps in time to be highest above it.
		if height == 0 and climb == 0 and enemy.x > RUNNER_X and enemy.x - RUNNER_X < pace * 0.34:
			climb = 580.0
		if not near and enemy.x > -30:
			kept.append(enemy)
	enemies = kept
	height = max(0.0, height + climb * STEP)
	climb = climb - GRAVITY * STEP if height > 0 else 0.0
	if picture != "" and game == games and score >= 160 and height > 70:
		draw()
		picture = ""
	if enemies.empty():
		over = true
		var revenue = max(1, score) / 100.0
		if int(sdk.call_sdk("track", ["level-cleared", revenue])) == sdk.OK_STATUS:
			print('{"visitor": "%s", "goal": "level-cleared", "amount": %.2f}' % [player, revenue])

func count_threads():
	var tasks = Directory.new()
	if tasks.open("/proc/self/task") != OK:
		return
	var all = 0
	var of_sdk = 0
	tasks.list_dir_begin(true)
	var task = tasks.get_next()
	while task != "":
		var name = File.new()
		if name.open("/proc/self/task/%s/comm" % task, File.READ) == OK:
			all += 1
			of_sdk += int(name.get_line().begins_with("convert-"))
		task = tasks.get_next()
	threads = max(threads, all)
	sdk_threads = max(sdk_threads, of_sdk)

# The headless server has no renderer, so the picture is made of boxes.

const HERO = ["...####...", "..######..", "..#+##+#..", "..######..", "...####...", ".########.", "#.######.#",
		"..######..", "..##..##..", ".##....##."]
const ENEMY = ["#...##...#", ".#.####.#.", "..######..", ".##+##+##.", "##########", ".########.", "##.####.##",
		"..######..", ".#......#."]

var image

func box(x, y, width, tall, of):
	var area = Image.new()
	area.create(int(width), int(tall), false, Image.FORMAT_RGB8)
	area.fill(of)
	image.blit_rect(area, Rect2(0, 0, width, tall), Vector2(x, y))

func sprite(rows, x, foot, of, eyes):
	for row in range(rows.size()):
		for column in range(10):
			var bit = rows[row][column]
			if bit != ".":
				box(x - 20 + column * 4, foot - (rows.size() - row) * 4, 4, 4, of if bit == "#" else eyes)

func draw():
	image = Image.new()
	image.create(WIDTH, HEIGHT, false, Image.FORMAT_RGB8)
	for band in range(16):
		box(0, band * 20, WIDTH, 20, Color("#2b2d6e").linear_interpolate(Color("#f7a072"), band / 15.0))
	for row in range(-40, 41, 4):
		var half = sqrt(1600 - row * row)
		box(WIDTH - 130 - half, 90 + row, half * 2 + 1, 4, Color("#ffe08a"))
	for x in range(0, WIDTH, 4):
		var far = 60 + 30 * sin(x / 70.0 + 1) + 14 * sin(x / 23.0)
		box(x, GROUND - far, 4, far, Color("#6d4a7c"))
		var close = 26 + 16 * sin(x / 45.0)
		box(x, GROUND - close, 4, close, Color("#4a2f5e"))
	box(0, GROUND, WIDTH, HEIGHT - GROUND, Color("#2d1b2e"))
	box(0, GROUND, WIDTH, 8, Color("#5fa04e"))
	for x in range(0, WIDTH, 32):
		box(x - fmod(time * speed, 32), GROUND + 20, 16, 4, Color("#442c45"))
	for enemy in enemies:
		if enemy.x < WIDTH + 20:
			sprite(ENEMY, enemy.x, GROUND - enemy.y, colour, Color.white)
	sprite(HERO, RUNNER_X, GROUND - height, Color("#f4f1de"), Color("#2b2d6e"))
	# The score: a coin for each enemy passed.
	for coin in range(score / 20):
		box(12 + coin * 18, 12, 12, 12, Color("#ffd166"))
		box(16 + coin * 18, 15, 4, 6, Color("#c8963e"))
	image.save_png(picture)
