# The gateway's binary is built first, since the control plane asks it to judge configurations; nothing of Go is in the final image.
FROM python:3.11-slim AS gateway
WORKDIR /opt/flowgate
COPY gateway gateway
RUN python -m venv .venv && gateway/build.sh otelcol-flowgate

FROM python:3.11-slim
WORKDIR /opt/flowgate
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY flowgate flowgate
COPY ingest ingest
COPY analyzer analyzer
COPY opamp opamp
COPY controlplane controlplane
COPY dashboards dashboards
COPY gateway/base.yaml gateway/base.yaml
COPY --from=gateway /opt/flowgate/gateway/build/otelcol-flowgate gateway/build/otelcol-flowgate
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && useradd --uid 10001 flowgate && mkdir /data && chown flowgate /data
USER flowgate
CMD ["flowgate", "up"]
