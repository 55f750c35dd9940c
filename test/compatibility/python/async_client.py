"""Every method of the asynchronous client, as a program would call it."""

import asyncio
import os

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
async def run():
    seed = 18446744073709551615
    result = await fal_client.run_async(ECHO, {"prompt": "hello", "seed": seed})
    return {"prompt": result["prompt"], "seed_is_exact": result["seed"] == seed}


@trial("run: path, hint, start_timeout, headers")
async def run_options():
    return await fal_client.run_async(
        "fal-ai/fast-sdxl",
        {**SMALL, "image_url": fal_client.encode_image(picture()), "num_inference_steps": 2},
        path="/image-to-image",
        hint="near",
        start_timeout=60,
        headers={"x-fal-tags": "suite=python"},
    )


@trial("run: a picture, fetched by its URL")
async def run_picture():
    result = await fal_client.run_async("fal-ai/fast-sdxl", {**SMALL, "num_inference_steps": 2})
    return {"result": result, "file": fetched(result["images"][0]["url"])}


@trial("submit")
async def submit():
    handle = await fal_client.submit_async(ECHO, {"n": 1})
    return {**handle_fields(handle), "result": await handle.get()}


@trial("submit: priority, hint, headers, webhook_url")
async def submit_options():
    handle = await fal_client.submit_async(
        ECHO,
        {"told": "by webhook"},
        priority="low",
        hint="near",
        headers={"x-fal-tags": "suite=python"},
        webhook_url=os.environ["COMPATIBILITY_WEBHOOK"],
    )
    return {"request_id": handle.request_id, "result": await handle.get()}


async def blocked():
    """As many slow requests as the runner has slots, so that the next one waits."""
    slots = int(os.environ["COMPATIBILITY_SLOTS"])
    return await asyncio.gather(*(fal_client.submit_async(PROBE, SLOW) for _ in range(slots)))


async def freed(blockers):
    await asyncio.gather(*(blocker.cancel() for blocker in blockers))


@trial("submit: start_timeout passes while it waits")
async def submit_start_timeout():
    blockers = await blocked()
    try:
        return await refusal(fal_client.subscribe_async(PROBE, {}, start_timeout=1.01))
    finally:
        await freed(blockers)


@trial("subscribe: with_logs, on_enqueue, on_queue_update")
async def subscribe():
    enqueued, updates = [], []

    async def on_queue_update(status):
        updates.append(seen(status))

    result = await fal_client.subscribe_async(
        PROBE,
        {"lines": 5, "duration_ms": 600},
        with_logs=True,
        on_enqueue=enqueued.append,
        on_queue_update=on_queue_update,
    )
    return {"result": result, "enqueued": enqueued, "updates": updates}


@trial("subscribe, FalClientTimeoutError: client_timeout cancels")
async def client_timeout():
    try:
        await fal_client.subscribe_async(PROBE, SLOW, client_timeout=1.5)
        return {"raised": None}
    except fal_client.FalClientTimeoutError as error:
        handle = await fal_client.async_client.get_handle(PROBE, error.request_id)
        is_error = isinstance(error, fal_client.FalClientError)
        return {"text": str(error), "is_error": is_error, "last": (await events_of(handle))[-1]}


async def events_of(handle, **options):
    return [seen(event) async for event in handle.iter_events(**options)]


@trial("Status, Queued, InProgress, Completed")
async def statuses():
    blockers = await blocked()
    handle = await fal_client.submit_async(PROBE, {"duration_ms": 400})
    first = await handle.status()
    await freed(blockers)
    return [seen(first), *await events_of(handle)]


@trial("RequestHandle.status")
async def handle_status():
    handle = await fal_client.submit_async(PROBE, {"lines": 2})
    await handle.get()
    return seen(await handle.status(with_logs=True))


@trial("RequestHandle.iter_events")
async def handle_iter_events():
    handle = await fal_client.submit_async(PROBE, {"lines": 3, "duration_ms": 300})
    return await events_of(handle, with_logs=True, interval=0.02)


@trial("RequestHandle.get")
async def handle_get():
    return await (await fal_client.submit_async(PROBE, {"lines": 3})).get(interval=0.02)


@trial("RequestHandle.cancel")
async def handle_cancel():
    handle = await fal_client.submit_async(PROBE, SLOW)
    await handle.cancel()
    return await refusal(handle.get())


@trial("RequestHandle.from_request_id")
async def handle_from_request_id():
    made = await fal_client.submit_async(PROBE, {"lines": 1})
    headers = {"Authorization": f"Key {os.environ['FAL_KEY']}"}
    async with httpx.AsyncClient(headers=headers) as client:
        of_id = fal_client.AsyncRequestHandle.from_request_id
        return await of_id(client, PROBE, made.request_id).get()


@trial("Client.get_handle: a client with a key of its own")
async def client_get_handle():
    client = fal_client.AsyncClient(key=os.environ["FAL_KEY"], default_timeout=30)
    made = await client.submit(PROBE, {"lines": 1})
    handle = await client.get_handle(PROBE, made.request_id)
    return {**handle_fields(handle), "result": await handle.get()}


