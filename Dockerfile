# Every image of the product:
#   --build-arg SERVICE=auth|voice|content|synthesis|perform      a service: the kernel, the contracts and itself
#   --build-arg SERVICE=gateway --target gateway                  Envoy with the configuration that the contracts give
#
# A release pins BASE by digest. Any Debian with python3 and python3-venv will do.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS installer
# Builds without an index put wheels here and add PIP_OPTIONS="--no-index --find-links wheels".
WORKDIR /build
COPY pyproject.toml wheels* wheels/
COPY pyproject.toml requirements.lock ./
COPY deploy/images/closure.py deploy/images/

FROM installer AS contracts
ARG PIP_OPTIONS=""
# hadolint ignore=SC2086
RUN python3 deploy/images/closure.py contracts > contracts.lock \
 && python3 -m venv /opt/generators \
 && /opt/generators/bin/pip install --no-cache-dir --require-hashes --no-deps ${PIP_OPTIONS} -r contracts.lock
COPY protos protos
COPY dev/__init__.py dev/protos.py dev/
RUN /opt/generators/bin/python -m dev.protos

FROM installer AS packages
ARG PIP_OPTIONS=""
ARG SERVICE
# hadolint ignore=SC2086
RUN mkdir -p /opt/newvisions \
 && python3 deploy/images/closure.py "${SERVICE}" > /opt/newvisions/requirements.lock \
 && python3 -m venv /opt/installer && python3 -m venv --without-pip /opt/venv \
 && /opt/installer/bin/pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes --no-deps \
    ${PIP_OPTIONS} -r /opt/newvisions/requirements.lock

FROM ${BASE} AS runtime
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/newvisions:/opt/newvisions/gen PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/newvisions
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /opt/newvisions /opt/newvisions
USER 65532:65532

FROM runtime AS gateway
COPY --from=contracts /build/gen/edge.pb gen/edge.pb
COPY --from=contracts /build/gen/newvisions gen/newvisions
COPY --from=contracts /build/gen/buf gen/buf
COPY gateway gateway
EXPOSE 8080 9100
# Exec form here and below: the program is process 1 and hears SIGTERM itself.
ENTRYPOINT ["/opt/venv/bin/python", "-m", "gateway"]
CMD ["--settings", "/etc/newvisions/gateway.json"]

FROM runtime AS service
ARG SERVICE
COPY --from=contracts /build/gen gen
COPY services/__init__.py services/serve.py services/migrate.py services/
COPY services/kernel services/kernel
COPY services/${SERVICE} services/${SERVICE}
ENV SERVER_SERVICES=${SERVICE}
EXPOSE 50051 9100
ENTRYPOINT ["/opt/venv/bin/python", "-m", "services.serve"]
