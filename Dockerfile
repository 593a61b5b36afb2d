# syntax=docker/dockerfile:1
# Both programs in a small image that runs as nobody in particular.

FROM rust:1.95.0-slim-bookworm AS build
# The C compiler is for SQLite and ring; both are built in.
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential=12.9 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked -p order-server -p order-cli \
    && install -D -t /out target/dist/order-server target/dist/order-cli

FROM debian:12.12-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/orders orders
COPY --from=build /out/ /usr/local/bin/
USER 10001
WORKDIR /var/lib/orders
ENV BIND_ADDR=0.0.0.0:8000 \
    DATABASE_URL=sqlite:///var/lib/orders/orders.db
EXPOSE 8000
# The program itself asks: the image has no curl.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["order-cli", "health"]
# It listens beyond the container, and so starts once there is an API key:
#   docker run --rm -v orders:/var/lib/orders orders order-cli key create --name admin --scope admin
CMD ["order-server"]