@trial("status")
async def status():
    handle = await fal_client.submit_async(PROBE, {"lines": 1})
    await handle.get()
    return seen(await fal_client.status_async(PROBE, handle.request_id, with_logs=True))


@trial("result")
async def result():
    handle = await fal_client.submit_async(PROBE, {"lines": 1})
    return await fal_client.result_async(PROBE, handle.request_id)


@trial("cancel")
async def cancel():
    handle = await fal_client.submit_async(PROBE, SLOW)
    await fal_client.cancel_async(PROBE, handle.request_id)
    return (await events_of(handle))[-1]


@trial("stream")
async def stream():
    steps = {**SMALL, "num_inference_steps": 3}
    return [event async for event in fal_client.stream_async("fal-ai/flux/dev", steps)]


@trial("stream: events of 200 KB full of emoji")
async def stream_emoji():
    text = "🌅é漢" * 25000
    events = fal_client.stream_async(STREAMS, {"chunks": 3, "text": text})
    return [event.get("text") == text async for event in events]


@trial("realtime: with a token")
async def realtime():
    async with fal_client.realtime_async(LIVE, max_buffering=2) as connection:
        await connection.send({**SMALL, "request_id": "one"})
        return described(await connection.recv())


@trial("realtime: with the key")
async def realtime_key():
    async with fal_client.realtime_async(LIVE, use_jwt=False) as connection:
        await connection.send({**SMALL, "request_id": "two"})
        return described(await connection.recv())


@trial("RealtimeConnection.send, RealtimeConnection.recv, RealtimeConnection.close")
async def realtime_connection():
    async with fal_client.realtime_async(LIVE) as connection:
        answers = []
        for n in range(3):
            await connection.send({**SMALL, "request_id": str(n)})
            answers.append(described(await connection.recv()))
        await connection.close()
        return {"answers": answers, "after_close": await connection.recv()}


@trial("RealtimeConnection.recv: input that the model refuses")
async def realtime_refused():
    async with fal_client.realtime_async(LIVE) as connection:
        await connection.send({"prompt": {"no": "text"}})
        try:
            return described(await connection.recv())
        except RuntimeError as error:
            return {"type": type(error).__name__, "error": error.error, "reason": error.reason}


@trial("ws_connect")
async def ws_connect():
    async with fal_client.ws_connect_async(LIVE, path="/realtime") as socket:
        await socket.send(msgpack.packb({**SMALL, "request_id": "raw"}))
        return described(msgpack.unpackb(await socket.recv()))


@trial("upload")
async def upload():
    only = {"fallback_repository": []}
    return fetched(await fal_client.upload_async(b"small", "image/png", "picture.png", **only))


@trial("upload: repository fal")
async def upload_storage():
    url = await fal_client.upload_async("some text", "text/plain", repository="fal")
    return fetched(url)


@trial("upload, StorageSettings, StorageACL, StorageACLRule: lifecycle")
async def upload_lifecycle():
    rule = fal_client.StorageACLRule(user="nobody", decision="allow")
    acl = fal_client.StorageACL(default="hide", rules=[rule])
    settings = fal_client.StorageSettings(expires_in="1h", initial_acl=acl)
    return acl_of(await fal_client.upload_async(b"hidden", "image/png", lifecycle=settings))


@trial("upload: 101 MiB, in parts")
async def upload_large():
    data, digest = blob(101)
    url = await fal_client.upload_async(data, "application/octet-stream", "large.bin")
    return {"sent": digest, "file": fetched(url)}


@trial("upload_file")
async def upload_file():
    path, digest = small_file()
    return {"sent": digest, "file": fetched(await fal_client.upload_file_async(path))}


@trial("upload_file: 101 MiB, in parts")
async def upload_file_large():
    path, digest = large_file()
    return {"sent": digest, "file": fetched(await fal_client.upload_file_async(path))}


@trial("upload_image")
async def upload_image():
    return fetched(await fal_client.upload_image_async(picture(), format="png"))


@trial("FalClientHTTPError, FalClientError: input that the model refuses")
async def invalid_input():
    return await refusal(fal_client.run_async("fal-ai/flux/dev", {"num_images": 99}))


@trial("FalClientHTTPError: an app that failed")
async def app_failed():
    return await refusal(fal_client.subscribe_async(PROBE, {"fail": "throw"}))


@trial("FalClientHTTPError: no such app")
async def unknown_app():
    return await refusal(fal_client.submit_async("fal-ai/fluxx/dev", {}))


@trial("FalClientHTTPError: no such request")
async def unknown_request():
    unknown = "00000000-0000-4000-8000-000000000000"
    return await refusal(fal_client.status_async(PROBE, unknown))


async def refusal(call):
    try:
        return {"answered": await call}
    except fal_client.FalClientError as error:
        return raised(error)


if __name__ == "__main__":
    main()
