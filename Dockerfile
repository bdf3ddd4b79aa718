# The gateway, locked and without root.
#   docker build -t moe-gateway .
#   docker run -p 8080:8080 -e OPENAI_API_KEY -v moe-data:/data moe-gateway
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
WORKDIR /build
COPY requirements.lock ./
# Only what the lock names, only with the hash it gives, and no build step that could run somebody's setup.py.
RUN /opt/venv/bin/pip install --require-hashes --no-deps --only-binary=:all: -r requirements.lock \
 && /opt/venv/bin/pip uninstall -q -y pip
# Templates inside packages do not compile; that is no fault.
RUN /opt/venv/bin/python -m compileall -q -j 0 /opt/venv/lib >/dev/null || true

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="moe-gateway" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --system --gid 10001 moe \
 && useradd --system --uid 10001 --gid moe --home-dir /data --shell /usr/sbin/nologin moe \
 && install -d -o moe -g moe -m 0750 /data /keys
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY router_core ./router_core
COPY gateway ./gateway
COPY config ./config
COPY LICENSE ./
COPY scripts/with-keys /usr/local/bin/with-keys
RUN printf '#!/bin/sh\nexec with-keys /opt/venv/bin/python -m gateway.cli "$@"\n' > /usr/local/bin/moe-gateway \
 && chmod 0755 /usr/local/bin/moe-gateway \
 && /opt/venv/bin/python -m compileall -q router_core gateway
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=8080 \
    MOE_KEYS_DIR=/keys \
    MOE_CONFIG_DIR=/app/config \
    MOE_STORE_URL=sqlite:////data/moe-gateway.db
USER 10001:10001
VOLUME ["/data", "/keys"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/healthz', timeout=2)"]
ENTRYPOINT ["moe-gateway"]
CMD ["serve"]
