/* SPDX-License-Identifier: BSD-3-Clause */
#include "transfer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"

#define OTA_STALL_SECONDS 30

struct ota_transfer {
    struct ota_transfers *owner;
    struct ota_transfer *next, *before;
    CURL *easy;
    struct curl_slist *headers;
    const struct ota_transfer_events *events;
    void *arg;
    bool begun, stopped;
    int64_t speed, began, taken; /* bytes taken since then, to hold them to the speed */
    struct ota_timer timer;      /* resumes what the speed has paused */
    char etag[OTA_ETAG_MAX + 1];
    int64_t offset;
    char error[CURL_ERROR_SIZE];
};

static void detach(struct ota_transfer *transfer)
{
    struct ota_transfer **place =
        transfer->before == NULL ? &transfer->owner->all : &transfer->before->next;
    *place = transfer->next;
    if (transfer->next != NULL) {
        transfer->next->before = transfer->before;
    }
}

static void attach(struct ota_transfer *transfer)
{
    transfer->next = transfer->owner->all;
    if (transfer->next != NULL) {
        transfer->next->before = transfer;
    }
    transfer->owner->all = transfer;
}

static void discard(struct ota_transfer *transfer)
{
    if (transfer == NULL) {
        return;
    }
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    ota_timer_remove(&transfer->owner->loop->timers, &transfer->timer);
    free(transfer);
}

void ota_transfer_stop(struct ota_transfer *transfer)
{
    curl_multi_remove_handle(transfer->owner->multi, transfer->easy);
    detach(transfer);
    discard(transfer);
}

static void end(struct ota_transfer *transfer, CURLcode code)
{
    struct ota_transfer_end result = {
        .complete = code == CURLE_OK,
        .stopped = transfer->stopped,
        .hopeless = code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT ||
                    code == CURLE_PEER_FAILED_VERIFICATION,
        .reason = transfer->error[0] != '\0' ? transfer->error : curl_easy_strerror(code),
    };
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &result.status);
    curl_multi_remove_handle(transfer->owner->multi, transfer->easy);
    detach(transfer);
    transfer->events->end(transfer->arg, &result);
    discard(transfer);
}

static void collect(struct ota_transfers *transfers)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(transfers->multi, &left)) != NULL;) {
        struct ota_transfer *transfer = NULL;
        if (message->msg == CURLMSG_DONE) {
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
            end(transfer, message->data.result);
        }
    }
}

static void act(struct ota_transfers *transfers, curl_socket_t fd, int what)
{
    int running;
    (void)curl_multi_socket_action(transfers->multi, fd, what, &running);
    collect(transfers);
}

static void on_timer(void *arg)
{
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

/* What a socket's readiness is passed with; libcurl keeps it beside its socket. */
struct socket {
    struct ota_transfers *transfers;
    curl_socket_t fd;
};

static void on_ready(void *arg, uint32_t events)
{
    const struct socket *socket = arg;
    int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
               (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    act(socket->transfers, socket->fd, what);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct ota_transfers *transfers = arg;
    struct socket *socket = socket_arg;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        ota_loop_unwatch(transfers->loop, fd, socket);
        free(socket);
        return 0;
    }
    if (socket == NULL) {
        socket = malloc(sizeof *socket);
        if (socket == NULL) {
            return -1;
        }
        *socket = (struct socket){.transfers = transfers, .fd = fd};
        curl_multi_assign(transfers->multi, fd, socket);
    }
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0U) | (what & CURL_POLL_OUT ? EPOLLOUT : 0U);
    return ota_loop_watch(transfers->loop, fd, events, on_ready, socket, NULL) == OTA_OK ? 0 : -1;
}

static int on_timeout(CURLM *multi, long ms, void *arg)
{
    struct ota_transfers *transfers = arg;
    (void)multi;
    if (ms < 0) {
        ota_loop_cancel(transfers->loop, &transfers->timer);
    } else {
        ota_loop_after(transfers->loop, &transfers->timer, ms);
    }
    return 0;
}

