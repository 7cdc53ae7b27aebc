/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A load generator: many connections in one thread, cheaper than what it measures. Closed loop
 * (each connection keeps --window messages on their way) or open loop (--rate); then latencies
 * count from the moment in which a message was due, whether or not it could be sent.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"
#include "wire.h"

#define RING      256 /* messages on their way of one connection, at most */
#define INPUT     8192
#define EVENTS    256
#define GATE_WAIT 100000 /* ns: how often the gate is looked at */
#define LONG_GAP  (BENCH_SECOND / 100)

enum mode { FOREIGN, ECHO_BACK, VERSION, PERCENT, STATUS };

static const char *const mode_names[] = {"foreign", "echo", "version", "percent", "status"};

struct client {
    int fd;
    char name[64];
    char topic[128];
    uint64_t sent;
    uint64_t acked;
    uint64_t answered;
    int64_t due[RING];
    size_t used;
    uint8_t input[INPUT];
};

struct options {
    int port;
    int conns;
    int window;
    enum mode mode;
    double rate; /* of all connections; 0: closed loop */
    double warmup;
    double seconds;
    long count; /* instead of seconds */
    int first;
    int step;
    const char *product;
    const char *gate;
    int phase; /* where in the cycle of payloads it begins */
};

struct phase {
    int64_t start;
    int64_t end;
    uint64_t done;
    uint64_t skipped; /* open loop: the connection's ring was full */
    struct bench_histogram latency;
    int64_t gap_max;
    uint64_t long_gaps;
};

static struct options options = {
    .conns = 200, .window = 1, .warmup = 0.5, .seconds = 3, .step = 1, .product = "bench"};
static struct bench_cpu cpu;
static struct client *clients;
static struct phase phase;
static uint64_t sent_total;
static uint64_t done_total;
static int64_t last_reply;
static const volatile uint64_t *gate; /* reports that the service has committed */
static uint64_t gate_base;
static int epoll_fd;

/* --- what is published ----------------------------------------------------------------------- */

static char payloads[100][160];
static size_t payload_lens[100];
static unsigned payload_count;

static void fill_payload(unsigned i, const char *state, unsigned percent)
{
    (void)snprintf(payloads[i], sizeof payloads[i],
                   "{\"type\":\"report_progress\",\"report\":{\"progress\":{\"state\":\"%s\","
                   "\"percent\":\"%u\",\"result_code\":\"0\",\"result_msg\":\"\"},"
                   "\"version\":\"0.0.2\"}}",
                   state, percent);
}

static void fill_payloads(void)
{
    static const char *const states[] = {"downloaded", "burning", "downloading"};
    static const unsigned percents[] = {100, 0, 10};
    payload_count = options.mode == PERCENT ? 100 : options.mode == STATUS ? 3 : 1;
    for (unsigned i = 0; i < payload_count; i++) {
        if (options.mode == STATUS) {
            fill_payload(i, states[i], percents[i]);
        } else if (options.mode == VERSION || options.mode == ECHO_BACK) {
            (void)snprintf(payloads[i], sizeof payloads[i],
                           "{\"type\":\"report_version\",\"report\":{\"version\":\"0.0.1\"}}");
        } else {
            fill_payload(i, "downloading", i);
        }
        payload_lens[i] = strlen(payloads[i]);
    }
}

static bool wants_answer(void)
{
    return options.mode == VERSION || options.mode == ECHO_BACK;
}

static uint64_t finished(const struct client *client)
{
    bool by_answer = wants_answer() && client->answered < client->acked;
    return by_answer ? client->answered : client->acked;
}

