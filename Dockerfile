# One image for every service: the command chooses which.
#   docker build -t librarian .
#   docker run librarian python -m catalog_svc --config /etc/librarian/site.toml
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/librarian
ENV PATH=/opt/librarian/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt pyproject.toml README.md ./
COPY services services
COPY clients clients
RUN pip install -c constraints.txt '.[server]'

FROM python:3.11-slim-bookworm
# Stores on network file systems want a numeric user; override it where the mount needs another.
RUN useradd --uid 10001 --create-home --home-dir /var/lib/librarian librarian
COPY --from=build /opt/librarian /opt/librarian
ENV PATH=/opt/librarian/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /var/lib/librarian
CMD ["librarian", "--help"]
