# Redis with the module bear.
#
#   docker build -t bear .
#   docker run --rm -p 127.0.0.1:6379:6379 -e BEAR_POSTGRES_URL=postgresql://user:password@host/database bear
#
#   docker buildx build --platform linux/amd64,linux/arm64 -t bear .     (both are compiled on this machine's own kind)
#   docker build --target symbols --output . .                           (libbear.so.debug, for gdb and perf)
#
# It needs BuildKit, which is Docker's own builder since 23; an older one takes DOCKER_BUILDKIT=1.

FROM --platform=$BUILDPLATFORM rust:1-bookworm AS build
ARG TARGETARCH
# For another architecture, a cross compiler with its headers. TARGET is what scripts/build.sh builds for.
RUN case "$TARGETARCH" in \
        amd64) rust=x86_64-unknown-linux-gnu gnu=x86-64-linux-gnu ;; \
        arm64) rust=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu ;; \
        *) echo "no image is made for $TARGETARCH" >&2; exit 1 ;; \
    esac \
    && packages=libclang-dev \
    && if [ "$TARGETARCH" != "$(dpkg --print-architecture)" ]; then \
        packages="$packages gcc-$gnu libc6-dev-$TARGETARCH-cross" && rustup target add "$rust"; \
    fi \
    && echo "TARGET=$rust" >/target \
    && apt-get update \
    && apt-get install -y --no-install-recommends $packages \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src

# The dependencies, in a layer of their own that lasts until one of these files changes.
COPY Cargo.toml Cargo.lock build.rs ./
COPY scripts/build.sh scripts/build.sh
RUN mkdir src \
    && touch src/lib.rs \
    && env $(cat /target) scripts/build.sh \
    && rm -r src

COPY src src
COPY catalogs catalogs
COPY schema schema
# The empty library above is newer than the sources may be.
RUN touch src/lib.rs \
    && env $(cat /target) scripts/build.sh \
    && . /target \
    && mkdir /out \
    && mv "target/$TARGET/release/libbear.so" "target/$TARGET/release/libbear.so.debug" /out

FROM scratch AS symbols
COPY --from=build /out/libbear.so.debug /

# Nothing runs here, so that it needs no emulation for another architecture.
FROM redis:7-bookworm
COPY --from=build /out/libbear.so /usr/local/lib/redis/modules/libbear.so
COPY redis.conf /usr/local/etc/redis/redis.conf
# To look at and to start from: bear.catalog names the one in use.
COPY catalogs /usr/local/share/bear/catalogs
COPY schema /usr/local/share/bear/schema
# The image's own user redis, by number: Kubernetes' runAsNonRoot wants one. A folder mounted at /data must be writable for it.
USER 999:999
# That Redis answers; whether Postgres does, /healthz says (bear.metrics-listen). One that wants a password answers, too.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD redis-cli ping | grep -Eq 'PONG|NOAUTH' || exit 1
EXPOSE 6379
CMD ["redis-server", "/usr/local/etc/redis/redis.conf"]
