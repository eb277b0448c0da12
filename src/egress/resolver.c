/* SPDX-License-Identifier: Apache-2.0 */
/* A stub resolver. Each question has a socket of its own, and so an unpredictable port: who does not
 * see it cannot answer it. */
#include "egress/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/random.h"

enum {
    BUCKETS = 256,
    KNOWN_MAX = 4096, /* names remembered */
    TRIES = 4,        /* over all resolvers */
    TRY_MS = 1500,
    TTL_MIN = 5, /* seconds; failures are remembered as long */
    TTL_MAX = 300,
    DNS_PORT = 53,
};

/* A name asked about, or known. */
struct question {
    LIST_ENTRY(question) link;
    TAILQ_ENTRY(question) age; /* all, oldest first */
    struct resolver *resolver;
    char name[HOSTNAME_SIZE];
    LIST_HEAD(, resolve_wait) waits;
    bool asking;
    struct dns_answer answer; /* once it is known */
    bool closed;
    int64_t until; /* monotonic */

    int fd;
    uint16_t id;
    unsigned tries;
    uv_poll_t *poll; /* own allocations: they outlive the question until their close callbacks */
    uv_timer_t *timer;
};

struct resolver {
    uv_loop_t *loop;
    LIST_HEAD(, question) buckets[BUCKETS];
    TAILQ_HEAD(, question) all;
    size_t count;
    struct egress_hello hello;
    unsigned dns_count;
};

struct resolver *resolver_new(uv_loop_t *loop)
{
    struct resolver *r = xcalloc(1, sizeof *r);
    r->loop = loop;
    for (size_t i = 0; i < BUCKETS; i++)
        LIST_INIT(&r->buckets[i]);
    TAILQ_INIT(&r->all);
    return r;
}

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

/* Ends the asking. */
static void close_question(struct question *q)
{
    if (q->poll) {
        uv_close((uv_handle_t *)q->poll, free_handle);
        q->poll = NULL;
    }
    if (q->timer) {
        uv_close((uv_handle_t *)q->timer, free_handle);
        q->timer = NULL;
    }
    fd_closep(&q->fd);
    q->asking = false;
}

static void forget(struct question *q)
{
    close_question(q);
    LIST_REMOVE(q, link);
    TAILQ_REMOVE(&q->resolver->all, q, age);
    q->resolver->count--;
    free(q);
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    while (!TAILQ_EMPTY(&r->all))
        forget(TAILQ_FIRST(&r->all));
    free(r);
}

void resolver_configure(struct resolver *r, const struct egress_hello *hello)
{
    r->hello = *hello;
    r->dns_count = 0;
    while (r->dns_count < EGRESS_DNS_MAX && hello->dns[r->dns_count] != 0)
        r->dns_count++;
    for (struct question *q = TAILQ_FIRST(&r->all), *next; q; q = next) {
        next = TAILQ_NEXT(q, age);
        if (!q->asking)
            forget(q);
    }
}

/* ---- addresses ---- */

static bool within(const struct egress_range *ranges, uint32_t count, uint32_t address)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t rest = ranges[i].prefix == 0
                            ? UINT32_MAX
                            : (uint32_t)((UINT64_C(1) << (32 - ranges[i].prefix)) - 1);
        if ((address & ~rest) == ranges[i].address)
            return true;
    }
    return false;
}

bool resolver_is_closed(const struct resolver *r, struct in_addr address)
{
    uint32_t number = ntohl(address.s_addr);
    return within(r->hello.closed, r->hello.closed_count, number) &&
           !within(r->hello.opened, r->hello.opened_count, number);
}

/* ---- answers ---- */

static void tell(struct question *q)
{
    /* Who is told may ask again, and so make this question be forgotten. */
    LIST_HEAD(, resolve_wait) waits = LIST_HEAD_INITIALIZER(waits);
    const struct dns_answer answer = q->answer;
    const bool closed = q->closed;
    struct resolve_wait *wait;
    while ((wait = LIST_FIRST(&q->waits))) {
        LIST_REMOVE(wait, link);
        LIST_INSERT_HEAD(&waits, wait, link);
    }
    while ((wait = LIST_FIRST(&waits))) {
        LIST_REMOVE(wait, link);
        wait->question = NULL;
        wait->done(wait, &answer, closed);
    }
}

static void finish(struct question *q, const struct dns_answer *answer)
{
    unsigned kept = 0;
    q->answer = *answer;
    for (unsigned i = 0; i < answer->count; i++)
        if (!resolver_is_closed(q->resolver, answer->addresses[i]))
            q->answer.addresses[kept++] = answer->addresses[i];
    q->answer.count = kept;
    q->closed = kept == 0 && answer->count > 0;
    uint32_t ttl = kept == 0 || answer->ttl < TTL_MIN ? TTL_MIN : answer->ttl;
    if (ttl > TTL_MAX)
        ttl = TTL_MAX;
    q->answer.ttl = ttl;
    q->until = clock_mono_ns() + ttl * CLOCK_S;
    close_question(q);
    tell(q);
}

