# The image of `livemount node`: one static binary and nothing else, so there is no shell, no
# interpreter and no library in it to keep up to date.
#
#   docker build -t livemount:0.1.0 .
#
# glibc and not musl: its allocator is told how to treat the FUSE sessions' large buffers, and that is
# what was measured. Linked statically; names are not resolved through it, for the API server's
# address comes as an IP (KUBERNETES_SERVICE_HOST), and the resolver for files and DNS is linked in.
FROM rust:1.95 AS build
WORKDIR /src
COPY . .
# The target is named even though it is the builder's own: flags then hold for the program alone, not
# for the procedural macros, which cannot be static.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(rustc -vV | sed -n 's/^host: //p')" && \
    RUSTFLAGS='-C target-feature=+crt-static' \
        cargo build --release --locked --bin livemount --target "$target" && \
    install -D "target/$target/release/livemount" /out/livemount && \
    strip /out/livemount && \
    /out/livemount --version

FROM scratch
LABEL org.opencontainers.image.title="livemount" \
      org.opencontainers.image.description="Configuration as live files: a CSI node plugin" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/livemount /usr/local/bin/livemount
ENV PATH=/usr/local/bin
# root, because mounting is for root, and the kubelet's folders are closed to others.
USER 0:0
ENTRYPOINT ["/usr/local/bin/livemount"]
CMD ["node"]
