# Redis with the module bear.
#
#   docker build -t bear .
#   docker run --rm -p 127.0.0.1:6379:6379 -e BEAR_POSTGRES_URL=postgresql://user:password@host/database bear

FROM rust:1-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src

# The dependencies, in a layer of their own that lasts until one of these files changes.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir src \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src

COPY src src
COPY catalogs catalogs
COPY schema schema
COPY scripts/build.sh scripts/build.sh
# The empty library above is newer than the sources may be.
RUN touch src/lib.rs \
    && scripts/build.sh

FROM redis:7-bookworm
COPY --from=build /src/target/release/libbear.so /usr/local/lib/redis/modules/libbear.so
COPY redis.conf /usr/local/etc/redis/redis.conf
# To look at and to start from: bear.catalog names the one in use.
COPY catalogs /usr/local/share/bear/catalogs
COPY schema /usr/local/share/bear/schema
CMD ["redis-server", "/usr/local/etc/redis/redis.conf"]
