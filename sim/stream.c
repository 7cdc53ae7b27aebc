/* SPDX-License-Identifier: BSD-3-Clause */
#include "stream.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_event(void *arg, uint32_t events);

static bool watch(struct ota_stream *stream, uint32_t events)
{
    return ota_loop_watch(stream->owner->loop, stream->fd, events, on_event, stream, NULL) ==
           OTA_OK;
}

static void drop_socket(struct ota_stream *stream)
{
    SSL_free(stream->ssl);
    stream->ssl = NULL;
    if (stream->fd >= 0) {
        ota_loop_unwatch(stream->owner->loop, stream->fd, stream);
        close(stream->fd);
    }
    stream->fd = -1;
    stream->tcp_up = stream->up = false;
}

void ota_stream_close(struct ota_stream *stream)
{
    drop_socket(stream);
}

static int connect_to(const char *address, int port)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char digits[8];
    snprintf(digits, sizeof digits, "%d", port);
    if (getaddrinfo(address, digits, &hints, &found) != 0) {
        return -1;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* At the next address that doesn't refuse at once. */
static bool try_next(struct ota_stream *stream)
{
    drop_socket(stream);
    for (; stream->address < stream->addresses.count; stream->address++) {
        const char *address = stream->addresses.text[stream->address];
        stream->fd = connect_to(address, stream->place.port);
        if (stream->fd >= 0 && watch(stream, EPOLLIN | EPOLLOUT)) {
            return true;
        }
        drop_socket(stream);
    }
    return false;
}

static enum ota_err resolve(struct ota_streams *streams, const char *host, struct ota_error *error)
{
    if (strcmp(streams->host, host) == 0) {
        return OTA_OK;
    }
    enum ota_err err = ota_resolve(host, &streams->addresses, error);
    if (err == OTA_OK) {
        strcpy(streams->host, host);
    }
    return err;
}

enum ota_err ota_stream_open(struct ota_stream *stream, const struct ota_place *place,
                             const char *name, struct ota_error *error)
{
    stream->address = 0;
    stream->place = *place;
    stream->name = name;
    enum ota_err err = resolve(stream->owner, place->host, error);
    if (err != OTA_OK) {
        return err;
    }
    stream->addresses = stream->owner->addresses;
    return try_next(stream) ? OTA_OK
                            : ota_error_set(error, OTA_UNAVAILABLE, "host", "%s refuses port %d",
                                            place->host, place->port);
}

static bool is_connected(const struct ota_stream *stream)
{
    int code = 0;
    socklen_t size = sizeof code;
    return getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &code, &size) == 0 && code == 0;
}

/* 1: done; 0: not yet; negative: it fails. */
static int shake_hands(struct ota_stream *stream)
{
    ERR_clear_error(); /* what others left there would be taken for ours */
    int rc = SSL_connect(stream->ssl);
    int why = SSL_get_error(stream->ssl, rc);
    if (rc == 1) {
        return 1;
    }
    bool wants = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
    return wants && watch(stream, why == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT) ? 0 : -1;
}

static bool start_tls(struct ota_stream *stream)
{
    return stream->name == NULL ||
           (ota_tls_to(stream->owner->tls, stream->name, &stream->ssl, NULL) == OTA_OK &&
            SSL_set_fd(stream->ssl, stream->fd) == 1);
}

/* 1: up; 0: not yet; negative: this one won't. */
static int come_up(struct ota_stream *stream)
{
    if (!stream->tcp_up) {
        if (!is_connected(stream)) {
            stream->address++;
            return try_next(stream) ? 0 : -1;
        }
        stream->tcp_up = true;
        if (!start_tls(stream)) {
            return -1;
        }
    }
    int rc = stream->ssl == NULL ? 1 : shake_hands(stream);
    stream->up = rc == 1 && watch(stream, EPOLLIN);
    return rc == 1 && !stream->up ? -1 : rc;
}

static void on_event(void *arg, uint32_t events)
{
    struct ota_stream *stream = arg;
    (void)events;
    if (stream->up) {
        stream->events->ready(stream->arg);
        return;
    }
    int rc = come_up(stream);
    if (rc > 0) {
        stream->events->up(stream->arg);
    } else if (rc < 0) {
        drop_socket(stream);
        stream->events->failed(stream->arg);
    }
}

bool ota_stream_send(struct ota_stream *stream, const char *text, size_t len)
{
    if (stream->ssl != NULL) {
        return SSL_write(stream->ssl, text, (int)len) == (int)len;
    }
    return send(stream->fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static int read_tls(struct ota_stream *stream, char *bytes, size_t size)
{
    ERR_clear_error();
    int got = SSL_read(stream->ssl, bytes, (int)size);
    return got > 0 ? got : SSL_get_error(stream->ssl, got) == SSL_ERROR_WANT_READ ? 0 : -1;
}

static int read_plain(struct ota_stream *stream, char *bytes, size_t size)
{
    ssize_t got = recv(stream->fd, bytes, size, 0);
    return got > 0 ? (int)got : got < 0 && errno == EAGAIN ? 0 : -1;
}

int ota_stream_read(struct ota_stream *stream, char *bytes, size_t size)
{
    if (!stream->up) {
        return -1;
    }
    int got = stream->ssl != NULL ? read_tls(stream, bytes, size) : read_plain(stream, bytes, size);
    return got == 0 && !watch(stream, EPOLLIN) ? -1 : got;
}

void ota_stream_pause(struct ota_stream *stream)
{
    if (stream->fd >= 0) {
        ota_loop_unwatch(stream->owner->loop, stream->fd, stream);
    }
}
