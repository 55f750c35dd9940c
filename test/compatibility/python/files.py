"""Files to upload, made anew in a folder that goes with the program."""

import atexit
import hashlib
import os
import shutil
import tempfile

from PIL import Image

from trials import blob

folder = tempfile.mkdtemp()
atexit.register(shutil.rmtree, folder, ignore_errors=True)


def written(name, data):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(data)
    return path, hashlib.sha256(data).hexdigest()


def small_file():
    return written("words.txt", b"some words\n")


def large_file():
    data, _ = blob(101)
    return written("large.mp4", data)


def picture():
    return Image.new("RGB", (64, 48), (200, 80, 20))
