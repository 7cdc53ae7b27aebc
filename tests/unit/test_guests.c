/* SPDX-License-Identifier: BSD-3-Clause */
/* Guests without a server: who may come in, stay, and who is cut, with real sockets and a clock by
 * hand. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../plugin/guests.h"
#include "../../plugin/link.h"
#include "../../plugin/listen.h"
#include "http_client.h"

static void sleep_ms(int ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    (void)nanosleep(&time, NULL);
}

static const struct ota_guest_rules rules = {
    .places = 10, .head_ms = 10000, .idle_ms = 60000, .pace = OTA_PACE_RULES_USUAL, .per_key = 2};

/* What happens right after somebody's socket was looked at, once. The linker puts this in front of
 * link.c (--wrap). */
static void (*meanwhile)(void *data);
static void *meanwhile_data;

bool __real_ota_link_has_unsent(int fd);
bool __wrap_ota_link_has_unsent(int fd);

bool __wrap_ota_link_has_unsent(int fd)
{
    bool unsent = __real_ota_link_has_unsent(fd);
    void (*then)(void *data) = meanwhile;

    if (then != NULL) {
        meanwhile = NULL;
        then(meanwhile_data);
    }
    return unsent;
}

struct pair {
    struct ota_guests *guests;
    struct ota_guest guest;
    int client;
    int server;
};

static void open_pair(struct pair *pair)
{
    struct ota_error error = {0};
    const struct sockaddr_in from = {.sin_family = AF_INET};
    int listening;
    int port;

    assert_int_equal(ota_listen("127.0.0.1:0", "x", &listening, &port, &error), OTA_OK);
    pair->client = client_connect(port, 4096);
    for (pair->server = -1; pair->server < 0;) {
        pair->server = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
    }
    (void)close(listening);
    assert_int_equal(ota_guests_open(&rules, &pair->guests, &error), OTA_OK);
    ota_guests_enter(pair->guests, &pair->guest, pair->server, (const struct sockaddr *)&from, 0);
}

static void close_pair(struct pair *pair)
{
    ota_guests_leave(pair->guests, &pair->guest);
    ota_guests_close(pair->guests);
    (void)close(pair->server);
    (void)close(pair->client);
}

/* More than the client takes. */
static void send_much(struct pair *pair)
{
    static const char much[1 << 20];
    assert_true(send(pair->server, much, sizeof much, MSG_NOSIGNAL) > 0);
}

static void ask(struct pair *pair, int64_t key)
{
    ota_guests_ask(pair->guests, &pair->guest, key, 0, 0);
}

static bool lives(struct pair *pair)
{
    ota_guests_drop_cut(pair->guests);
    sleep_ms(20);
    return !client_is_closed(pair->client, 0);
}

static void test_cut_of_one_who_has_it_all(void **state)
{
    (void)state;
    struct pair pair;

    open_pair(&pair);
    ask(&pair, 7);
    ota_guests_rest(pair.guests, &pair.guest, 0);
    assert_true(ota_guests_cut(pair.guests, 7));
    assert_true(lives(&pair));
    assert_false(ota_guests_cut(pair.guests, 8));
    close_pair(&pair);
}

/* It asked again before the thread came to the cut: that was about the answer before. */
static void test_cut_then_asked_again(void **state)
{
    (void)state;
    struct pair pair;

    open_pair(&pair);
    ask(&pair, 7);
    ota_guests_rest(pair.guests, &pair.guest, 0);
    assert_true(ota_guests_cut(pair.guests, 7));
    ask(&pair, 7);
    send_much(&pair);
    ota_guests_drop_cut(pair.guests);
    struct ota_guest_counts counts;
    ota_guests_count(pair.guests, &counts);
    assert_int_equal(counts.present, 1);
    close_pair(&pair);
}

static void test_cut_of_what_the_kernel_has(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        struct pair pair;
        struct ota_guest_counts counts;

        open_pair(&pair);
        ask(&pair, 7);
        send_much(&pair);
        ota_guests_rest(pair.guests, &pair.guest, 0);
        assert_true(ota_guests_cut(pair.guests, 7));
        if (again == 1) {
            ask(&pair, 8);
        }
        ota_guests_drop_cut(pair.guests);
        ota_guests_count(pair.guests, &counts);
        assert_int_equal(counts.present, 0);
        close_pair(&pair);
    }
}

