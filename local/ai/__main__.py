"""`python -m local.ai --port N`."""

from local.ai.app import create_app
from local.faults import serve

if __name__ == "__main__":
    serve(create_app, "OpenAI and Azure OpenAI simulator")
