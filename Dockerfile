# syntax=docker/dockerfile:1
# The operator's image: `make docker-buildx`. It also runs every other command of dbtether.

ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
WORKDIR /build
COPY requirements-dev.lock pyproject.toml README.md LICENSE ./
COPY src ./src
# The versions that were tested, without those of the tests' own tools, which nothing here asks for.
RUN sed -e 's/ *\\$//' -e '/--hash=/d' requirements-dev.lock > constraints.txt \
    && python -m venv /opt/dbtether \
    && /opt/dbtether/bin/pip install --no-cache-dir --disable-pip-version-check \
        --constraint constraints.txt '.[operator]' \
    && /opt/dbtether/bin/python -m compileall -q /opt/dbtether

FROM python:${PYTHON} AS image
# A backup is made with the client of the server's own major, a restore with that of its target. Majors that PostgreSQL
# maintains no longer move to its archive, for amd64 and arm64 as before.
ARG POSTGRES_MAJORS="13 14 15 16 17 18"
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && for major in ${POSTGRES_MAJORS}; do \
        apt-get install -y --no-install-recommends "postgresql-client-${major}" && continue; \
        sed -e 's|//apt\.|//apt-archive.|' -e 's|-pgdg$|-pgdg-archive|' /etc/apt/sources.list.d/pgdg.sources \
            > /etc/apt/sources.list.d/pgdg-archive.sources \
        && apt-get update \
        && apt-get install -y --no-install-recommends "postgresql-client-${major}" || exit 1; \
    done \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/dbtether /opt/dbtether
# The root file system is mounted read-only: nothing is written beside the code.
ENV PATH=/opt/dbtether/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
LABEL org.opencontainers.image.title=dbtether \
    org.opencontainers.image.licenses=Apache-2.0
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["dbtether"]
