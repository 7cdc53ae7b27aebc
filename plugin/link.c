/* SPDX-License-Identifier: BSD-3-Clause */
#include "link.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* TCP_CLOSE_WAIT of netinet/tcp.h, which knows less of tcp_info and can't be read beside
 * linux/tcp.h. */
#define CLOSE_WAIT 8

bool ota_link_has_unsent(int fd)
{
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

bool ota_link_has_unread(int fd)
{
    int bytes = 0;
    return ioctl(fd, SIOCINQ, &bytes) == 0 && bytes > 0;
}

bool ota_link_look(int fd, struct ota_link_traffic *traffic)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        len < offsetof(struct tcp_info, tcpi_segs_out)) {
        return false;
    }
    traffic->acknowledged = info.tcpi_bytes_acked;
    traffic->received = info.tcpi_bytes_received;
    traffic->ended = info.tcpi_state == CLOSE_WAIT;
    return true;
}

void ota_link_drop(int fd, bool reset)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    if (reset) {
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    (void)shutdown(fd, SHUT_RDWR);
}

void ota_link_peer(int fd, char *text, size_t size)
{
    static const char mapped[] = "::ffff:"; /* IPv4 at an IPv6 listener */
    struct sockaddr_storage from = {0};
    socklen_t len = sizeof from;
    char host[NI_MAXHOST] = "?";

    (void)getpeername(fd, (struct sockaddr *)&from, &len);
    (void)getnameinfo((struct sockaddr *)&from, len, host, sizeof host, NULL, 0, NI_NUMERICHOST);
    bool is_mapped = strncmp(host, mapped, sizeof mapped - 1) == 0;
    (void)snprintf(text, size, "%s", is_mapped ? host + sizeof mapped - 1 : host);
}

void ota_link_bound_unsent(int listening, int bytes)
{
    (void)setsockopt(listening, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

void ota_link_bound_unread(int listening, int bytes)
{
    (void)setsockopt(listening, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}
