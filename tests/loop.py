"""`python -m tests.loop run --config X`: the whole service, with UDP answered on the event loop."""

import runpy

import msgspec

from tests.engine import put_first

if __name__ == "__main__":
    put_first(lambda listen: msgspec.structs.replace(listen, engine="python"))
    runpy.run_module("resolver", run_name="__main__", alter_sys=True)
