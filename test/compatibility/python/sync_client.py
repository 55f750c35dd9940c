"""Every method of the synchronous client, as a program would call it."""

import os
import time

import fal_client
import httpx
import msgpack

from files import large_file, picture, small_file
from trials import acl_of, blob, described, fetched, handle_fields, main, raised, seen, trial

ECHO = "tintype/echo"
PROBE = "test/probe"
STREAMS = "test/streams"
LIVE = "fal-ai/fast-lcm-diffusion"
SMALL = {"prompt": "a lighthouse", "image_size": {"width": 256, "height": 192}, "seed": 7}
SLOW = {"duration_ms": 30000}


@trial("run")
def run():
    seed = 18446744073709551615
    result = fal_client.run(ECHO, {"prompt": "hello", "seed": seed})
    return {"prompt": result["prompt"], "seed_is_exact": result["seed"] == seed}


@trial("run: path, hint, start_timeout, headers")
def run_options():
    return fal_client.run(
        "fal-ai/fast-sdxl",
        {**SMALL, "image_url": fal_client.encode_image(picture()), "num_inference_steps": 2},
        path="/image-to-image",
        hint="near",
        start_timeout=60,
        headers={"x-fal-tags": "suite=python"},
    )


@trial("run: a picture, fetched by its URL")
def run_picture():
    result = fal_client.run("fal-ai/fast-sdxl", {**SMALL, "num_inference_steps": 2})
    return {"result": result, "file": fetched(result["images"][0]["url"])}


@trial("submit")
def submit():
    handle = fal_client.submit(ECHO, {"n": 1})
    return {**handle_fields(handle), "result": handle.get()}


@trial("submit: priority, hint, headers, webhook_url")
def submit_options():
    handle = fal_client.submit(
        ECHO,
        {"told": "by webhook"},
        priority="low",
        hint="near",
        headers={"x-fal-tags": "suite=python"},
        webhook_url=os.environ["COMPATIBILITY_WEBHOOK"],
    )
    return {"request_id": handle.request_id, "result": handle.get()}


def blocked():
    """As many slow requests as the runner has slots, so that the next one waits."""
    slots = int(os.environ["COMPATIBILITY_SLOTS"])
    return [fal_client.submit(PROBE, SLOW) for _ in range(slots)]


def freed(blockers):
    for blocker in blockers:
        blocker.cancel()


@trial("submit: start_timeout passes while it waits")
def submit_start_timeout():
    blockers = blocked()
    try:
        return refusal(lambda: fal_client.subscribe(PROBE, {}, start_timeout=1.01))
    finally:
        freed(blockers)


@trial("subscribe: with_logs, on_enqueue, on_queue_update")
def subscribe():
    enqueued, updates = [], []
    result = fal_client.subscribe(
        PROBE,
        {"lines": 5, "duration_ms": 600},
        with_logs=True,
        on_enqueue=enqueued.append,
        on_queue_update=lambda status: updates.append(seen(status)),
    )
    return {"result": result, "enqueued": enqueued, "updates": updates}


@trial("subscribe, FalClientTimeoutError: client_timeout cancels")
def client_timeout():
    try:
        fal_client.subscribe(PROBE, SLOW, client_timeout=1.5)
        return {"raised": None}
    except fal_client.FalClientTimeoutError as error:
        handle = fal_client.sync_client.get_handle(PROBE, error.request_id)
        is_error = isinstance(error, fal_client.FalClientError)
        return {"text": str(error), "is_error": is_error, "last": events_of(handle)[-1]}


def events_of(handle, **options):
    return [seen(event) for event in handle.iter_events(**options)]


@trial("Status, Queued, InProgress, Completed")
def statuses():
    blockers = blocked()
    handle = fal_client.submit(PROBE, {"duration_ms": 400})
    first = handle.status()
    freed(blockers)
    return [seen(first), *events_of(handle)]


@trial("RequestHandle.status")
def handle_status():
    handle = fal_client.submit(PROBE, {"lines": 2})
    handle.get()
    return seen(handle.status(with_logs=True))


@trial("RequestHandle.iter_events")
def handle_iter_events():
    handle = fal_client.submit(PROBE, {"lines": 3, "duration_ms": 300})
    return events_of(handle, with_logs=True, interval=0.02)


@trial("RequestHandle.get")
def handle_get():
    return fal_client.submit(PROBE, {"lines": 3}).get(interval=0.02)


@trial("RequestHandle.cancel")
def handle_cancel():
    handle = fal_client.submit(PROBE, SLOW)
    handle.cancel()
    return refusal(handle.get)


@trial("RequestHandle.from_request_id")
def handle_from_request_id():
    made = fal_client.submit(PROBE, {"lines": 1})
    client = httpx.Client(headers={"Authorization": f"Key {os.environ['FAL_KEY']}"})
    handle = fal_client.SyncRequestHandle.from_request_id(client, PROBE, made.request_id)
    return handle.get()


@trial("Client.get_handle: a client with a key of its own")
def client_get_handle():
    client = fal_client.SyncClient(key=os.environ["FAL_KEY"], default_timeout=30)
    made = client.submit(PROBE, {"lines": 1})
    handle = client.get_handle(PROBE, made.request_id)
    return {**handle_fields(handle), "result": handle.get()}