static int present_of(struct ota_guests *guests)
{
    struct ota_guest_counts counts;
    ota_guests_count(guests, &counts);
    return counts.present;
}

/* Between the cut and the thread that drops. */
static void test_nothing_begins_after_a_cut(void **state)
{
    (void)state;
    struct pair pair;

    open_pair(&pair);
    ask(&pair, 7);
    assert_true(ota_guests_may_be_answered(pair.guests, &pair.guest));
    assert_true(ota_guests_cut(pair.guests, 7));
    assert_false(ota_guests_may_be_answered(pair.guests, &pair.guest));
    ota_guests_drop_cut(pair.guests);
    assert_false(ota_guests_may_be_answered(pair.guests, &pair.guest));
    close_pair(&pair);
}

static void ask_and_cut(void *data)
{
    struct pair *pair = data;
    ask(pair, 8);
    send_much(pair);
    ota_guests_rest(pair->guests, &pair->guest, 0);
    assert_true(ota_guests_cut(pair->guests, 8));
}

/* A cut that comes while the thread looks at the socket isn't about what it has just seen. */
static void test_cut_while_looked_at(void **state)
{
    (void)state;
    struct pair pair;

    open_pair(&pair);
    ask(&pair, 7);
    ota_guests_rest(pair.guests, &pair.guest, 0);
    assert_true(ota_guests_cut(pair.guests, 7));
    meanwhile_data = &pair;
    meanwhile = ask_and_cut;
    ota_guests_drop_cut(pair.guests);
    assert_null(meanwhile);
    assert_int_equal(present_of(pair.guests), 0);
    close_pair(&pair);
}

static struct ota_guest_counts after_minutes(struct pair *pair)
{
    struct ota_guest_counts counts;

    for (int64_t now = 0; now < 200000; now += 1000) {
        ota_guests_work(pair->guests, now);
    }
    ota_guests_count(pair->guests, &counts);
    return counts;
}

/* Who sends a body has no deadline, but must not send it below the floor. */
static void test_slow_bodies(void **state)
{
    (void)state;
    static char bytes[600];
    for (int slow = 0; slow < 2; slow++) {
        struct pair pair;
        struct ota_guest_counts counts;

        open_pair(&pair);
        ota_guests_read(pair.guests, &pair.guest, 0);
        for (int64_t second = 0; second < 200; second++) {
            ota_guests_work(pair.guests, second * 1000);
            (void)send(pair.client, bytes, slow ? 400 : 600, MSG_NOSIGNAL);
            (void)recv(pair.server, bytes, sizeof bytes, MSG_DONTWAIT);
        }
        ota_guests_count(pair.guests, &counts);
        assert_int_equal(counts.present, !slow);
        assert_int_equal(counts.slow, slow);
        ask(&pair, 7);
        assert_int_equal(after_minutes(&pair).present, !slow);
        close_pair(&pair);
    }
}

