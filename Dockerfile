# One image for API, worker and migration; the default target holds no simulator and no test.
#   docker build -t huntaze .
#   docker build -t huntaze-dev --target dev .     # adds the simulators, for docker-compose.yml
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim AS dependencies
COPY requirements.lock /tmp/requirements.lock
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/requirements.lock

FROM python:${PYTHON_VERSION}-slim AS product
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can verify runAsNonRoot.
RUN groupadd --system --gid 10001 huntaze \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent huntaze
COPY --from=dependencies /opt/venv /opt/venv
WORKDIR /app
COPY domain ./domain
COPY activities ./activities
COPY workflows ./workflows
COPY adapters ./adapters
COPY api ./api
COPY cli ./cli
COPY worker.py ./
# The locked packages are all that is installed; the command is the product's own entry point.
RUN printf '#!/opt/venv/bin/python\nfrom cli.main import app\n\napp()\n' > /opt/venv/bin/huntaze \
    && chmod 0755 /opt/venv/bin/huntaze \
    && python -m compileall -q /app
USER 10001:10001
ENV HUNTAZE_API_HOST=0.0.0.0 \
    HUNTAZE_API_PORT=8000
EXPOSE 8000
ENTRYPOINT ["huntaze"]

FROM product AS dev
COPY local ./local

# The last stage is what `docker build .` makes.
FROM product AS production
# For the API. A worker and a migration have no port: switch the check off for them.
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['HUNTAZE_API_PORT'] + '/api/health/hybrid-orchestrator/live', timeout=3)"]
CMD ["api"]
