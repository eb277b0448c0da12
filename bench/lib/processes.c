/* SPDX-License-Identifier: Apache-2.0 */
/* Times an agent's process service over its wire, and the same work done without it. Speaks what any
 * server of that wire understands and nothing more, so that others can be measured beside ours.
 * Prints "NAME VALUE" lines; bench/processes.py makes tables of them.
 *
 * usage: processes ADDRESS FIELDS WHAT N    ADDRESS: a socket's path, or HOST:PORT
 *                                           FIELDS: more lines for the requests' heads, or ""
 *
 *   true N       start /bin/true, see its end, N times; ns each, one connection
 *   fork N       fork, exec and wait for /bin/true here; ns each
 *   json N       MB/s of N bytes of output in JSON
 *   proto N      the same in protobuf's encoding
 *   pipe N       MB/s of N bytes through a bare pipe
 *   echo N       SendInput to cat until its output is here; ns each
 *   idle N       opens N streams of cat, prints "open", waits for a line, prints how many bytes came
 *                meanwhile, closes them
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

static const char *address, *fields;

/* The number that a text begins with. */
static long number(const char *text)
{
    long n = 0;
    while (*text >= '0' && *text <= '9')
        n = n * 10 + (*text++ - '0');
    return n;
}

static int open_connection(void)
{
    const char *colon = strchr(address, ':');
    int fd, one = 1;
    if (colon) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(colon + 1))};
        char host[64];
        snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
        inet_pton(AF_INET, host, &in.sin_addr);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&in, sizeof in) < 0)
            die(address);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    } else {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        snprintf(un.sun_path, sizeof un.sun_path, "%s", address);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&un, sizeof un) < 0)
            die(address);
    }
    return fd;
}

/* ---- requests ---- */

static void send_request(int fd, const char *method, const char *type, const void *body, size_t n)
{
    char head[1024];
    int len = snprintf(head, sizeof head,
                       "POST /process.Process/%s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n"
                       "Authorization: Basic cm9vdDo=\r\nConnect-Protocol-Version: 1\r\n"
                       "%sContent-Length: %zu\r\n\r\n",
                       method, type, fields, n);
    char all[4096];
    memcpy(all, head, (size_t)len);
    memcpy(all + len, body, n);
    if (write(fd, all, (size_t)len + n) != (ssize_t)((size_t)len + n))
        die("request");
}

static size_t envelope(char *out, const void *payload, size_t n)
{
    memset(out, 0, 3);
    out[3] = (char)(n >> 8);
    out[4] = (char)n;
    memcpy(out + 5, payload, n);
    return n + 5;
}

static void start(int fd, const char *json)
{
    char body[1024];
    send_request(fd, "Start", "application/connect+json", body, envelope(body, json, strlen(json)));
}

/* The end of a chunked response is at hand; at least the last bytes of it are in `tail`. */
static bool ended(const char *p, size_t n)
{
    return n >= 5 && memcmp(p + n - 5, "0\r\n\r\n", 5) == 0;
}

/* Reads a chunked response to its end; returns its bytes. */
static size_t read_response(int fd)
{
    static char buffer[1 << 20];
    char tail[16];
    size_t total = 0, kept = 0;
    for (;;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n <= 0)
            die("response");
        total += (size_t)n;
        size_t take = (size_t)n < sizeof tail ? (size_t)n : sizeof tail;
        if (kept + take > sizeof tail) {
            memmove(tail, tail + (kept + take - sizeof tail), sizeof tail - take);
            kept = sizeof tail - take;
        }
        memcpy(tail + kept, buffer + n - take, take);
        kept += take;
        if (ended(tail, kept))
            return total;
    }
}

static void read_until(int fd, const char *text)
{
    static char buffer[1 << 16];
    size_t have = 0;
    while (have < sizeof buffer - 1) {
        ssize_t n = read(fd, buffer + have, sizeof buffer - 1 - have);
        if (n <= 0)
            die("response");
        have += (size_t)n;
        buffer[have] = '\0';
        for (size_t i = 0; i + strlen(text) <= have; i++)
            if (memcmp(buffer + i, text, strlen(text)) == 0)
                return;
    }
    die("a response without the text");
}

/* ---- what is measured ---- */

static void measure_true(long count)
{
    int fd = open_connection();
    for (long i = 0; i < count; i++) {
        int64_t begin = now();
        start(fd, "{\"process\":{\"cmd\":\"/bin/true\"},\"stdin\":false}");
        read_response(fd);
        printf("true %lld\n", (long long)(now() - begin));
    }
}

static void measure_fork(long count)
{
    for (long i = 0; i < count; i++) {
        int64_t begin = now();
        pid_t pid = fork();
        if (pid == 0) {
            execl("/bin/true", "true", NULL);
            _exit(127);
        }
        waitpid(pid, NULL, 0);
        printf("fork %lld\n", (long long)(now() - begin));
    }
}

