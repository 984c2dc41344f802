# One image for every role: `docker run … hub-backend serve relay`. Nothing is in it but
# the program, certificate authorities and time zones; it runs as nobody in particular
# and needs no file that can be written.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN make build VERSION=$VERSION && mkdir /data

FROM scratch
COPY --from=build /src/bin/hub /hub
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/go/lib/time/zoneinfo.zip /zoneinfo.zip
# Where a development issuer keeps its key; services write nothing.
COPY --from=build --chown=65532:65532 /data /data
ENV ZONEINFO=/zoneinfo.zip \
    HUB_HTTP_ADDR=:8000 \
    HUB_QUERY_ADDR=:8010 \
    HUB_OPS_ADDR=:9000 \
    HUB_DATA_DIR=/data
USER 65532:65532
EXPOSE 8000 8010 9000
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 CMD ["/hub", "healthcheck"]
ENTRYPOINT ["/hub"]
CMD ["serve", "all"]