enum ota_err ota_transfers_open(struct ota_transfers *transfers, struct ota_loop *loop,
                                long at_most, struct ota_error *error)
{
    *transfers = (struct ota_transfers){.loop = loop, .multi = curl_multi_init()};
    if (transfers->multi == NULL) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "libcurl doesn't start");
    }
    curl_multi_setopt(transfers->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(transfers->multi, CURLMOPT_SOCKETDATA, transfers);
    curl_multi_setopt(transfers->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(transfers->multi, CURLMOPT_TIMERDATA, transfers);
    curl_multi_setopt(transfers->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, at_most);
    return ota_loop_timer(loop, &transfers->timer, on_timer, transfers, error);
}

void ota_transfers_close(struct ota_transfers *transfers)
{
    for (struct ota_transfer *at = transfers->all, *next; at != NULL; at = next) {
        next = at->next;
        ota_transfer_stop(at);
    }
    curl_multi_cleanup(transfers->multi);
    curl_slist_free_all(transfers->known);
    curl_slist_free_all(transfers->routes);
    transfers->multi = NULL;
    transfers->known = transfers->routes = NULL;
}

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
    struct ota_transfer *transfer = arg;
    (void)one;
    char text[256];
    size_t kept = len < sizeof text ? len : sizeof text - 1;
    memcpy(text, line, kept);
    text[kept] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    if (strncasecmp(text, "ETag:", 5) == 0) {
        const char *value = text + 5 + strspn(text + 5, " ");
        snprintf(transfer->etag, sizeof transfer->etag, "%.*s", OTA_ETAG_MAX, value);
    } else if (strncasecmp(text, "Content-Range:", 14) == 0) {
        const char *digits = strpbrk(text, "0123456789");
        transfer->offset = digits == NULL ? 0 : strtoll(digits, NULL, 10);
    }
    return len;
}

static bool begin(struct ota_transfer *transfer)
{
    struct ota_transfer_head head = {.offset = transfer->offset, .etag = transfer->etag};
    transfer->begun = true;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &head.status);
    return transfer->events->head(transfer->arg, &head);
}

/* libcurl's own limit (7.88) lets the first hundreds of kilobytes through: this one doesn't. */
static bool must_wait(struct ota_transfer *transfer, size_t len)
{
    struct ota_loop *loop = transfer->owner->loop;
    if (transfer->speed == 0) {
        return false;
    }
    if (transfer->taken == 0) {
        transfer->began = loop->now;
    }
    int64_t due = transfer->began + transfer->taken * 1000 / transfer->speed;
    if (due > loop->now) {
        ota_loop_after(loop, &transfer->timer, due - loop->now);
        return true;
    }
    transfer->taken += (int64_t)len;
    return false;
}

static void on_due(void *arg)
{
    struct ota_transfer *transfer = arg;
    struct ota_transfers *transfers = transfer->owner;
    (void)curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
    collect(transfers);
}

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
    struct ota_transfer *transfer = arg;
    (void)one;
    if (must_wait(transfer, len)) {
        return CURL_WRITEFUNC_PAUSE;
    }
    transfer->owner->bytes += len;
    if ((!transfer->begun && !begin(transfer)) ||
        !transfer->events->bytes(transfer->arg, data, len)) {
        transfer->stopped = true;
        return 0;
    }
    return len;
}

static bool is_address(const char *host)
{
    unsigned char raw[sizeof(struct in6_addr)];
    return host[0] == '[' || inet_pton(AF_INET, host, raw) == 1 ||
           inet_pton(AF_INET6, host, raw) == 1;
}

static void print_known(const struct ota_addresses *addresses, const char *host, const char *port,
                        char *line, size_t size)
{
    int used = snprintf(line, size, "%s:%s:", host, port);
    for (size_t i = 0; i < addresses->count && used > 0 && (size_t)used < size; i++) {
        used += snprintf(line + used, size - (size_t)used, "%s%s", i == 0 ? "" : ",",
                         addresses->text[i]);
    }
}

/* libcurl would start a thread for each name that it looks up: look it up here, once. */
static void make_known(struct ota_transfer *transfer, const char *host, const char *port)
{
    struct ota_transfers *transfers = transfer->owner;
    struct ota_addresses addresses;
    char line[1024];
    size_t len = (size_t)snprintf(line, sizeof line, "%s:%s:", host, port);
    for (const struct curl_slist *at = transfers->known; at != NULL; at = at->next) {
        if (strncmp(at->data, line, len) == 0) {
            return;
        }
    }
    if (ota_resolve(host, &addresses, NULL) != OTA_OK) {
        return; /* libcurl fails as well, with a message of its own */
    }
    print_known(&addresses, host, port, line, sizeof line);
    struct curl_slist *known = curl_slist_append(transfers->known, line);
    if (known != NULL) {
        transfers->known = known;
        /* One handle tells the multi handle's cache, and so all others. */
        curl_easy_setopt(transfer->easy, CURLOPT_RESOLVE, known);
    }
}

