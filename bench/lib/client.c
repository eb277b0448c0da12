/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP client of the benchmarks. */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in address;
static const char *api_key;
static char block[BLOCK];

int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}

void client_open(char **argv)
{
    int port;
    if (sscanf(argv[1], "%d", &port) != 1 || inet_pton(AF_INET, argv[0], &address.sin_addr) != 1) {
        errno = EINVAL;
        die("address");
    }
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    api_key = argv[2];
    memset(block, 'x', sizeof block);
}

struct connection *connection_new(size_t size)
{
    struct connection *c = calloc(1, sizeof *c);
    if (!c || !(c->in = malloc(size)))
        die("memory");
    c->fd = -1;
    c->size = size;
    return c;
}

/* ---- HTTP ---- */

void disconnect(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->start = c->end = 0;
}

static bool send_all(struct connection *c, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool fill(struct connection *c)
{
    if (c->start == c->end)
        c->start = c->end = 0;
    if (c->end == c->size) {
        memmove(c->in, c->in + c->start, c->end - c->start);
        c->end -= c->start;
        c->start = 0;
    }
    ssize_t got = recv(c->fd, c->in + c->end, c->size - c->end, 0);
    if (got <= 0)
        return false;
    c->end += (size_t)got;
    return true;
}

/* Takes n bytes of the body; the first BODY_KEPT of all are kept in out. */
static bool take(struct connection *c, uint64_t n, char *out, size_t *kept)
{
    while (n > 0) {
        if (c->start == c->end && !fill(c))
            return false;
        size_t have = c->end - c->start;
        if (have > n)
            have = (size_t)n;
        size_t keep = BODY_KEPT - 1 - *kept < have ? BODY_KEPT - 1 - *kept : have;
        memcpy(out + *kept, c->in + c->start, keep);
        *kept += keep;
        c->start += have;
        n -= have;
    }
    return true;
}

/* The next line, without its CRLF; valid until the next read. NULL when the connection is gone. */
static char *line(struct connection *c)
{
    size_t seen = 0;
    for (;;) {
        char *p = c->in + c->start;
        char *lf = memchr(p + seen, '\n', c->end - c->start - seen);
        if (lf) {
            c->start = (size_t)(lf + 1 - c->in);
            *lf = '\0';
            if (lf > p && lf[-1] == '\r')
                lf[-1] = '\0';
            return p;
        }
        seen = c->end - c->start;
        if (c->start > 0) {
            memmove(c->in, p, seen);
            c->start = 0;
            c->end = seen;
        }
        if (c->end == c->size || !fill(c))
            return NULL;
    }
}

static bool read_body(struct connection *c, bool chunked, uint64_t length, char *out)
{
    size_t kept = 0;
    bool ok = true;
    if (!chunked) {
        ok = take(c, length, out, &kept);
    } else {
        for (;;) {
            char *size = line(c);
            unsigned long long n;
            if (!size || sscanf(size, "%llx", &n) != 1)
                return false;
            ok = take(c, n, out, &kept) && line(c);
            if (!ok || n == 0)
                break;
        }
    }
    out[kept] = '\0';
    return ok;
}

/* Sends one request and reads its answer to the end. Returns the status, 0 if it failed. */
int request(struct connection *c, const char *head, const char *body, uint64_t length, char *answer)
{
    if (c->fd < 0) {
        int one = 1;
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0)
            die("socket");
        if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
            die("connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    char text[4096];
    int n = snprintf(text, sizeof text, "%sHost: bench\r\nContent-Length: %llu\r\n\r\n%s", head,
                     (unsigned long long)length, body ? body : "");
    if (n < 0 || (size_t)n >= sizeof text)
        die("a head that is too long");
    bool ok = send_all(c, text, (size_t)n);
    for (uint64_t left = body ? 0 : length; ok && left > 0;) {
        size_t piece = left < sizeof block ? (size_t)left : sizeof block;
        ok = send_all(c, block, piece);
        left -= piece;
    }
    char *first = ok ? line(c) : NULL;
    int status = 0;
    bool chunked = false;
    unsigned long long size = 0;
    if (!first || sscanf(first, "HTTP/1.1 %d", &status) != 1) {
        disconnect(c);
        return 0;
    }
    bool close_after = false;
    for (char *field = line(c); field && *field; field = line(c)) {
        if (strncasecmp(field, "transfer-encoding: chunked", 26) == 0)
            chunked = true;
        else if (strncasecmp(field, "connection: close", 17) == 0)
            close_after = true;
        else if (strncasecmp(field, "content-length:", 15) == 0)
            sscanf(field + 15, "%llu", &size);
    }
    if (!read_body(c, chunked, status == 204 ? 0 : size, answer))
        status = 0;
    if (status == 0 || close_after)
        disconnect(c);
    return status;
}

/* ---- operations ---- */

static bool json_text(const char *json, const char *name, char *out, size_t size)
{
    char key[64];
    snprintf(key, sizeof key, "\"%s\"", name);
    const char *p = strstr(json, key);
    if (!p)
        return false;
    p += strlen(key);
    p += strspn(p, " :");
    if (*p++ != '"')
        return false;
    size_t n = strcspn(p, "\"");
    if (n >= size)
        return false;
    memcpy(out, p, n);
    out[n] = '\0';
    return true;
}

bool sandbox_create(struct connection *c, struct sandbox *ret)
{
    char answer[BODY_KEPT];
    const char *body = "{\"templateID\":\"base\",\"timeout\":600}";
    char head[512];
    snprintf(head, sizeof head,
             "POST /v2/sandboxes HTTP/1.1\r\nX-API-KEY: %s\r\nContent-Type: application/json\r\n",
             api_key);
    return request(c, head, body, strlen(body), answer) == 201 &&
           json_text(answer, "sandboxID", ret->id, sizeof ret->id) &&
           json_text(answer, "envdAccessToken", ret->token, sizeof ret->token);
}

bool sandbox_kill(struct connection *c, const struct sandbox *s)
{
    char answer[BODY_KEPT];
    char head[512];
    snprintf(head, sizeof head, "DELETE /sandboxes/%s HTTP/1.1\r\nX-API-KEY: %s\r\n", s->id,
             api_key);
    return request(c, head, "", 0, answer) == 204;
}

/* Request line and routing fields of a request into the sandbox. */
void inside(char *head, size_t size, const struct sandbox *s, const char *method,
            const char *target, const char *type)
{
    snprintf(head, size,
             "%s %s HTTP/1.1\r\nE2b-Sandbox-Id: %s\r\nE2b-Sandbox-Port: 49983\r\n"
             "X-Access-Token: %s\r\nContent-Type: %s\r\n",
             method, target, s->id, s->token, type);
}

bool sandbox_run(struct connection *c, const struct sandbox *s, char **argv)
{
    char answer[BODY_KEPT];
    char head[1024], body[2048];
    size_t n = 5;
    n += (size_t)snprintf(body + n, sizeof body - n, "{\"process\":{\"cmd\":\"%s\",\"args\":[",
                          argv[0]);
    for (char **a = argv + 1; *a; a++)
        n += (size_t)snprintf(body + n, sizeof body - n, "%s\"%s\"", a > argv + 1 ? "," : "", *a);
    n += (size_t)snprintf(body + n, sizeof body - n, "]},\"stdin\":false}");
    /* The envelope's flag byte is a NUL: text up to here cannot hold it, so head and body go apart. */
    uint32_t length = htonl((uint32_t)(n - 5));
    body[0] = 0;
    memcpy(body + 1, &length, 4);
    inside(head, sizeof head, s, "POST", "/process.Process/Start", "application/connect+json");
    char text[4096];
    int m = snprintf(text, sizeof text,
                     "%sConnect-Protocol-Version: 1\r\nHost: bench\r\nContent-Length: %zu\r\n\r\n",
                     head, n);
    if (c->fd < 0 && request(c, "GET /health HTTP/1.1\r\n", "", 0, answer) == 0)
        return false;
    memcpy(text + m, body, n);
    if (!send_all(c, text, (size_t)m + n))
        return disconnect(c), false;
    bool chunked = false, ok = false;
    int status = 0;
    char *first = line(c);
    if (!first || sscanf(first, "HTTP/1.1 %d", &status) != 1)
        return disconnect(c), false;
    for (char *field = line(c); field && *field; field = line(c))
        if (strncasecmp(field, "transfer-encoding: chunked", 26) == 0)
            chunked = true;
    ok = status == 200 && chunked;
    size_t kept = 0;
    while (ok) {
        char *size = line(c);
        unsigned long long piece;
        ok = size && sscanf(size, "%llx", &piece) == 1 && take(c, piece, answer, &kept) && line(c);
        if (ok && piece == 0)
            break;
    }
    if (!ok)
        return disconnect(c), false;
    return memmem(answer, kept, "\"exit status 0\"", 15) != NULL;
}

bool sandbox_file(struct connection *c, const struct sandbox *s, char **words, bool put)
{
    char answer[BODY_KEPT];
    char head[1024], target[512];
    unsigned long long size = 0;
    snprintf(target, sizeof target, "/files?path=%s", words[0]);
    if (put && sscanf(words[1], "%llu", &size) != 1)
        die("a size");
    inside(head, sizeof head, s, put ? "POST" : "GET", target, "application/octet-stream");
    return request(c, head, put ? NULL : "", size, answer) == 200;
}
