# One image for every process of a site and for the command line: the command chooses which.
#   docker build -t librarian .
#   docker run --rm librarian python -m catalog_svc --config /etc/librarian/site.toml
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/librarian
# The dependencies have a layer of their own, which stays while only our code changes.
COPY constraints.txt pyproject.toml ./
RUN python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        print(*p["dependencies"], *p["optional-dependencies"]["server"], sep="\n")' > requirements.txt \
    && pip --python /opt/librarian/bin/python install -c constraints.txt -r requirements.txt
COPY README.md ./
COPY services services
COPY clients clients
RUN pip --python /opt/librarian/bin/python install --no-deps .

FROM python:3.11-slim-bookworm
# rsync and ssh are what the worker moves data with where a route says so.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openssh-client rsync \
    && rm -rf /var/lib/apt/lists/*
# A fresh volume takes over owner and mode of the directory that it is mounted on.
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/librarian librarian \
    && install -d -o librarian -g librarian /data /var/lib/librarian \
    && install -d -o librarian -g librarian -m 0700 /secrets /secrets/site /secrets/database \
        /secrets/catalog /secrets/store /secrets/transfer /secrets/worker /secrets/gateway
COPY --from=build /opt/librarian /opt/librarian
# HOME is set for those who run as another user: stores on network file systems want a numeric one.
ENV PATH=/opt/librarian/bin:$PATH HOME=/var/lib/librarian PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/librarian
CMD ["librarian", "--help"]
