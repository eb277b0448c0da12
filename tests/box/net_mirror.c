/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, resolving and fetching from the machine's package mirror, with deadlines. */
#include "net_mirror.h"

#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"

enum { PATIENCE_MS = 10000 };

/* ---- the machine's configuration ---- */

static struct str next_word(struct str *line)
{
    struct str word;
    do {
        if (!str_split(line, ' ', &word))
            return STR("");
    } while (word.len == 0);
    return word;
}

static bool set_mirror(struct mirror *ret, struct str uri, struct str suite)
{
    if (!str_starts(uri, STR("http://")) || suite.len == 0)
        return false;
    uri.p += 7;
    uri.len -= 7;
    while (uri.len > 0 && uri.p[uri.len - 1] == '/')
        uri.len--;
    size_t host = str_find(uri, '/');
    if (host == 0 || host >= sizeof(ret->host) || memchr(uri.p, ':', host) != NULL)
        return false;
    ret->port = 80;
    (void)snprintf(ret->host, sizeof(ret->host), "%.*s", (int)host, uri.p);
    int n = snprintf(ret->path, sizeof(ret->path), "%.*s/dists/%.*s/InRelease",
                     (int)(uri.len - host), uri.p + host, STR_ARG(suite));
    return n > 0 && (size_t)n < sizeof(ret->path);
}

/* Both of apt's formats: "deb [options] URI SUITE ..." and "URIs: ..." with "Suites: ...". */
static bool read_sources(const char *path, struct mirror *ret)
{
    _cleanup_free_ char *text = NULL;
    size_t len;
    struct str line, uri = STR("");
    if (fd_read_file(AT_FDCWD, path, 1 << 20, &text, &len) < 0)
        return false;
    struct str rest = {text, len};
    while (str_split(&rest, '\n', &line)) {
        struct str key = next_word(&line);
        if (str_eqz(key, "URIs:"))
            uri = next_word(&line);
        if (str_eqz(key, "Suites:") && set_mirror(ret, uri, next_word(&line)))
            return true;
        if (!str_eqz(key, "deb"))
            continue;
        uri = next_word(&line);
        if (str_starts(uri, STR("["))) {
            while (uri.len > 0 && !str_ends(uri, STR("]")))
                uri = next_word(&line);
            uri = next_word(&line);
        }
        if (set_mirror(ret, uri, next_word(&line)))
            return true;
    }
    return false;
}

bool mirror_of_this_machine(struct mirror *ret)
{
    glob_t files;
    bool found = read_sources("/etc/apt/sources.list", ret);
    if (found || glob("/etc/apt/sources.list.d/*", 0, NULL, &files) != 0)
        return found;
    for (size_t i = 0; i < files.gl_pathc && !found; i++)
        found = read_sources(files.gl_pathv[i], ret);
    globfree(&files);
    return found;
}

/* ---- the network ---- */

static int connected_socket(int type, struct in_addr to, int port)
{
    struct sockaddr_in peer = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = to};
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    _cleanup_close_ int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    /* Gone with its close: one that waits for the peer's last word would keep its namespace, for
     * minutes when the word cannot come any more. */
    const struct linger none = {.l_onoff = 1};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        connect(fd, (struct sockaddr *)&peer, sizeof(peer)) < 0)
        return -1;
    return TAKE_FD(fd);
}

/* RFC 1035 section 4: a query for one A record. Returns its length. */
static size_t make_query(const char *host, uint8_t out[512])
{
    size_t at = 12;
    struct str rest = str_from(host), label;
    memset(out, 0, 12);
    random_bytes(out, 2);
    out[2] = 1; /* recursion desired */
    out[5] = 1; /* one question */
    while (str_split(&rest, '.', &label) && label.len > 0 && label.len < 64) {
        out[at++] = (uint8_t)label.len;
        memcpy(out + at, label.p, label.len);
        at += label.len;
    }
    memcpy(out + at, "\0\0\1\0\1", 5);
    return at + 5;
}

static size_t skip_name(const uint8_t *p, size_t at, size_t len)
{
    while (at < len && p[at] != 0) {
        if ((p[at] & 0xc0) != 0)
            return at + 2;
        at += 1U + p[at];
    }
    return at + 1;
}

static bool first_address(const uint8_t *p, size_t len, size_t question, struct in_addr *ret)
{
    unsigned answers = (unsigned)(p[6] << 8 | p[7]);
    size_t at = question;
    while (answers-- > 0) {
        at = skip_name(p, at, len);
        if (at + 10 > len)
            return false;
        unsigned type = (unsigned)(p[at] << 8 | p[at + 1]);
        size_t size = (size_t)(p[at + 8] << 8 | p[at + 9]);
        at += 10;
        if (at + size > len)
            return false;
        if (type == 1 && size == 4) {
            memcpy(&ret->s_addr, p + at, 4);
            return true;
        }
        at += size;
    }
    return false;
}

bool mirror_resolve(struct mirror *mirror, struct in_addr resolver)
{
    uint8_t query[512], answer[1500];
    size_t len = make_query(mirror->host, query);
    _cleanup_close_ int fd = connected_socket(SOCK_DGRAM, resolver, 53);
    if (fd < 0 || send(fd, query, len, 0) != (ssize_t)len)
        return false;
    ssize_t got = recv(fd, answer, sizeof(answer), 0);
    if (got < (ssize_t)len || memcmp(query, answer, 2) != 0)
        return false;
    return first_address(answer, (size_t)got, len, &mirror->address);
}

bool mirror_fetch(const struct mirror *mirror)
{
    char request[512], part[16384], head[16] = "";
    size_t total = 0;
    int len = snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: carrel-test\r\n"
                       "Connection: close\r\n\r\n",
                       mirror->path, mirror->host);
    _cleanup_close_ int fd = connected_socket(SOCK_STREAM, mirror->address, mirror->port);
    if (fd < 0 || len < 0 || fd_write_all(fd, request, (size_t)len) < 0)
        return false;
    for (;;) {
        ssize_t got = read(fd, part, sizeof(part));
        if (got < 0)
            return false;
        if (got == 0)
            break;
        if (total == 0)
            memcpy(head, part, (size_t)got < sizeof(head) - 1 ? (size_t)got : sizeof(head) - 1);
        total += (size_t)got;
    }
    return strncmp(head, "HTTP/1.", 7) == 0 && strncmp(head + 8, " 200", 4) == 0 && total > 20000;
}