static size_t field(char *out, int number, const void *p, size_t n)
{
    out[0] = (char)(number << 3 | 2);
    out[1] = (char)n;
    memcpy(out + 2, p, n);
    return n + 2;
}

static void measure_output(const char *what, long long bytes)
{
    char text[512], inner[512], body[1024], size[32];
    int fd = open_connection();
    snprintf(size, sizeof size, "%lld", bytes);
    int64_t begin = now();
    if (strcmp(what, "json") == 0) {
        snprintf(text, sizeof text,
                 "{\"process\":{\"cmd\":\"/usr/bin/head\",\"args\":[\"-c\",\"%s\",\"/dev/zero\"]},"
                 "\"stdin\":false}",
                 size);
        start(fd, text);
    } else {
        size_t n = field(inner, 1, "/usr/bin/head", 13);
        n += field(inner + n, 2, "-c", 2);
        n += field(inner + n, 2, size, strlen(size));
        n += field(inner + n, 2, "/dev/zero", 9);
        n = field(text, 1, inner, n);
        send_request(fd, "Start", "application/connect+proto", body, envelope(body, text, n));
    }
    size_t got = read_response(fd);
    double seconds = (double)(now() - begin) / 1e9;
    if (got < (size_t)bytes)
        fprintf(stderr, "%s: %zu bytes for %lld\n", what, got, bytes);
    printf("%s %.0f\n", what, (double)bytes / 1e6 / seconds);
}

static void measure_pipe(long long bytes)
{
    static char buffer[1 << 16];
    char size[32];
    int ends[2];
    snprintf(size, sizeof size, "%lld", bytes);
    int64_t begin = now();
    if (pipe(ends) < 0)
        die("pipe");
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execl("/usr/bin/head", "head", "-c", size, "/dev/zero", NULL);
        _exit(127);
    }
    close(ends[1]);
    while (read(ends[0], buffer, sizeof buffer) > 0)
        continue;
    close(ends[0]);
    waitpid(pid, NULL, 0);
    printf("pipe %.0f\n", (double)bytes / 1e6 / ((double)(now() - begin) / 1e9));
}

static void measure_echo(long count)
{
    static char got[4096];
    char json[128];
    int out = open_connection(), in = open_connection();
    start(out, "{\"process\":{\"cmd\":\"/bin/cat\"},\"stdin\":true}");
    ssize_t n = 0;
    const char *at;
    while (!(at = memmem(got, (size_t)n, "\"pid\":", 6))) {
        ssize_t more = read(out, got + n, sizeof got - 1 - (size_t)n);
        if (more <= 0)
            die("start");
        n += more;
    }
    long pid = number(at + 6);
    snprintf(json, sizeof json, "{\"process\":{\"pid\":%ld},\"input\":{\"stdin\":\"eA==\"}}", pid);
    for (long i = 0; i < count; i++) {
        int64_t begin = now();
        send_request(in, "SendInput", "application/json", json, strlen(json));
        read_until(out, "\"eA==\"");
        printf("echo %lld\n", (long long)(now() - begin));
        read_until(in, "{}");
    }
    snprintf(json, sizeof json, "{\"process\":{\"pid\":%ld},\"signal\":\"SIGNAL_SIGKILL\"}", pid);
    send_request(in, "SendSignal", "application/json", json, strlen(json));
    read_until(in, "{}");
}

/* What has come on a connection and not been read. */
static size_t unread(int fd)
{
    static char buffer[1 << 16];
    size_t total = 0;
    ssize_t n;
    while ((n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
        total += (size_t)n;
    return total;
}

static void hold_idle(long count)
{
    char line[8];
    size_t came = 0;
    int *fds = calloc((size_t)count, sizeof *fds);
    for (long i = 0; i < count; i++) {
        fds[i] = open_connection();
        start(fds[i], "{\"process\":{\"cmd\":\"/bin/cat\"},\"stdin\":true}");
        read_until(fds[i], "\"pid\":");
    }
    for (long i = 0; i < count; i++)
        unread(fds[i]);
    puts("open");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        exit(0);
    for (long i = 0; i < count; i++)
        came += unread(fds[i]);
    printf("bytes %zu\n", came);
    free(fds);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: processes ADDRESS FIELDS WHAT N\n", stderr);
        return 2;
    }
    address = argv[1];
    fields = argv[2];
    const char *what = argv[3];
    long n = number(argv[4]);
    if (strcmp(what, "true") == 0)
        measure_true(n);
    else if (strcmp(what, "fork") == 0)
        measure_fork(n);
    else if (strcmp(what, "json") == 0 || strcmp(what, "proto") == 0)
        measure_output(what, n);
    else if (strcmp(what, "pipe") == 0)
        measure_pipe(n);
    else if (strcmp(what, "echo") == 0)
        measure_echo(n);
    else if (strcmp(what, "idle") == 0)
        hold_idle(n);
    else
        return 2;
    return 0;
}