static void send_all(const struct client *client, const uint8_t *bytes, size_t len)
{
    while (len > 0) { /* a socket buffer that is full empties soon: the windows are small */
        ssize_t n = send(client->fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            bench_die(client->name);
        }
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

static void publish(struct client *client, int64_t due)
{
    uint8_t packet[WIRE_MAX];
    unsigned i = (unsigned)((client->sent + (unsigned)options.phase) % payload_count);
    uint16_t mid = (uint16_t)(client->sent % 65535 + 1);
    size_t len = wire_publish(packet, mid, client->topic, payloads[i], payload_lens[i]);
    client->due[client->sent % RING] = due;
    client->sent++;
    sent_total++;
    send_all(client, packet, len);
}

/* --- what comes back -------------------------------------------------------------------------- */

/* How long a message waited with no sign of life from the broker. */
static void note_gap(int64_t due, int64_t now)
{
    int64_t gap = now - (last_reply > due ? last_reply : due);
    phase.gap_max = gap > phase.gap_max ? gap : phase.gap_max;
    phase.long_gaps += gap > LONG_GAP;
    last_reply = now;
}

static void note_reply(const struct client *client, uint64_t number, int64_t now)
{
    int64_t due = client->due[number % RING];
    bench_note(&phase.latency, now - due);
    if (options.conns == 1) {
        note_gap(due, now);
    }
}

static void take_packet(struct client *client, const struct wire_packet *packet, int64_t now)
{
    uint64_t before = finished(client);
    if (packet->kind == WIRE_PUBACK) {
        if (!wants_answer()) {
            note_reply(client, client->acked, now);
        }
        client->acked++;
    } else if (packet->kind == WIRE_PUBLISH && wants_answer()) {
        bool counts = options.mode == ECHO_BACK ||
                      memmem(packet->body, packet->len, "report_version_rsp", 18) != NULL;
        if (counts) {
            note_reply(client, client->answered, now);
            client->answered++;
        }
    }
    uint64_t more = finished(client) - before;
    phase.done += more;
    done_total += more;
}

static void receive(struct client *client)
{
    ssize_t n = recv(client->fd, client->input + client->used, INPUT - client->used, 0);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        errno = n == 0 ? ECONNRESET : errno;
        bench_die(client->name);
    }
    client->used += (size_t)n;
    int64_t now = bench_now();
    struct wire_packet packet;
    size_t at = 0;
    while (wire_next(client->input + at, client->used - at, &packet)) {
        take_packet(client, &packet, now);
        at += packet.total;
    }
    memmove(client->input, client->input + at, client->used - at);
    client->used -= at;
}

/* --- connecting --------------------------------------------------------------------------------
 */

static void await(struct client *client, enum wire_kind kind)
{
    struct wire_packet packet = {0};
    while (!wire_next(client->input, client->used, &packet)) {
        ssize_t n = recv(client->fd, client->input + client->used, INPUT - client->used, 0);
        if (n <= 0) {
            bench_die(client->name);
        }
        client->used += (size_t)n;
    }
    bool refused = kind == WIRE_CONNACK ? packet.body[1] != 0 : (packet.body[2] & 0x80) != 0;
    if (packet.kind != kind || refused) {
        fprintf(stderr, "%s: the broker refuses\n", client->name);
        exit(1);
    }
    client->used -= packet.total;
    memmove(client->input, client->input + packet.total, client->used);
}

static void open_socket(struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        bench_die("connect");
    }
}

/* As a device does: its own two topics. */
static void name_client(struct client *client, int i, char *subscription, size_t size)
{
    int number = options.first + i * options.step;
    (void)snprintf(client->name, sizeof client->name, "%s/dev%07d", options.product, number);
    if (options.mode == FOREIGN || options.mode == ECHO_BACK) {
        (void)snprintf(client->topic, sizeof client->topic, "foreign/data/%s", client->name);
        (void)snprintf(subscription, size, "%s", options.mode == ECHO_BACK ? client->topic : "");
    } else {
        (void)snprintf(client->topic, sizeof client->topic, "$ota/report/%s", client->name);
        (void)snprintf(subscription, size, "$ota/update/%s", client->name);
    }
}