/* What it has sent lies there, and we don't come to read it. */
static void test_waiting_to_be_read_is_not_slow(void **state)
{
    (void)state;
    static char bytes[600];
    struct pair pair;

    open_pair(&pair);
    ota_guests_read(pair.guests, &pair.guest, 0);
    assert_int_equal(send(pair.client, bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
    for (int ms = 0; ms < 10000 && !ota_link_has_unread(pair.server); ms++) {
        sleep_ms(1);
    }
    assert_int_equal(after_minutes(&pair).present, 1);
    assert_false(pair.guest.weak);
    assert_int_equal(recv(pair.server, bytes, sizeof bytes, 0), sizeof bytes);
    assert_int_equal(after_minutes(&pair).slow, 1);
    close_pair(&pair);
}

/* Who has closed, is told to go at the second look: what it sent before may be on its way to us. */
static void test_closed_by_the_peer(void **state)
{
    (void)state;
    for (int idle = 0; idle < 2; idle++) {
        struct pair pair;
        struct ota_link_traffic traffic = {0};

        open_pair(&pair);
        if (idle) {
            ask(&pair, 7);
            ota_guests_rest(pair.guests, &pair.guest, 0);
            ota_guests_work(pair.guests, 0);
        }
        (void)shutdown(pair.client, SHUT_WR);
        for (int ms = 0; ms < 10000 && !traffic.ended; ms++) {
            assert_true(ota_link_look(pair.server, &traffic));
            sleep_ms(1);
        }
        ota_guests_work(pair.guests, 1000);
        assert_int_equal(present_of(pair.guests), 1);
        ota_guests_work(pair.guests, 2000);
        assert_int_equal(present_of(pair.guests), 0);
        close_pair(&pair);
    }
}

static void drain_client(struct pair *pair)
{
    static char bytes[65536];

    for (int quiet = 0; quiet < 100; quiet++) {
        while (recv(pair->client, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
            quiet = 0;
        }
        sleep_ms(1);
    }
}

/* A stream of events may be silent for as long as it likes, but what it says must be taken. */
static void test_silent_streams_are_not_slow(void **state)
{
    (void)state;
    struct pair pair;

    open_pair(&pair);
    ask(&pair, 7);
    send_much(&pair);
    for (int64_t now = 0; now <= 30000; now += 1000) {
        ota_guests_work(pair.guests, now);
    }
    assert_true(pair.guest.weak);
    drain_client(&pair);
    assert_int_equal(after_minutes(&pair).present, 1);
    assert_false(pair.guest.weak);
    send_much(&pair);
    struct ota_guest_counts counts = after_minutes(&pair);
    assert_int_equal(counts.present, 0);
    assert_int_equal(counts.slow, 1);
    close_pair(&pair);
}

/* --- who has to go --------------------------------------------------------------------------- */

#define CROWD 16

/* Guests with sockets that nobody uses. */
struct crowd {
    struct ota_guests *guests;
    struct ota_guest guest[CROWD];
    int client[CROWD];
    int count;
};

static void open_crowd(struct crowd *crowd)
{
    struct ota_error error = {0};
    assert_int_equal(ota_guests_open(&rules, &crowd->guests, &error), OTA_OK);
    crowd->count = 0;
}

static struct sockaddr_in address_of(int number)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = (in_addr_t)number};
}

static bool admit(struct crowd *crowd, int address)
{
    const struct sockaddr_in from = address_of(address);
    return ota_guests_admit(crowd->guests, (const struct sockaddr *)&from);
}

static void enter(struct crowd *crowd, int address)
{
    const struct sockaddr_in from = address_of(address);
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    crowd->client[crowd->count] = fds[0];
    ota_guests_enter(crowd->guests, &crowd->guest[crowd->count++], fds[1],
                     (const struct sockaddr *)&from, 0);
}

static void join(struct crowd *crowd, int address)
{
    assert_true(admit(crowd, address));
    enter(crowd, address);
}

static void ask_of(struct crowd *crowd, int number, int64_t key)
{
    ota_guests_ask(crowd->guests, &crowd->guest[number], key, 1, 0);
}

static void close_crowd(struct crowd *crowd)
{
    struct ota_guest_counts counts;

    for (int i = 0; i < crowd->count; i++) {
        assert_int_equal(client_is_closed(crowd->client[i], 0), crowd->guest[i].gone);
        ota_guests_leave(crowd->guests, &crowd->guest[i]);
        (void)close(crowd->guest[i].fd);
        (void)close(crowd->client[i]);
    }
    ota_guests_count(crowd->guests, &counts);
    assert_true(counts.present == 0 && counts.busy == 0);
    ota_guests_close(crowd->guests);
}

/* Between admit and enter another thread may admit somebody, too. */
static void test_two_for_the_last_place(void **state)
{
    (void)state;
    struct crowd crowd;

    open_crowd(&crowd);
    for (int i = 0; i < rules.places - 1; i++) {
        join(&crowd, i);
    }
    assert_true(admit(&crowd, 100) && admit(&crowd, 101));
    enter(&crowd, 100);
    assert_int_equal(present_of(crowd.guests), rules.places);
    enter(&crowd, 101);
    assert_int_equal(present_of(crowd.guests), rules.places);
    assert_true(crowd.guest[0].gone);
    close_crowd(&crowd);
}

static void test_the_last_place_among_the_busy(void **state)
{
    (void)state;
    struct crowd crowd;

    open_crowd(&crowd);
    for (int i = 0; i < rules.places; i++) {
        join(&crowd, i);
        ask_of(&crowd, i, 0);
    }
    assert_false(admit(&crowd, 100));
    enter(&crowd, 100); /* had it been admitted just before */
    assert_int_equal(present_of(crowd.guests), rules.places);
    assert_true(crowd.guest[rules.places].gone);
    close_crowd(&crowd);
}

/* Before those who have been weak for longer, whatever state they are in. */
static void test_doubted_go_first(void **state)
{
    (void)state;
    struct crowd crowd;

    open_crowd(&crowd);
    for (int i = 0; i < rules.places; i++) {
        join(&crowd, i);
    }
    ask_of(&crowd, 3, 0);
    ota_guests_doubt(crowd.guests, &crowd.guest[3]);
    ask_of(&crowd, 4, 0);
    ota_guests_doubt(crowd.guests, &crowd.guest[4]);
    ota_guests_rest(crowd.guests, &crowd.guest[4], 0);
    ask_of(&crowd, 5, 0);
    ota_guests_doubt(crowd.guests, &crowd.guest[5]);
    ota_guests_work(crowd.guests, 1000);
    ask_of(&crowd, 5, 0); /* a new request, a new chance */
    assert_false(crowd.guest[5].weak);
    ask_of(&crowd, 6, 0);
    ota_guests_doubt(crowd.guests, &crowd.guest[6]);
    join(&crowd, 100);
    assert_true(crowd.guest[3].gone && !crowd.guest[4].gone); /* the longest doubted */
    ask_of(&crowd, 3,
           0); /* its connection isn't closed yet: it has no place to lose all the same */
    ota_guests_doubt(crowd.guests, &crowd.guest[3]);
    assert_false(crowd.guest[3].weak);
    join(&crowd, 101);
    assert_true(crowd.guest[4].gone && !crowd.guest[6].gone);
    join(&crowd, 102);
    assert_true(crowd.guest[6].gone && !crowd.guest[0].gone);
    assert_true(admit(&crowd, 103));
    assert_true(crowd.guest[0].gone);
    close_crowd(&crowd);
}

/* One that is known by its body, after a refusal. */
static void test_doubt_ends_with_the_next_request(void **state)
{
    (void)state;
    struct crowd crowd;

    open_crowd(&crowd);
    join(&crowd, 0);
    ask_of(&crowd, 0, 0);
    ota_guests_doubt(crowd.guests, &crowd.guest[0]);
    assert_true(crowd.guest[0].weak);
    ota_guests_rest(crowd.guests, &crowd.guest[0], 0);
    ota_guests_read(crowd.guests, &crowd.guest[0], 0);
    assert_false(crowd.guest[0].weak);
    close_crowd(&crowd);
}

/* Of an address with a large share the doubted go first, too. */
static void test_doubted_of_one_address(void **state)
{
    (void)state;
    struct crowd crowd;

    open_crowd(&crowd);
    for (int i = 0; i < rules.places; i++) {
        join(&crowd, i < 6 ? 1 : i + 1);
    }
    for (int i = 3; i < 6; i++) {
        ask_of(&crowd, i, 0);
        ota_guests_doubt(crowd.guests, &crowd.guest[i]);
    }
    ask_of(&crowd, 5, 0); /* the last of the doubted isn't any more */
    ota_guests_doubt(crowd.guests, &crowd.guest[5]);
    assert_true(admit(&crowd, 1));
    assert_true(crowd.guest[3].gone && !crowd.guest[4].gone && !crowd.guest[0].gone);
    enter(&crowd, 1);
    assert_true(admit(&crowd, 1));
    assert_true(crowd.guest[4].gone && !crowd.guest[5].gone && !crowd.guest[0].gone);
    close_crowd(&crowd);
}

/* They go even before those of an address with a large share. */
static void test_doubted_before_a_large_share(void **state)
{
    (void)state;
    struct crowd crowd;

    open_crowd(&crowd);
    for (int i = 0; i < rules.places; i++) {
        join(&crowd, i < 5 ? 1 : i);
    }
    ask_of(&crowd, 8, 0);
    ota_guests_doubt(crowd.guests, &crowd.guest[8]);
    join(&crowd, 100);
    assert_true(crowd.guest[8].gone && !crowd.guest[0].gone);
    join(&crowd, 101);
    assert_true(crowd.guest[0].gone);
    close_crowd(&crowd);
}

/* A device that lost its connections comes back: the new one counts. */
static void test_a_key_has_few_guests(void **state)
{
    (void)state;
    struct crowd crowd;
    struct ota_guest_counts counts;

    open_crowd(&crowd);
    for (int i = 0; i < 8; i++) {
        join(&crowd, i);
    }
    ask_of(&crowd, 0, 7);
    ask_of(&crowd, 1, 7);
    ask_of(&crowd, 2, 7 + 1024); /* in the same bucket */
    ask_of(&crowd, 1, 7);        /* again: it isn't one more */
    assert_int_equal(present_of(crowd.guests), 8);
    ask_of(&crowd, 3, 7);
    assert_true(crowd.guest[0].gone && !crowd.guest[1].gone && !crowd.guest[2].gone);
    ota_guests_rest(crowd.guests, &crowd.guest[3], 0);
    ota_guests_work(crowd.guests, 0); /* now it is idle: rather that one than the older */
    ask_of(&crowd, 4, 7);
    assert_true(crowd.guest[3].gone && !crowd.guest[1].gone && !crowd.guest[4].gone);
    ota_guests_count(crowd.guests, &counts);
    assert_true(counts.crowded == 2 && counts.present == 6);
    for (int i = 5; i < 8; i++) { /* no key, no limit */
        ask_of(&crowd, i, 0);
    }
    assert_int_equal(present_of(crowd.guests), 6);
    close_crowd(&crowd);
}

/* Those who were told to go, and whose connections nobody has closed yet, are bounded, too. */
static void test_many_who_have_to_go(void **state)
{
    (void)state;
    enum { MANY = 2000 };
    static struct ota_guest many[MANY];
    struct ota_error error = {0};
    struct ota_guests *guests;
    const struct sockaddr_in from = address_of(1);
    int fds[2];
    int count = 0;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(ota_guests_open(&rules, &guests, &error), OTA_OK);
    while (count < MANY && ota_guests_admit(guests, (const struct sockaddr *)&from)) {
        ota_guests_enter(guests, &many[count++], fds[0], (const struct sockaddr *)&from, 0);
    }
    assert_in_range(count, rules.places + OTA_GUESTS_LEAVING,
                    2 * rules.places + OTA_GUESTS_LEAVING);
    for (int i = 0; i < count - 1; i++) {
        ota_guests_leave(guests, &many[i]);
    }
    assert_true(ota_guests_admit(guests, (const struct sockaddr *)&from));
    ota_guests_leave(guests, &many[count - 1]);
    ota_guests_close(guests);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* Whose request came while the process was stopped isn't late: it is to be read first. */
static void test_nobody_is_late_for_a_stopped_process(void **state)
{
    (void)state;
    struct crowd crowd;

    open_crowd(&crowd);
    for (int i = 0; i < 2; i++) {
        join(&crowd, i);
    }
    ask_of(&crowd, 1, 7);
    ota_guests_rest(crowd.guests, &crowd.guest[1], 0);
    ota_guests_work(crowd.guests, 1000); /* the second is idle */
    ota_guests_work(crowd.guests, 3600000);
    assert_int_equal(present_of(crowd.guests), 2);
    ota_guests_work(crowd.guests, 3601000);
    assert_int_equal(present_of(crowd.guests), 0);
    close_crowd(&crowd);
}

/* --- threads --------------------------------------------------------------------------------- */

struct leaver {
    struct pair *pair;
    pthread_t thread;
    atomic_bool left;
};

static void *leave(void *data)
{
    struct leaver *leaver = data;
    ota_guests_leave(leaver->pair->guests, &leaver->pair->guest);
    atomic_store(&leaver->left, true);
    return NULL;
}

static void let_leave(void *data)
{
    struct leaver *leaver = data;
    assert_int_equal(pthread_create(&leaver->thread, NULL, leave, leaver), 0);
    sleep_ms(50);
    assert_false(atomic_load(&leaver->left));
}

/* Its descriptor stays open until the look at it is over. */
static void test_leaving_waits_for_the_look(void **state)
{
    (void)state;
    struct pair pair;
    struct leaver leaver = {.pair = &pair};

    open_pair(&pair);
    ask(&pair, 7);
    meanwhile_data = &leaver;
    meanwhile = let_leave;
    ota_guests_work(pair.guests, 1000);
    assert_null(meanwhile);
    (void)pthread_join(leaver.thread, NULL);
    assert_true(atomic_load(&leaver.left));
    ota_guests_close(pair.guests);
    (void)close(pair.server);
    (void)close(pair.client);
}

/* The lock isn't held while the socket is looked at, so somebody may leave meanwhile. */
static atomic_bool leaving;

static void *work_on(void *data)
{
    struct ota_guests *guests = data;
    for (int64_t now = 0; !atomic_load(&leaving); now++) {
        ota_guests_work(guests, now);
        ota_guests_drop_cut(guests);
    }
    return NULL;
}

static void test_leaving_while_looked_at(void **state)
{
    (void)state;
    struct pair pair;
    pthread_t thread;
    const struct sockaddr_in from = {.sin_family = AF_INET};
    struct ota_guest *others[64];

    open_pair(&pair);
    atomic_store(&leaving, false);
    assert_int_equal(pthread_create(&thread, NULL, work_on, pair.guests), 0);
    for (int round = 0; round < 2000; round++) {
        int count = round % 64 + 1;
        for (int i = 0; i < count; i++) {
            others[i] = calloc(1, sizeof *others[i]);
            ota_guests_enter(pair.guests, others[i], dup(pair.server),
                             (const struct sockaddr *)&from, 0);
            ota_guests_ask(pair.guests, others[i], i % 3, 1, 0);
            ota_guests_rest(pair.guests, others[i], 0);
        }
        (void)ota_guests_cut(pair.guests, round % 3);
        for (int i = 0; i < count; i++) {
            int fd = others[i]->fd;
            ota_guests_leave(pair.guests, others[i]);
            (void)close(fd);
            free(others[i]);
        }
    }
    atomic_store(&leaving, true);
    (void)pthread_join(thread, NULL);
    struct ota_guest_counts counts;
    ota_guests_count(pair.guests, &counts);
    assert_int_equal(counts.busy, 0);
    close_pair(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_of_one_who_has_it_all),
        cmocka_unit_test(test_cut_then_asked_again),
        cmocka_unit_test(test_cut_of_what_the_kernel_has),
        cmocka_unit_test(test_nothing_begins_after_a_cut),
        cmocka_unit_test(test_cut_while_looked_at),
        cmocka_unit_test(test_slow_bodies),
        cmocka_unit_test(test_waiting_to_be_read_is_not_slow),
        cmocka_unit_test(test_closed_by_the_peer),
        cmocka_unit_test(test_silent_streams_are_not_slow),
        cmocka_unit_test(test_two_for_the_last_place),
        cmocka_unit_test(test_the_last_place_among_the_busy),
        cmocka_unit_test(test_doubted_go_first),
        cmocka_unit_test(test_doubt_ends_with_the_next_request),
        cmocka_unit_test(test_doubted_of_one_address),
        cmocka_unit_test(test_doubted_before_a_large_share),
        cmocka_unit_test(test_a_key_has_few_guests),
        cmocka_unit_test(test_many_who_have_to_go),
        cmocka_unit_test(test_nobody_is_late_for_a_stopped_process),
        cmocka_unit_test(test_leaving_waits_for_the_look),
        cmocka_unit_test(test_leaving_while_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