static void fail(struct question *q)
{
    const struct dns_answer nothing = {.code = DNS_SERVER_FAILURE};
    finish(q, &nothing);
}

static void try_next(struct question *q);

static void on_answer(uv_poll_t *poll, int status, int events)
{
    struct question *q = poll->data;
    uint8_t message[DNS_MESSAGE_MAX];
    struct dns_answer answer;
    ssize_t n = recv(q->fd, message, sizeof message, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0) { /* told that nobody is there */
        try_next(q);
        return;
    }
    if (dns_read_answer(message, (size_t)n, q->id, q->name, &answer) < 0)
        return; /* somebody else's, or nonsense: the right one may still come */
    if (answer.code == DNS_NO_ERROR || answer.code == DNS_NO_NAME)
        finish(q, &answer);
    else
        try_next(q);
}

/* ---- asking ---- */

static void on_late(uv_timer_t *timer)
{
    try_next(timer->data);
}

/* Sends the question once more, to the next resolver, from a new port. False: it cannot be. */
static bool send_question(struct question *q)
{
    const struct resolver *r = q->resolver;
    uint8_t message[DNS_MESSAGE_MAX];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(DNS_PORT),
                             .sin_addr.s_addr = r->hello.dns[q->tries % r->dns_count]};
    if (q->poll) {
        uv_close((uv_handle_t *)q->poll, free_handle);
        q->poll = NULL;
    }
    fd_closep(&q->fd);
    q->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (q->fd < 0 || connect(q->fd, (struct sockaddr *)&to, sizeof to) < 0)
        return false;
    random_bytes(&q->id, sizeof q->id);
    size_t n = dns_write_query(q->id, q->name, message);
    if (send(q->fd, message, n, MSG_DONTWAIT) < 0)
        return false;
    q->poll = xcalloc(1, sizeof *q->poll);
    q->poll->data = q;
    if (uv_poll_init(r->loop, q->poll, q->fd) < 0) {
        free(TAKE_PTR(q->poll));
        return false;
    }
    uv_poll_start(q->poll, UV_READABLE, on_answer);
    return true;
}

static void try_next(struct question *q)
{
    while (q->resolver->dns_count > 0 && q->tries < TRIES) {
        bool sent = send_question(q);
        q->tries++;
        if (sent) {
            uv_timer_start(q->timer, on_late, TRY_MS, 0);
            return;
        }
    }
    fail(q);
}

static unsigned bucket(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash % BUCKETS;
}

static struct question *find(struct resolver *r, const char *name)
{
    struct question *q;
    LIST_FOREACH(q, &r->buckets[bucket(name)], link)
    if (strcmp(q->name, name) == 0)
        return q;
    return NULL;
}

/* Makes room by forgetting who was learned first; what is being asked stays. */
static void make_room(struct resolver *r)
{
    for (struct question *q = TAILQ_FIRST(&r->all), *next; q && r->count >= KNOWN_MAX; q = next) {
        next = TAILQ_NEXT(q, age);
        if (!q->asking)
            forget(q);
    }
}

static struct question *begin(struct resolver *r, const char *name)
{
    make_room(r);
    struct question *q = xcalloc(1, sizeof *q);
    q->resolver = r;
    q->fd = -1;
    q->asking = true;
    memcpy(q->name, name, strlen(name) + 1);
    LIST_INIT(&q->waits);
    LIST_INSERT_HEAD(&r->buckets[bucket(name)], q, link);
    TAILQ_INSERT_TAIL(&r->all, q, age);
    r->count++;
    q->timer = xcalloc(1, sizeof *q->timer);
    q->timer->data = q;
    uv_timer_init(r->loop, q->timer);
    return q;
}

void resolver_ask(struct resolver *r, const char *name, struct resolve_wait *wait,
                  void (*done)(struct resolve_wait *, const struct dns_answer *, bool closed))
{
    struct question *q = find(r, name);
    wait->done = done;
    if (q && !q->asking) {
        if (q->until > clock_mono_ns()) {
            const struct dns_answer answer = q->answer;
            done(wait, &answer, q->closed);
            return;
        }
        forget(q);
        q = NULL;
    }
    bool fresh = !q;
    if (fresh)
        q = begin(r, name);
    wait->question = q;
    LIST_INSERT_HEAD(&q->waits, wait, link);
    if (fresh)
        try_next(q);
}

void resolver_cancel(struct resolve_wait *wait)
{
    if (!wait->question)
        return;
    LIST_REMOVE(wait, link);
    wait->question = NULL;
}