static void open_client(struct client *client, int i)
{
    uint8_t packet[WIRE_MAX];
    char subscription[128];
    char client_id[80];
    name_client(client, i, subscription, sizeof subscription);
    (void)snprintf(client_id, sizeof client_id, "%s-%d", client->name, (int)getpid());
    open_socket(client);
    send_all(client, packet, wire_connect(packet, client_id, client->name));
    await(client, WIRE_CONNACK);
    if (subscription[0] != '\0') {
        send_all(client, packet, wire_subscribe(packet, 1, subscription));
        await(client, WIRE_SUBACK);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (fcntl(client->fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event) != 0) {
        bench_die("epoll");
    }
}

static void open_clients(void)
{
    clients = calloc((size_t)options.conns, sizeof *clients);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (clients == NULL || epoll_fd < 0) {
        bench_die("start");
    }
    for (int i = 0; i < options.conns; i++) {
        open_client(&clients[i], i);
    }
}

/* --- running ------------------------------------------------------------------------------------
 */

static void poll_once(int64_t wait)
{
    struct epoll_event events[EVENTS];
    struct timespec timeout = {wait / BENCH_SECOND, wait % BENCH_SECOND};
    int n = epoll_pwait2(epoll_fd, events, EVENTS, &timeout, NULL);
    for (int i = 0; i < n; i++) {
        receive(events[i].data.ptr);
    }
}

/* What the service has yet to commit never exceeds what the connections may have on their way. */
static uint64_t gate_room(void)
{
    if (gate == NULL) {
        return UINT64_MAX;
    }
    uint64_t limit = (uint64_t)options.conns * (uint64_t)options.window;
    uint64_t waiting = sent_total - (*gate - gate_base);
    return waiting < limit ? limit - waiting : 0;
}

static bool may_send(const struct client *client)
{
    return client->sent - finished(client) < (uint64_t)options.window &&
           (options.count == 0 || sent_total < (uint64_t)options.count);
}

static void send_closed(void)
{
    static int next;
    uint64_t room = gate_room();
    int64_t now = bench_now();
    for (int i = 0; i < options.conns && room > 0; i++) {
        struct client *client = &clients[next];
        next = (next + 1) % options.conns;
        for (; room > 0 && may_send(client); room--) {
            publish(client, now);
        }
    }
}

/* Gives how long nothing is to be sent. */
static int64_t send_open(int64_t start, uint64_t *scheduled)
{
    int64_t now = bench_now();
    int64_t due;
    while ((due = start + (int64_t)((double)*scheduled * 1e9 / options.rate)) <= now) {
        struct client *client = &clients[*scheduled % (uint64_t)options.conns];
        ++*scheduled;
        if (client->sent - finished(client) < RING) {
            publish(client, due);
        } else {
            phase.skipped++;
        }
    }
    return due - now;
}

static void run_until(int64_t end)
{
    static int64_t start;
    static uint64_t scheduled;
    start = start != 0 ? start : bench_now();
    while (bench_now() < end && (options.count == 0 || done_total < (uint64_t)options.count)) {
        int64_t wait = gate != NULL ? GATE_WAIT : BENCH_SECOND / 10;
        if (options.rate > 0) {
            wait = send_open(start, &scheduled);
        } else {
            send_closed();
        }
        poll_once(wait);
    }
}

/* What is on its way at the end belongs to nobody's measurement, but must not meet the next. */
static void drain(void)
{
    int64_t end = bench_now() + 10 * BENCH_SECOND;
    bool busy = true;
    while (busy && bench_now() < end) {
        busy = gate != NULL && *gate - gate_base < sent_total;
        for (int i = 0; i < options.conns && !busy; i++) {
            busy = finished(&clients[i]) < clients[i].sent;
        }
        if (busy) {
            poll_once(BENCH_SECOND / 1000);
        }
    }
    if (busy) {
        fprintf(stderr, "not all was answered: %llu sent, %llu done\n",
                (unsigned long long)sent_total,
                (unsigned long long)(gate != NULL ? *gate - gate_base : done_total));
        exit(1);
    }
}

static void measure(void)
{
    int64_t begin = bench_now();
    run_until(begin + (int64_t)(options.warmup * 1e9));
    phase = (struct phase){.start = bench_now()};
    uint64_t gate_start = gate != NULL ? *gate : 0;
    bench_cpu_start(&cpu);
    double seconds = options.count != 0 ? 3600 : options.seconds;
    run_until(phase.start + (int64_t)(seconds * 1e9));
    bench_cpu_stop(&cpu);
    phase.end = bench_now();
    if (gate != NULL) {
        phase.done = *gate - gate_start;
    }
}

static double micros(int64_t ns)
{
    return (double)ns / 1e3;
}

static void print(const struct phase *result, double own)
{
    double seconds = (double)(result->end - result->start) / 1e9;
    printf("{\"done\": %llu, \"seconds\": %.3f, \"rate\": %.1f, \"p50\": %.1f, \"p99\": %.1f, "
           "\"max\": %.1f, \"gap\": %.1f, \"longGaps\": %llu, \"skipped\": %llu, \"own\": %.3f, "
           "\"sent\": %llu",
           (unsigned long long)result->done, seconds, (double)result->done / seconds,
           micros(bench_quantile(&result->latency, 0.5)),
           micros(bench_quantile(&result->latency, 0.99)), micros(result->latency.max),
           micros(result->gap_max), (unsigned long long)result->long_gaps,
           (unsigned long long)result->skipped, own, (unsigned long long)sent_total);
    bench_cpu_print(&cpu, stdout);
    printf("}\n");
}

/* --- the command line ---------------------------------------------------------------------------
 */

static void open_gate(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *map = fd >= 0 ? mmap(NULL, sizeof *gate, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (map == MAP_FAILED) {
        bench_die(path);
    }
    close(fd);
    gate = map;
    gate_base = *gate;
}

static enum mode mode_of(const char *name)
{
    for (unsigned i = 0; i < sizeof mode_names / sizeof mode_names[0]; i++) {
        if (strcmp(mode_names[i], name) == 0) {
            return (enum mode)i;
        }
    }
    fprintf(stderr, "no mode %s\n", name);
    exit(2);
}

static void read_option(int letter, const char *value)
{
    switch (letter) {
    case 'p':
        options.port = atoi(value);
        break;
    case 'n':
        options.conns = atoi(value);
        break;
    case 'w':
        options.window = atoi(value);
        break;
    case 'm':
        options.mode = mode_of(value);
        break;
    case 'r':
        options.rate = atof(value);
        break;
    case 'u':
        options.warmup = atof(value);
        break;
    case 's':
        options.seconds = atof(value);
        break;
    case 'c':
        options.count = atol(value);
        options.warmup = 0;
        break;
    case 'f':
        options.first = atoi(value);
        break;
    case 't':
        options.step = atoi(value);
        break;
    case 'o':
        options.product = value;
        break;
    case 'g':
        options.gate = value;
        break;
    case 'h':
        options.phase = atoi(value);
        break;
    case 'i':
        bench_cpu_add(&cpu, atoi(value));
        break;
    default:
        fprintf(
            stderr,
            "usage: bench_load --port N --mode foreign|echo|version|percent|status\n"
            "  [--conns N] [--window N | --rate N] [--warmup S] [--seconds S | "
            "--count N]\n"
            "  [--first N] [--step N] [--product NAME] [--gate FILE] [--phase N] [--pid N]...\n");
        exit(2);
    }
}

static void read_options(int argc, char **argv)
{
    static const struct option longs[] = {
        {"port", 1, NULL, 'p'},    {"conns", 1, NULL, 'n'},   {"window", 1, NULL, 'w'},
        {"mode", 1, NULL, 'm'},    {"rate", 1, NULL, 'r'},    {"warmup", 1, NULL, 'u'},
        {"seconds", 1, NULL, 's'}, {"count", 1, NULL, 'c'},   {"first", 1, NULL, 'f'},
        {"step", 1, NULL, 't'},    {"product", 1, NULL, 'o'}, {"gate", 1, NULL, 'g'},
        {"phase", 1, NULL, 'h'},   {"pid", 1, NULL, 'i'},     {NULL, 0, NULL, 0},
    };
    int letter;
    while ((letter = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        read_option(letter, optarg);
    }
    if (options.port == 0 || options.window > RING || options.conns < 1) {
        read_option('?', NULL);
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    fill_payloads();
    open_clients();
    if (options.gate != NULL) {
        open_gate(options.gate);
    }
    clock_t before = clock();
    measure();
    double own = (double)(clock() - before) / CLOCKS_PER_SEC;
    struct phase result = phase;
    drain();
    print(&result, own);
    return 0;
}
