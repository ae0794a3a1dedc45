"""`python -m local.legacy --port N`."""

from local.faults import serve
from local.legacy.app import create_app

if __name__ == "__main__":
    serve(create_app, "Legacy campaign processor")