static void look_up(struct ota_transfer *transfer, const char *text)
{
    CURLU *url = curl_url();
    char *host = NULL, *port = NULL;
    if (url != NULL && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        !is_address(host)) {
        make_known(transfer, host, port);
    }
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
}

static bool add_header(struct ota_transfer *transfer, const char *name, const char *value)
{
    char line[256];
    snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *headers = curl_slist_append(transfer->headers, line);
    if (headers == NULL) {
        return false;
    }
    transfer->headers = headers;
    return true;
}

static bool add_headers(struct ota_transfer *transfer, const struct ota_transfer_request *request)
{
    bool good = true;
    char range[64];
    if (request->range != NULL) {
        snprintf(range, sizeof range, "bytes=%s", request->range);
        good = good && add_header(transfer, "Range", range);
    }
    if (request->if_range != NULL) {
        good = good && add_header(transfer, "If-Range", request->if_range);
    }
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
    return good;
}

/* Small buffers make an even flow. */
static long buffer_size(int64_t speed)
{
    return speed == 0 || speed > 8 * 16384 ? 16384 : speed < 8 * 1024 ? 1024 : (long)(speed / 8);
}

static void set_options(struct ota_transfer *transfer, const struct ota_transfer_request *request)
{
    CURL *easy = transfer->easy;
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)OTA_STALL_SECONDS);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    /* Every device has connections of its own: a server's load would be another otherwise. */
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    if (transfer->owner->cafile != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, transfer->owner->cafile);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, transfer->owner->insecure ? 0L : 2L);
    }
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, buffer_size(request->speed));
}

/* Host and certificate stay those of the URL. */
static bool set_detour(struct ota_transfer *transfer)
{
    struct ota_transfers *transfers = transfer->owner;
    const struct ota_place *detour = transfers->detour;
    char line[OTA_HOST_MAX + 16], port[8];
    snprintf(port, sizeof port, "%d", detour->port);
    if (transfers->routes == NULL) {
        bool six = strchr(detour->host, ':') != NULL;
        snprintf(line, sizeof line, "::%s%s%s:%s", six ? "[" : "", detour->host, six ? "]" : "",
                 port);
        transfers->routes = curl_slist_append(NULL, line);
    }
    curl_easy_setopt(transfer->easy, CURLOPT_CONNECT_TO, transfers->routes);
    if (!is_address(detour->host)) {
        make_known(transfer, detour->host, port);
    }
    return transfers->routes != NULL;
}

static bool set_place(struct ota_transfer *transfer, const char *url)
{
    if (transfer->owner->detour->port != 0) {
        return set_detour(transfer);
    }
    look_up(transfer, url);
    return true;
}

static bool add_to_multi(struct ota_transfer *transfer, const struct ota_transfer_request *request)
{
    set_options(transfer, request);
    return set_place(transfer, request->url) && add_headers(transfer, request) &&
           curl_multi_add_handle(transfer->owner->multi, transfer->easy) == CURLM_OK;
}

enum ota_err ota_transfer_start(struct ota_transfers *transfers,
                                const struct ota_transfer_request *request,
                                const struct ota_transfer_events *events, void *arg,
                                struct ota_transfer **transfer, struct ota_error *error)
{
    struct ota_transfer *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for a download");
    }
    made->owner = transfers;
    made->events = events;
    made->arg = arg;
    made->speed = request->speed;
    made->easy = curl_easy_init();
    if (ota_loop_timer(transfers->loop, &made->timer, on_due, made, error) != OTA_OK) {
        curl_easy_cleanup(made->easy);
        free(made);
        return OTA_INTERNAL;
    }
    if (made->easy != NULL && add_to_multi(made, request)) {
        attach(made);
        *transfer = made;
        return OTA_OK;
    }
    discard(made);
    return ota_error_set(error, OTA_INTERNAL, NULL, "libcurl takes no further download");
}
