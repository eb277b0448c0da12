/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS of sandboxes with rules on names: it knows the names they may reach, and no others. So a
 * question is no way to say something to the outside, but to whom a rule names. Addresses are the only
 * thing told: other records (of IPv6, of encrypted greetings) would lead past the relay. */
#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/mem.h"
#include "egress/egress-internal.h"

enum {
    TURN_MAX = 64,      /* datagrams taken at once */
    TCP_MS = 10 * 1000, /* for one question and its answer */
    TCP_QUERY_MAX = 2 + DNS_MESSAGE_MAX,
};

/* A question under way. */
struct asking {
    struct egress *egress;
    struct in_addr guest; /* looked up again: it may have gone meanwhile */
    struct dns_question question;
    struct resolve_wait wait;
    struct sockaddr_in client;
    struct listener *listener; /* UDP; NULL: TCP, and these */
    int tcp_fd;
    uv_poll_t *tcp_poll;
    uv_timer_t *tcp_timer;
    uint8_t bytes[TCP_QUERY_MAX];
    size_t len;
};

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void asking_free(struct asking *a)
{
    struct guest *guest = guests_find(a->egress->guests, a->guest);
    resolver_cancel(&a->wait);
    if (guest && guest->questions > 0)
        guest->questions--;
    if (a->tcp_poll)
        uv_close((uv_handle_t *)a->tcp_poll, free_handle);
    if (a->tcp_timer)
        uv_close((uv_handle_t *)a->tcp_timer, free_handle);
    fd_closep(&a->tcp_fd);
    free(a);
}

static void answer(struct asking *a, const struct dns_answer *what)
{
    uint8_t out[2 + DNS_MESSAGE_MAX];
    size_t n = dns_write_answer(&a->question, what, out + 2);
    if (a->listener) {
        if (a->listener->fd >= 0)
            sendto(a->listener->fd, out + 2, n, MSG_DONTWAIT, (struct sockaddr *)&a->client,
                   sizeof a->client);
    } else {
        out[0] = (uint8_t)(n >> 8);
        out[1] = (uint8_t)n;
        send(a->tcp_fd, out, n + 2, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    asking_free(a);
}

static void on_resolved(struct resolve_wait *wait, const struct dns_answer *found, bool closed)
{
    struct asking *a = CONTAINER_OF(wait, struct asking, wait);
    struct dns_answer told = *found;
    if (closed)
        told.code = DNS_NO_NAME;
    answer(a, &told);
}

static void refuse(struct asking *a, unsigned code)
{
    const struct dns_answer none = {.code = code};
    answer(a, &none);
}

static void decide(struct asking *a)
{
    const struct dns_question *q = &a->question;
    link_read(a->egress);
    struct guest *guest = guests_find(a->egress->guests, a->guest);
    if (!guest) {
        asking_free(a);
    } else if (q->wire_len == 0) {
        refuse(a, DNS_NOT_IMPLEMENTED);
    } else if (!*q->name || !guest_may_reach(guest, q->name)) {
        guest_refused(guest, "dns", *q->name ? str_from(q->name) : STR(""), "not allowed");
        refuse(a, DNS_NO_NAME);
    } else if (q->type != DNS_TYPE_A) {
        refuse(a, DNS_NO_ERROR); /* there is the name, but nothing of that kind */
    } else {
        resolver_ask(a->egress->resolver, q->name, &a->wait, on_resolved);
    }
}

/* ---- UDP ---- */

void dns_server_datagrams(struct listener *listener)
{
    struct egress *egress = listener->egress;
    for (int i = 0; i < TURN_MAX && listener->fd >= 0; i++) {
        uint8_t message[DNS_MESSAGE_MAX];
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        struct dns_question question;
        ssize_t n = recvfrom(listener->fd, message, sizeof message, MSG_DONTWAIT,
                             (struct sockaddr *)&from, &size);
        if (n < 0)
            return;
        if (dns_read_query(message, (size_t)n, &question) < 0)
            continue;
        link_read(egress);
        struct guest *guest = guests_find(egress->guests, from.sin_addr);
        if (!guest || guest->questions >= GUEST_QUESTIONS_MAX)
            continue;
        guest->questions++;
        struct asking *a = xcalloc(1, sizeof *a);
        a->egress = egress;
        a->guest = from.sin_addr;
        a->question = question;
        a->client = from;
        a->listener = listener;
        a->tcp_fd = -1;
        decide(a);
    }
}

/* ---- TCP: one question a connection ---- */

static void on_tcp_deadline(uv_timer_t *timer)
{
    asking_free(timer->data);
}

static void on_tcp_readable(uv_poll_t *poll, int status, int events)
{
    struct asking *a = poll->data;
    ssize_t n = recv(a->tcp_fd, a->bytes + a->len, sizeof a->bytes - a->len, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        asking_free(a);
        return;
    }
    a->len += (size_t)n;
    size_t wanted = a->len >= 2 ? (size_t)a->bytes[0] << 8 | a->bytes[1] : 0;
    if (a->len < 2 || (a->len < 2 + wanted && a->len < sizeof a->bytes))
        return;
    if (a->len < 2 + wanted || dns_read_query(a->bytes + 2, wanted, &a->question) < 0) {
        asking_free(a);
        return;
    }
    uv_poll_stop(poll);
    decide(a);
}

void dns_server_connection(struct egress *egress, struct guest *guest, int fd)
{
    if (guest->questions >= GUEST_QUESTIONS_MAX) {
        close(fd);
        return;
    }
    struct asking *a = xcalloc(1, sizeof *a);
    guest->questions++;
    a->egress = egress;
    a->guest = guest->address;
    a->tcp_fd = fd;
    a->tcp_poll = xcalloc(1, sizeof *a->tcp_poll);
    if (uv_poll_init(&egress->loop, a->tcp_poll, fd) < 0) {
        free(TAKE_PTR(a->tcp_poll));
        asking_free(a);
        return;
    }
    a->tcp_poll->data = a;
    a->tcp_timer = xcalloc(1, sizeof *a->tcp_timer);
    uv_timer_init(&egress->loop, a->tcp_timer);
    a->tcp_timer->data = a;
    uv_timer_start(a->tcp_timer, on_tcp_deadline, TCP_MS, 0);
    uv_poll_start(a->tcp_poll, UV_READABLE, on_tcp_readable);
}
