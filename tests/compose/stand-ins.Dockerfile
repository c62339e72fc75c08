# What stands in for the images of registries in tests/containers.py: their names, users, folders,
# commands and signals, with Debian's programs. `debian` is what mmdebstrap made, with all of them.
FROM debian AS python
# A pip that is not Debian's, for which Debian's packages are not there.
RUN python3 -m venv /usr/local
# What this machine trusts, and how its pip reaches an index.
COPY --from=machine ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=machine pip.conf /etc/pip.conf

FROM debian AS postgres
# The ids of Alpine's image.
RUN groupmod --gid 70 postgres && usermod --uid 70 postgres \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/ \
    && install --directory --owner=70 --group=70 --mode=0755 /var/lib/postgresql \
    && install --directory --owner=70 --group=70 --mode=0700 /var/lib/postgresql/data
# What the image's own entrypoint does:
# https://github.com/docker-library/postgres/blob/master/17/alpine3.23/docker-entrypoint.sh
COPY --chmod=0755 <<'SCRIPT' /usr/local/bin/entrypoint
#!/bin/sh
set -eu
if [ "$1" = postgres ]; then
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        echo "$POSTGRES_PASSWORD" >/tmp/password
        initdb --username="$POSTGRES_USER" --pwfile=/tmp/password $POSTGRES_INITDB_ARGS
        echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
        export PGPASSWORD="$POSTGRES_PASSWORD"
        pg_ctl start --wait --options="-c listen_addresses=''"
        createdb --host=/run/postgresql --username="$POSTGRES_USER" "$POSTGRES_USER"
        pg_ctl stop --wait
    fi
    set -- "$@" -c 'listen_addresses=*'
fi
exec "$@"
SCRIPT
ENV PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["entrypoint"]

FROM debian AS redis
WORKDIR /data

FROM debian AS prometheus
RUN install --directory --owner=65534 --group=65534 /prometheus
WORKDIR /prometheus
ENTRYPOINT ["prometheus"]

FROM debian AS alertmanager
RUN ln -s prometheus-alertmanager /usr/bin/alertmanager \
    && install --directory --owner=65534 --group=65534 /alertmanager
WORKDIR /alertmanager
ENTRYPOINT ["alertmanager"]
