# The SDK in the scene tree: give it a turn in each frame; it carries its requests with HTTPRequest nodes.
extends Node

const BUDGET = 200 # microseconds in each frame
const OK_STATUS = 0
const PENDING = 63

var library = GDNative.new()
var undelivered = 0

func _ready():
	library.library = load("res://convert.gdnlib")
	library.initialize()
	call_sdk("open", [OS.get_environment("CONVERT_SDK_KEY"), OS.get_environment("CONVERT_CONFIG_ENDPOINT"),
			OS.get_environment("CONVERT_TRACK_ENDPOINT")])

func _exit_tree():
	library.terminate()

func call_sdk(name, arguments = []):
	return library.call_native("standard_varcall", "arcade_" + name, arguments)

func turn():
	call_sdk("turn", [BUDGET])
	while true:
		var request = call_sdk("next_request").split("\n")
		if request.size() < 5:
			return
		send(request)

func send(request):
	var carrier = HTTPRequest.new()
	carrier.max_redirects = 0
	carrier.timeout = int(ceil(int(request[3]) / 1000.0))
	add_child(carrier)
	carrier.connect("request_completed", self, "_on_completed", [carrier, request[0]])
	var headers = []
	for index in range(5, request.size() - 1):
		headers.append(request[index])
	var method = HTTPClient.METHOD_POST if request[1] == "POST" else HTTPClient.METHOD_GET
	if carrier.request(request[2], headers, true, method, request[4]) != OK:
		fail(carrier, request[0], false)

func _on_completed(result, status, headers, body, carrier, id):
	if result != HTTPRequest.RESULT_SUCCESS:
		var unsent = [HTTPRequest.RESULT_CANT_CONNECT, HTTPRequest.RESULT_CANT_RESOLVE, HTTPRequest.RESULT_SSL_HANDSHAKE_ERROR]
		fail(carrier, id, not result in unsent)
		return
	var found = {"etag": "", "retry-after": "", "date": ""}
	for header in headers:
		var name = header.split(":")[0].to_lower()
		if found.has(name):
			found[name] = header.substr(name.length() + 1).strip_edges()
	call_sdk("answer", [id, status, body.get_string_from_utf8(), found["etag"], found["retry-after"], found["date"]])
	carrier.queue_free()

func fail(carrier, id, was_sent):
	call_sdk("fail", [id, int(was_sent)])
	carrier.queue_free()

# The status of what was asked last: the opening or the shutdown.
func check():
	var lines = call_sdk("check").split("\n")
	undelivered = int(lines[1])
	return int(lines[0])
