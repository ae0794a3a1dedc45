"""`python -m local.onlyfans --port N`."""

from local.faults import serve
from local.onlyfans.app import create_app

if __name__ == "__main__":
    serve(create_app, "OnlyFans gateway simulator")
