/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Downloads one path again and again over kept connections, whole or in ranges, and throws the
 * bytes away inside the kernel (MSG_TRUNC): cheaper than any server.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

#define HEAD_MAX 2048
#define GULP     (4 * 1024 * 1024)

struct transfer {
    int fd;
    size_t head;
    long long left; /* -1: the head isn't complete */
    char text[HEAD_MAX + 1];
};

static int port;
static int conns = 8;
static double warmup = 0.3;
static double seconds = 2;
static const char *path = "/";
static long long range; /* 0: whole */
static long long size;
static long long offset;
static struct bench_cpu cpu;
static int epoll_fd;
static unsigned long long bytes;
static unsigned long long requests;

static void ask(struct transfer *transfer)
{
    char request[512];
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: bench\r\n", path);
    if (range > 0) {
        len += snprintf(request + len, sizeof request - (size_t)len, "Range: bytes=%lld-%lld\r\n",
                        offset, offset + range - 1);
        offset = offset + 2 * range <= size ? offset + range : 0;
    }
    len += snprintf(request + len, sizeof request - (size_t)len, "\r\n");
    transfer->head = 0;
    transfer->left = -1;
    if (send(transfer->fd, request, (size_t)len, MSG_NOSIGNAL) != len) {
        bench_die("send");
    }
}

static void open_transfer(struct transfer *transfer)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = transfer};
    transfer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (transfer->fd < 0 ||
        connect(transfer->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        fcntl(transfer->fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, transfer->fd, &event) != 0) {
        bench_die("connect");
    }
    ask(transfer);
}

/* Of a head that is complete. */
static void read_head(struct transfer *transfer)
{
    const char *length = strcasestr(transfer->text, "\r\ncontent-length:");
    bool good = strncmp(transfer->text, range > 0 ? "HTTP/1.1 206" : "HTTP/1.1 200", 12) == 0;
    if (!good || length == NULL) {
        fprintf(stderr, "answered: %.*s\n", (int)strcspn(transfer->text, "\r"), transfer->text);
        exit(1);
    }
    transfer->left = atoll(length + 17);
}

static void take_head(struct transfer *transfer)
{
    /* Looks first, then takes the head alone: the body must not be copied out. */
    ssize_t n = recv(transfer->fd, transfer->text, HEAD_MAX, MSG_PEEK);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        bench_die("the server hung up");
    }
    transfer->text[n] = '\0';
    const char *end = strstr(transfer->text, "\r\n\r\n");
    if (end == NULL) {
        return;
    }
    transfer->head = (size_t)(end + 4 - transfer->text);
    (void)!recv(transfer->fd, transfer->text, transfer->head, 0);
    read_head(transfer);
}

static void take_body(struct transfer *transfer)
{
    while (transfer->left > 0) {
        size_t want = transfer->left < GULP ? (size_t)transfer->left : GULP;
        ssize_t n = recv(transfer->fd, NULL, want, MSG_TRUNC);
        if (n <= 0) {
            if (n < 0 && errno == EAGAIN) {
                return;
            }
            bench_die("the server hung up");
        }
        transfer->left -= n;
        bytes += (unsigned long long)n;
    }
    if (transfer->left == 0) {
        requests++;
        ask(transfer);
    }
}

static void run_until(int64_t end)
{
    struct epoll_event events[64];
    while (bench_now() < end) {
        int n = epoll_wait(epoll_fd, events, 64, 100);
        for (int i = 0; i < n; i++) {
            struct transfer *transfer = events[i].data.ptr;
            if (transfer->left < 0) {
                take_head(transfer);
            }
            if (transfer->left >= 0) {
                take_body(transfer);
            }
        }
    }
}

static void read_option(int letter, const char *value)
{
    switch (letter) {
    case 'p':
        port = atoi(value);
        break;
    case 'n':
        conns = atoi(value);
        break;
    case 'a':
        path = value;
        break;
    case 's':
        seconds = atof(value);
        break;
    case 'u':
        warmup = atof(value);
        break;
    case 'r':
        range = atoll(value);
        break;
    case 'z':
        size = atoll(value);
        break;
    case 'i':
        bench_cpu_add(&cpu, atoi(value));
        break;
    default:
        fprintf(stderr, "usage: bench_fetch --port N --path PATH [--conns N] [--seconds S] "
                        "[--warmup S] [--range BYTES --size BYTES] [--pid N]...\n");
        exit(2);
    }
}

static void read_options(int argc, char **argv)
{
    static const struct option longs[] = {
        {"port", 1, NULL, 'p'},  {"conns", 1, NULL, 'n'},   {"path", 1, NULL, 'a'},
        {"size", 1, NULL, 'z'},  {"seconds", 1, NULL, 's'}, {"warmup", 1, NULL, 'u'},
        {"range", 1, NULL, 'r'}, {"pid", 1, NULL, 'i'},     {NULL, 0, NULL, 0},
    };
    int letter;
    while ((letter = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        read_option(letter, optarg);
    }
    if (port == 0 || conns < 1) {
        read_option('?', NULL);
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    struct transfer *transfers = calloc((size_t)conns, sizeof *transfers);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (transfers == NULL || epoll_fd < 0) {
        bench_die("start");
    }
    for (int i = 0; i < conns; i++) {
        open_transfer(&transfers[i]);
    }
    run_until(bench_now() + (int64_t)(warmup * 1e9));
    bytes = requests = 0;
    int64_t start = bench_now();
    bench_cpu_start(&cpu);
    run_until(start + (int64_t)(seconds * 1e9));
    bench_cpu_stop(&cpu);
    double took = (double)(bench_now() - start) / 1e9;
    printf("{\"bytes\": %llu, \"requests\": %llu, \"seconds\": %.3f, \"rate\": %.1f", bytes,
           requests, took, (double)bytes / took);
    bench_cpu_print(&cpu, stdout);
    printf("}\n");
    return 0;
}
