"""Names everything public that the installed client can do, read from the package itself."""

import inspect
import json

import fal_client


def methods_of(owner):
    return [
        (f"{owner.__name__}.{name}", member)
        for name, member in inspect.getmembers(owner)
        if not name.startswith("_")
        and (inspect.isfunction(member) or inspect.ismethod(member))
    ]


def functions_of(client):
    """The module's functions are methods of two clients that it made: those count once."""
    bound = vars(client).values()
    return {member.__func__ for member in bound if inspect.ismethod(member)}


public = {name: it for name, it in vars(fal_client).items() if not name.startswith("_")}
functions = {name: it for name, it in public.items() if inspect.isroutine(it)}
classes = {name: it for name, it in public.items() if inspect.isclass(it)}
short = functions_of(fal_client)

names = list(functions)
for name, owner in classes.items():
    own = [full for full, member in methods_of(owner) if member not in short]
    # What has no method of its own is data, or an error: it counts as itself.
    names += own or [name]

print(json.dumps({"version": fal_client.__version__, "names": sorted(names)}))
