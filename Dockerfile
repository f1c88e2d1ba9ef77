# docker build -t registry.example.com/syncctl:0.1.0 .
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The dependencies change less often than the code: a layer of their own.
COPY constraints.txt pyproject.toml ./
RUN python -m venv --without-pip /opt/syncctl \
 && python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['serve'], sep='\n')" > /tmp/requirements.txt \
 && pip --python /opt/syncctl/bin/python install --only-binary :all: --constraint constraints.txt --requirement /tmp/requirements.txt
COPY README.md LICENSE ./
COPY alembic alembic
COPY syncctl syncctl
RUN pip wheel --no-deps --wheel-dir /tmp/wheel . \
 && pip --python /opt/syncctl/bin/python install --no-deps --no-index /tmp/wheel/*.whl

FROM ${PYTHON}
# The modules are compiled above; at run time nothing is written beside them.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/opt/syncctl/bin:$PATH HOME=/home/syncctl
COPY --from=build /opt/syncctl /opt/syncctl
# Writable for a SQLite file, when no other database is named; a number, so that runAsNonRoot can see that it is not root.
RUN install -d -o 65532 -g 65532 /home/syncctl
USER 65532:65532
WORKDIR /home/syncctl
ENTRYPOINT ["syncctl"]
