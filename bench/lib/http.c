/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to several servers in turn, each on a connection of its own that is kept:
 *
 *     http ROUNDS <lines
 *
 * A line is NAME, HOST (or the path of a socket), PORT, METHOD, TARGET, BODY and header fields, between tabs. BODY: a number of
 * bytes of filling, @FILE, or =TEXT. "%d" in TARGET and TEXT is the round. Prints for each request
 * NAME, nanoseconds, and 1 if the status was 2xx, between tabs. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LINES_MAX = 64, WORDS_MAX = 16, IN_SIZE = 1 << 20 };

struct contestant {
    char *words[WORDS_MAX];
    int count;
    int fd;
    char *in;
    size_t start, end;
};

static char filling[1 << 20];

static void die(const char *what)
{
    fprintf(stderr, "http: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* A number at the beginning of a text, 0 if there is none. */
static uint64_t number(const char *text, const char *format)
{
    unsigned long long n;
    return sscanf(text, format, &n) == 1 ? n : 0;
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool dial_path(struct contestant *c)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", c->words[1]);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(c->fd, (struct sockaddr *)&address, sizeof address) == 0;
}

static bool dial(struct contestant *c)
{
    c->start = c->end = 0;
    if (c->words[1][0] == '/')
        return dial_path(c);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)number(c->words[2], "%llu"))};
    int one = 1;
    inet_pton(AF_INET, c->words[1], &address.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return connect(c->fd, (struct sockaddr *)&address, sizeof address) == 0;
}

static bool send_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool fill(struct contestant *c)
{
    if (c->start == c->end)
        c->start = c->end = 0;
    ssize_t n = c->end < IN_SIZE ? recv(c->fd, c->in + c->end, IN_SIZE - c->end, 0) : -1;
    if (n <= 0)
        return false;
    c->end += (size_t)n;
    return true;
}

/* Drops n bytes of what comes. */
static bool skip(struct contestant *c, uint64_t n)
{
    while (n) {
        if (c->start == c->end && !fill(c))
            return false;
        size_t take = c->end - c->start < n ? c->end - c->start : (size_t)n;
        c->start += take;
        n -= take;
    }
    return true;
}

/* The next line, without its end. */
static char *read_line(struct contestant *c)
{
    for (;;) {
        char *at = c->in + c->start, *end = memchr(at, '\n', c->end - c->start);
        if (end) {
            c->start = (size_t)(end - c->in) + 1;
            *end = '\0';
            if (end > at && end[-1] == '\r')
                end[-1] = '\0';
            return at;
        }
        memmove(c->in, at, c->end - c->start);
        c->end -= c->start;
        c->start = 0;
        if (!fill(c))
            return NULL;
    }
}

static bool skip_chunks(struct contestant *c)
{
    for (;;) {
        char *line = read_line(c);
        uint64_t n = line ? number(line, "%llx") : 0;
        if (!line || !skip(c, n) || !read_line(c))
            return false;
        if (n == 0)
            return true;
    }
}

static bool read_answer(struct contestant *c)
{
    char *line = read_line(c);
    unsigned status = line ? (unsigned)number(line + strcspn(line, " "), "%llu") : 0;
    uint64_t length = 0;
    bool chunked = false;
    while ((line = read_line(c)) && *line) {
        if (strncasecmp(line, "content-length:", 15) == 0)
            length = number(line + 15, "%llu");
        if (strncasecmp(line, "transfer-encoding:", 18) == 0)
            chunked = true;
    }
    return line && (chunked ? skip_chunks(c) : skip(c, length)) && status / 100 == 2;
}

static size_t put_round(char *out, size_t size, const char *text, int round)
{
    const char *at = strstr(text, "%d");
    return (size_t)(at ? snprintf(out, size, "%.*s%d%s", (int)(at - text), text, round, at + 2)
                       : snprintf(out, size, "%s", text));
}

static bool send_body(struct contestant *c, const char *body, uint64_t length)
{
    if (*body == '=')
        return true; /* went with the head */
    if (*body != '@') {
        for (uint64_t n; length; length -= n) {
            n = length < sizeof filling ? length : sizeof filling;
            if (!send_all(c->fd, filling, (size_t)n))
                return false;
        }
        return true;
    }
    int fd = open(body + 1, O_RDONLY | O_CLOEXEC);
    while (length) {
        ssize_t n = sendfile(c->fd, fd, NULL, length);
        if (n <= 0)
            break;
        length -= (uint64_t)n;
    }
    close(fd);
    return length == 0;
}

static bool run(struct contestant *c, int round)
{
    char head[16384], target[4096], text[4096] = "";
    const char *body = c->words[5];
    uint64_t length = number(body, "%llu");
    struct stat st;
    put_round(target, sizeof target, c->words[4], round);
    if (*body == '@')
        length = stat(body + 1, &st) == 0 ? (uint64_t)st.st_size : 0;
    if (*body == '=')
        length = put_round(text, sizeof text, body + 1, round);
    int n =
        snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: localhost\r\n", c->words[3], target);
    for (int i = 6; i < c->count; i++)
        n += snprintf(head + n, sizeof head - (size_t)n, "%s\r\n", c->words[i]);
    if (strcmp(c->words[3], "GET") != 0)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %llu\r\n",
                      (unsigned long long)length);
    n += snprintf(head + n, sizeof head - (size_t)n, "\r\n%s", text);
    bool ok = (c->fd >= 0 || dial(c)) && send_all(c->fd, head, (size_t)n) &&
              send_body(c, body, length) && read_answer(c);
    if (!ok && c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
    return ok;
}

int main(int argc, char **argv)
{
    static struct contestant all[LINES_MAX];
    int count = 0, rounds = argc > 1 ? (int)number(argv[1], "%llu") : 1;
    char *line = NULL;
    size_t room = 0;
    memset(filling, 'x', sizeof filling);
    while (count < LINES_MAX && getline(&line, &room, stdin) > 0) {
        struct contestant *c = &all[count++];
        line[strcspn(line, "\n")] = '\0';
        for (char *word = line; word && c->count < WORDS_MAX;)
            c->words[c->count++] = strsep(&word, "\t");
        if (c->count < 6 || !(c->in = malloc(IN_SIZE)))
            die("line");
        c->fd = -1;
        line = NULL;
    }
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < count; i++) {
            int64_t start = now();
            bool ok = run(&all[i], round);
            printf("%s\t%lld\t%d\n", all[i].words[0], (long long)(now() - start), ok);
        }
    }
    return 0;
}
