# Every image of the product:
#   --build-arg SERVICE=auth|voice|content|synthesis|perform      a service: the kernel, the contracts and itself
#   --build-arg SERVICE=gateway --target gateway                  Envoy with the configuration that the contracts give
#
# `python -m dev.images` builds them all, without an index and reproducibly. A release pins BASE by digest. Any Debian
# with python3 and python3-venv will do.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

# Whoever builds without an index gives a folder of wheels in its place, and PIP_OPTIONS=--no-index:
#   --build-context wheels=FOLDER
FROM scratch AS wheels

FROM ${BASE} AS installer
# The same compiled files whoever compiles them, and valid whatever becomes of the times of files.
ENV PYTHONHASHSEED=0
WORKDIR /build
COPY pyproject.toml requirements.lock ./
COPY deploy/images/closure.py deploy/images/

FROM installer AS contracts
ARG PIP_OPTIONS=""
# hadolint ignore=SC2086
RUN --mount=type=bind,from=wheels,target=/wheels \
    python3 deploy/images/closure.py contracts > contracts.lock \
 && python3 -m venv /opt/generators \
 && /opt/generators/bin/pip install --no-cache-dir --require-hashes --no-deps --find-links /wheels ${PIP_OPTIONS} \
    -r contracts.lock
COPY protos protos
COPY dev/__init__.py dev/protos.py dev/
RUN /opt/generators/bin/python -m dev.protos

FROM installer AS packages
ARG PIP_OPTIONS=""
ARG SERVICE
# hadolint ignore=SC2086
RUN --mount=type=bind,from=wheels,target=/wheels \
    python3 deploy/images/closure.py "${SERVICE}" > service.lock \
 && python3 -m venv /opt/installer && python3 -m venv --without-pip /opt/venv \
 && /opt/installer/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --require-hashes \
    --no-deps --find-links /wheels ${PIP_OPTIONS} -r service.lock \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib

FROM installer AS gateway-code
WORKDIR /opt/newvisions
COPY --from=contracts /build/gen/edge.pb gen/edge.pb
COPY --from=contracts /build/gen/newvisions gen/newvisions
COPY --from=contracts /build/gen/buf gen/buf
COPY gateway gateway
RUN python3 -m compileall -q --invalidation-mode unchecked-hash .

FROM installer AS service-code
ARG SERVICE
WORKDIR /opt/newvisions
COPY --from=contracts /build/gen gen
COPY services/__init__.py services/serve.py services/migrate.py services/
COPY services/kernel services/kernel
COPY services/${SERVICE} services/${SERVICE}
RUN python3 -m compileall -q --invalidation-mode unchecked-hash .

FROM ${BASE} AS runtime
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/newvisions:/opt/newvisions/gen PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/newvisions
COPY --from=packages /opt/venv /opt/venv
USER 65532:65532

FROM runtime AS gateway
COPY --from=gateway-code /opt/newvisions /opt/newvisions
EXPOSE 8080 9100
# Exec form here and below: the program is process 1 and hears SIGTERM itself.
ENTRYPOINT ["/opt/venv/bin/python", "-m", "gateway"]
CMD ["--settings", "/etc/newvisions"]

FROM runtime AS service
ARG SERVICE
COPY --from=service-code /opt/newvisions /opt/newvisions
ENV SERVER_SERVICES=${SERVICE}
EXPOSE 50051 9100
ENTRYPOINT ["/opt/venv/bin/python", "-m", "services.serve"]