@trial("status")
def status():
    handle = fal_client.submit(PROBE, {"lines": 1})
    handle.get()
    return seen(fal_client.status(PROBE, handle.request_id, with_logs=True))


@trial("result")
def result():
    handle = fal_client.submit(PROBE, {"lines": 1})
    return fal_client.result(PROBE, handle.request_id)


@trial("cancel")
def cancel():
    handle = fal_client.submit(PROBE, SLOW)
    fal_client.cancel(PROBE, handle.request_id)
    return events_of(handle)[-1]


@trial("stream")
def stream():
    steps = {**SMALL, "num_inference_steps": 3}
    return list(fal_client.stream("fal-ai/flux/dev", steps))


@trial("stream: events of 200 KB full of emoji")
def stream_emoji():
    text = "🌅é漢" * 25000
    events = fal_client.stream(STREAMS, {"chunks": 3, "text": text})
    return [event.get("text") == text for event in events]


@trial("realtime: with a token")
def realtime():
    with fal_client.realtime(LIVE, max_buffering=2) as connection:
        connection.send({**SMALL, "request_id": "one"})
        return described(connection.recv())


@trial("realtime: with the key")
def realtime_key():
    with fal_client.realtime(LIVE, use_jwt=False) as connection:
        connection.send({**SMALL, "request_id": "two"})
        return described(connection.recv())


@trial("RealtimeConnection.send, RealtimeConnection.recv, RealtimeConnection.close")
def realtime_connection():
    with fal_client.realtime(LIVE) as connection:
        answers = []
        for n in range(3):
            connection.send({**SMALL, "request_id": str(n)})
            answers.append(described(connection.recv()))
        # The library's reader must be back in its read: it would take the timeout that close() sets
        # on the socket, in between, for one that has passed, and miss the server's answer.
        time.sleep(0.2)
        connection.close()
        return {"answers": answers, "after_close": connection.recv()}


@trial("RealtimeConnection.recv: input that the model refuses")
def realtime_refused():
    with fal_client.realtime(LIVE) as connection:
        connection.send({"prompt": {"no": "text"}})
        try:
            return described(connection.recv())
        except RuntimeError as error:
            return {"type": type(error).__name__, "error": error.error, "reason": error.reason}


@trial("ws_connect")
def ws_connect():
    with fal_client.ws_connect(LIVE, path="/realtime") as socket:
        socket.send(msgpack.packb({**SMALL, "request_id": "raw"}))
        return described(msgpack.unpackb(socket.recv()))


@trial("upload")
def upload():
    only = {"fallback_repository": []}
    return fetched(fal_client.upload(b"small", "image/png", "picture.png", **only))


@trial("upload: repository fal")
def upload_storage():
    return fetched(fal_client.upload("some text", "text/plain", repository="fal"))


@trial("upload, StorageSettings, StorageACL, StorageACLRule: lifecycle")
def upload_lifecycle():
    rule = fal_client.StorageACLRule(user="nobody", decision="allow")
    acl = fal_client.StorageACL(default="hide", rules=[rule])
    settings = fal_client.StorageSettings(expires_in="1h", initial_acl=acl)
    return acl_of(fal_client.upload(b"hidden", "image/png", lifecycle=settings))


@trial("upload: 101 MiB, in parts")
def upload_large():
    data, digest = blob(101)
    url = fal_client.upload(data, "application/octet-stream", "large.bin")
    return {"sent": digest, "file": fetched(url)}


@trial("upload_file")
def upload_file():
    path, digest = small_file()
    return {"sent": digest, "file": fetched(fal_client.upload_file(path))}


@trial("upload_file: 101 MiB, in parts")
def upload_file_large():
    path, digest = large_file()
    return {"sent": digest, "file": fetched(fal_client.upload_file(path))}


@trial("upload_image")
def upload_image():
    return fetched(fal_client.upload_image(picture(), format="png"))


@trial("encode")
def encode():
    return fal_client.encode("some text", "text/plain")


@trial("encode_file")
def encode_file():
    path, _ = small_file()
    return fal_client.encode_file(path)[:40]


@trial("encode_image")
def encode_image():
    return fal_client.encode_image(picture(), format="png")[:30]


@trial("FalClientHTTPError, FalClientError: input that the model refuses")
def invalid_input():
    return refusal(lambda: fal_client.run("fal-ai/flux/dev", {"num_images": 99}))


@trial("FalClientHTTPError: an app that failed")
def app_failed():
    return refusal(lambda: fal_client.subscribe(PROBE, {"fail": "throw"}))


@trial("FalClientHTTPError: no such app")
def unknown_app():
    return refusal(lambda: fal_client.submit("fal-ai/fluxx/dev", {}))


@trial("FalClientHTTPError: no such request")
def unknown_request():
    unknown = "00000000-0000-4000-8000-000000000000"
    return refusal(lambda: fal_client.status(PROBE, unknown))


def refusal(call):
    try:
        return {"answered": call()}
    except fal_client.FalClientError as error:
        return raised(error)


@trial("set_get_current_app")
def current_app():
    class Request:
        headers = {"x-fal-cdn-token": "of the outer request"}

    class App:
        current_request = Request()

    fal_client.set_get_current_app(App)
    try:
        return fal_client.run(ECHO, {"inside": "an app"})
    finally:
        fal_client.set_get_current_app(lambda: None)


if __name__ == "__main__":
    main()
